"""``fastgmm demo``: two data sets that are not loaded, and what comes out next to the truth."""

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from fastgmm._typing import Float64Array
    from fastgmm.cli.truths import Truth

ROWS = 17_991_402
CLOUD_ROWS = 2_000_000


@click.command()
@click.option(
    "--folder",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("demo-output"),
    show_default=True,
    help="Where data, models and the picture go.",
)
@click.option(
    "--rows",
    type=click.IntRange(min=1000),
    default=ROWS,
    show_default=True,
    help="Rows of the first data set; the second has a ninth of them.",
)
def demo(folder: Path, rows: int) -> None:
    """Write two data sets, fit them out of core, and compare the fits with the truth."""
    folder.mkdir(parents=True, exist_ok=True)
    two_normals(folder, rows)
    three_clouds(folder, CLOUD_ROWS if rows == ROWS else rows // 9)


def two_normals(folder: Path, n_samples: int) -> None:
    """Fit two overlapping normals in one long .npy file, and draw the fit."""
    from fastgmm.cli.truths import TWO_NORMALS, standard_errors, write_npy

    data, model = folder / "two-normals.npy", folder / "two-normals.npz"
    _title(f"{n_samples:,} x 1 values from two overlapping normals, in one .npy file")
    write_npy(data, TWO_NORMALS, n_samples, seed=1)
    _fastgmm("fit", data, "-k", "2", "-o", model)
    _compare(model, TWO_NORMALS, standard_errors(TWO_NORMALS, n_samples))
    picture = folder / "two-normals.png"
    draw(model, data, picture)
    click.echo(f"picture: {picture}")


def three_clouds(folder: Path, n_samples: int) -> None:
    """Fit three clouds in five Parquet files with weights and missing values."""
    from fastgmm.cli.truths import THREE_CLOUDS, standard_errors, write_parquet

    data, model = folder / "three-clouds", folder / "three-clouds.npz"
    _title(f"{n_samples:,} x 4 values in five Parquet files, with row weights and missing values")
    effective = write_parquet(data, THREE_CLOUDS, n_samples, seed=2)
    _fastgmm("fit", data, "-k", "3", "-o", model, "--weight", "w", "--missing", "drop")
    _compare(model, THREE_CLOUDS, standard_errors(THREE_CLOUDS, effective))


def _title(text: str) -> None:
    click.echo(f"\n{click.style(text, bold=True)}")


def _fastgmm(*arguments: str | Path) -> None:
    """Show a command, run it in a process of its own, and stop if it fails."""
    command = [str(argument) for argument in arguments]
    click.echo(f"$ fastgmm {' '.join(command)}")
    sys.stdout.flush()
    code = subprocess.run([sys.executable, "-m", "fastgmm", *command], check=False).returncode
    if code:
        sys.exit(code)


def _compare(model_file: Path, truth: "Truth", errors: "Float64Array") -> None:
    """Print a fit next to the truth, in standard errors."""
    import numpy as np

    from fastgmm.cli.truths import Truth, match, parameter_vector
    from fastgmm.estimators import GaussianMixture

    model = GaussianMixture.load(model_file)
    order = match(truth, model.means_)
    fitted = Truth(model.weights_[order], model.means_[order], model.covariance_matrices()[order])
    expected, found = parameter_vector(truth), parameter_vector(fitted)
    distances = (found - expected) / errors
    click.echo("\nparameter        truth     fitted  standard error  distance")
    for name, *numbers in zip(_names(truth), expected, found, errors, distances, strict=True):
        line = "{:>10.4f} {:>10.4f} {:>15.1e} {:>6.2f} SE".format(*numbers)
        click.echo(f"{name:<11}{line}")
    farthest = float(np.abs(distances).max())
    every = "every parameter within 3 standard errors: " if farthest <= 3 else ""
    click.echo(f"{every}the farthest of {len(found)} is {farthest:.2f} from the truth")


def _names(truth: "Truth") -> list[str]:
    k, d = truth.means.shape
    return (
        [f"weight {c}" for c in range(k)]
        + [f"mean {c},{i}" for c in range(k) for i in range(d)]
        + [f"cov {c},{i},{j}" for c in range(k) for i in range(d) for j in range(i + 1)]
    )


def draw(model_file: Path, data: Path, picture: Path) -> None:
    """Save a picture of a one-dimensional fit over the histogram of its data."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    from fastgmm.estimators import GaussianMixture
    from fastgmm.plotting import histogram_1d, plot_density_1d

    model = GaussianMixture.load(model_file)
    figure = Figure(figsize=(7, 3.6), layout="constrained")
    ax = plot_density_1d(model, histogram_1d(data), figure.subplots())
    ax.set_xlabel("x")
    for side in ("top", "right"):
        ax.spines[side].set_visible(False)
    with mpl.rc_context({"savefig.dpi": 110}):
        figure.savefig(picture)
