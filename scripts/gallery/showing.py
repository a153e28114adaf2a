"""What the scripts of the gallery share: two options, a folder for pictures, and checked claims.

A script is a function ``main(show)`` that draws with pyplot, hands its figure to ``show.picture``
and every figure that it claims to ``show.claim``. It exits with 1 if a claim does not hold.
"""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

import matplotlib as mpl
from matplotlib.figure import Figure

mpl.use("Agg")
mpl.rcParams.update(
    {
        "figure.constrained_layout.use": True,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.titlesize": "medium",
        "legend.fontsize": "small",
    }
)


class Show:
    """Where a script's picture goes, how much it does, and whether its claims held."""

    def __init__(self, name: str, folder: Path, *, small: bool) -> None:
        self.name, self.folder, self.small = name, folder, small
        self.failed = 0

    def claim(self, text: str, holds: bool) -> None:
        """Print a claim and whether it holds."""
        print(f"  {'holds' if holds else 'DOES NOT HOLD'}: {text}", flush=True)
        self.failed += not holds

    def picture(self, figure: Figure) -> None:
        """Save the script's picture."""
        from matplotlib import pyplot

        path = self.folder / f"{self.name}.png"
        figure.savefig(path, dpi=50 if self.small else 110)
        pyplot.close(figure)
        print(f"  picture: {path}")


def run(main: Callable[[Show], None], file: str, documentation: str) -> None:
    """Parse the options, run a script's ``main``, exit with 1 if a claim did not hold."""
    title = documentation.splitlines()[0]
    parser = argparse.ArgumentParser(
        description=documentation, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--folder", type=Path, default=Path("gallery"), help="for the picture")
    parser.add_argument("--small", action="store_true", help="fewer rows, for tests")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    show = Show(Path(file).stem, options.folder, small=options.small)
    print(title)
    main(show)
    sys.exit(min(show.failed, 1))
