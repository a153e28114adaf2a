"""How many components: the criteria of a sweep over their number, best candidates marked."""

from collections.abc import Sequence
from itertools import product
from typing import TYPE_CHECKING, Protocol

from fastgmm.plotting.style import DISTINCT, current_axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LINES = ("-", "--", ":", "-.", (0, (5, 1)), (0, (1, 1)))
"""One a covariance type."""


class Scored(Protocol):
    """What the picture needs of a row of a sweep's table, ``Selection.table``."""

    @property
    def n_components(self) -> int:
        """Number of components."""

    @property
    def covariance_type(self) -> str:
        """Shape of the covariances."""

    @property
    def degenerate(self) -> bool:
        """Whether some component stands on too few rows or at the floor of the regularisation."""


def plot_criteria(
    table: Sequence[Scored],
    criteria: Sequence[str] = ("aic", "bic", "icl"),
    ax: "Axes | None" = None,
) -> "Axes":
    """Draw criteria against the number of components: a colour a criterion, a line a shape.

    The lowest point of each criterion over all candidates that are not degenerate is ringed and
    named in the legend; degenerate candidates are crosses.

    Parameters
    ----------
    table : list of candidates
        ``Selection.table`` of :func:`fastgmm.select`.
    criteria : sequence of str
        Attributes of the candidates where smaller is better: "aic", "bic", "icl".
    ax : matplotlib Axes, optional

    Returns
    -------
    matplotlib Axes
    """
    from matplotlib.ticker import MaxNLocator

    ax = current_axes(ax)
    shapes = list(dict.fromkeys(row.covariance_type for row in table))
    for (i, criterion), (j, shape) in product(enumerate(criteria), enumerate(shapes)):
        rows = sorted(
            (row for row in table if row.covariance_type == shape), key=lambda row: row.n_components
        )
        colour, name = DISTINCT[i % len(DISTINCT)], criterion.upper()
        ax.plot(
            [row.n_components for row in rows],
            [getattr(row, criterion) for row in rows],
            color=colour,
            linestyle=LINES[j % len(LINES)],
            linewidth=1.4,
            marker=".",
            label=name if len(shapes) == 1 else f"{name}, {shape}",
        )
    ax.set(xlabel="number of components", ylabel="criterion (smaller is better)")
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    for i, criterion in enumerate(criteria):
        _mark(table, criterion, DISTINCT[i % len(DISTINCT)], ax, named=len(shapes) > 1)
    ax.legend(frameon=False)
    return ax


def _mark(table: Sequence[Scored], criterion: str, colour: str, ax: "Axes", *, named: bool) -> None:
    """Ring the best candidate, cross out the degenerate ones; the shape is named on demand."""
    bad = [row for row in table if row.degenerate]
    ax.plot(
        [row.n_components for row in bad],
        [getattr(row, criterion) for row in bad],
        "x",
        color="0.4",
        zorder=3,
    )
    sound = [row for row in table if not row.degenerate]
    if sound:
        best = min(sound, key=lambda row: getattr(row, criterion))
        shape = f" ({best.covariance_type})" if named else ""
        ax.plot(
            best.n_components,
            getattr(best, criterion),
            "o",
            markersize=11,
            markerfacecolor="none",
            markeredgecolor=colour,
            markeredgewidth=1.8,
            label=f"lowest {criterion.upper()}: {best.n_components}{shape}",
        )
