"""How many components: the criteria of a sweep over their number, best candidates marked."""

from collections.abc import Sequence
from itertools import cycle
from typing import TYPE_CHECKING, Protocol

from fastgmm.exceptions import DataError
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

    Raises
    ------
    fastgmm.exceptions.DataError
        There is no candidate or no criterion to draw.

    Examples
    --------
    >>> from matplotlib.figure import Figure
    >>> from fastgmm import select
    >>> rows = [[0.0], [1.0], [2.0], [3.0], [20.0], [21.0], [22.0], [23.0]]
    >>> selection = select(rows, range(1, 4), "full", random_state=0)
    >>> ax = plot_criteria(selection.table, ["bic"], Figure().subplots())
    >>> [text.get_text() for text in ax.get_legend().texts]
    ['BIC', 'lowest BIC: 2']
    """
    from matplotlib.ticker import MaxNLocator

    if not table or not criteria:
        what = "criterion: name one, as 'bic'" if table else "candidate: give a sweep's table"
        raise DataError(f"there is nothing to draw without a {what}")
    ax = current_axes(ax)
    shapes = list(dict.fromkeys(row.covariance_type for row in table))
    for criterion, colour in zip(criteria, cycle(DISTINCT)):
        for shape, line in zip(shapes, cycle(LINES)):
            label = criterion.upper() if len(shapes) == 1 else f"{criterion.upper()}, {shape}"
            rows = [row for row in table if row.covariance_type == shape]
            rows.sort(key=lambda row: row.n_components)
            ax.plot(
                *_points(rows, criterion), ls=line, color=colour, lw=1.4, marker=".", label=label
            )
    for n, criterion in enumerate(criteria):
        degenerate = _points([row for row in table if row.degenerate], criterion)
        if degenerate[0]:
            label = "_hidden" if n else "degenerate"
            ax.plot(*degenerate, "x", color="0.4", zorder=3, label=label)
    for criterion, colour in zip(criteria, cycle(DISTINCT)):
        _ring_best([row for row in table if not row.degenerate], criterion, colour, ax)
    ax.set(xlabel="number of components", ylabel="criterion (smaller is better)")
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.legend(frameon=False)
    return ax


def _points(rows: Sequence[Scored], criterion: str) -> tuple[list[int], list[float]]:
    return [row.n_components for row in rows], [getattr(row, criterion) for row in rows]


def _ring_best(sound: Sequence[Scored], criterion: str, colour: str, ax: "Axes") -> None:
    """Ring the lowest of the sound candidates, if there are any, and name it in the legend."""
    if not sound:
        return
    best = min(sound, key=lambda row: getattr(row, criterion))
    several = len({row.covariance_type for row in sound}) > 1
    shape = f" ({best.covariance_type})" if several else ""
    ax.plot(
        *_points([best], criterion),
        ls="none",
        color=colour,
        marker="o",
        markersize=11,
        fillstyle="none",
        markeredgewidth=1.8,
        label=f"lowest {criterion.upper()}: {best.n_components}{shape}",
    )
