"""How many components: what a sweep has found over their number, best candidates marked."""

from collections.abc import Callable, Sequence
from itertools import cycle
from math import isnan
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import numpy as np

from fastgmm.exceptions import DataError
from fastgmm.plotting.style import DISTINCT, current_axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LINES = ("-", "--", ":", "-.", (0, (5, 1)), (0, (1, 1)))
"""One a covariance type."""

CANDIDATE = "candidate: give a sweep's table"


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


class CrossValidated(Scored, Protocol):
    """The same of a sweep with ``criterion="cv"``."""

    @property
    def cv(self) -> float | None:
        """Mean log likelihood per row (nats) of rows held out."""

    @property
    def cv_spread(self) -> float | None:
        """Standard deviation of these means from fold to fold."""


S = TypeVar("S", bound=Scored)
S_co = TypeVar("S_co", bound=Scored, covariant=True)


class Scores(Protocol[S_co]):
    """What a sweep returns."""

    @property
    def table(self) -> Sequence[S_co]:
        """The candidates."""


def plot_criteria(
    table: Scores[Scored] | Sequence[Scored],
    criteria: Sequence[str] = ("aic", "bic", "icl"),
    ax: "Axes | None" = None,
) -> "Axes":
    """Draw criteria against the number of components: a colour a criterion, a line a shape.

    The lowest point of each criterion over all candidates that are not degenerate is ringed and
    named in the legend; degenerate candidates are crosses, those that failed are left out.

    Parameters
    ----------
    table : Selection or list of candidates
        What :func:`fastgmm.select` returns, or its ``table``.
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
    >>> ax = plot_criteria(selection, ["bic"], Figure().subplots())
    >>> [text.get_text() for text in ax.get_legend().texts]
    ['BIC', 'lowest BIC: 2']
    """
    candidates = _candidates(table)
    if not candidates or not criteria:
        what = "criterion: name one, as 'bic'" if candidates else CANDIDATE
        raise DataError(f"there is nothing to draw without a {what}")
    ax = current_axes(ax)
    for criterion, colour in zip(criteria, cycle(DISTINCT)):
        for shape, line in _shapes(candidates):
            rows = _line_of(candidates, shape)
            label = criterion.upper() if shape is None else f"{criterion.upper()}, {shape}"
            ax.plot(
                *_points(rows, criterion), ls=line, color=colour, lw=1.4, marker=".", label=label
            )
    for n, criterion in enumerate(criteria):
        _cross_degenerate(candidates, criterion, ax, "_hidden" if n else "degenerate")
    for criterion, colour in zip(criteria, cycle(DISTINCT)):
        _ring(min, candidates, criterion, f"lowest {criterion.upper()}", colour, ax)
    return _finished(ax, "criterion (smaller is better)")


def plot_cross_validation(
    table: Scores[CrossValidated] | Sequence[CrossValidated], ax: "Axes | None" = None
) -> "Axes":
    """Draw the log likelihood of held-out rows against the number of components, a line a shape.

    Bars show how much it differs from fold to fold: one standard deviation up and down. The highest
    point of all candidates that are not degenerate is ringed; degenerate candidates are crosses.

    Parameters
    ----------
    table : Selection or list of candidates
        What :func:`fastgmm.select` with ``criterion="cv"`` returns, or its ``table``.
    ax : matplotlib Axes, optional

    Returns
    -------
    matplotlib Axes

    Raises
    ------
    fastgmm.exceptions.DataError
        There is no candidate to draw, or they were not cross-validated.

    Examples
    --------
    >>> from matplotlib.figure import Figure
    >>> from fastgmm import select
    >>> rows = [[x + y] for x in (0.0, 90.0) for y in range(30)]
    >>> selection = select(rows, (1, 2), "full", criterion="cv", n_folds=2, random_state=0)
    >>> ax = plot_cross_validation(selection, Figure().subplots())
    >>> [text.get_text() for text in ax.get_legend().texts]
    ['highest: 2', 'full']
    """
    candidates = _candidates(table)
    if not candidates:
        raise DataError(f"there is nothing to draw without a {CANDIDATE}")
    if any(row.cv is None for row in candidates):
        raise DataError("the candidates were not cross-validated: select with criterion='cv'")
    ax = current_axes(ax)
    for (shape, line), colour in zip(_shapes(candidates), cycle(DISTINCT)):
        rows = _line_of(candidates, shape)
        spreads = np.array([row.cv_spread for row in rows], dtype=np.float64)
        style = {"ls": line, "color": colour, "lw": 1.4, "marker": ".", "capsize": 3}
        ax.errorbar(*_points(rows, "cv"), spreads, label=rows[0].covariance_type, **style)
    _cross_degenerate(candidates, "cv", ax, "degenerate")
    _ring(max, candidates, "cv", "highest", "black", ax)
    return _finished(ax, "held-out log likelihood per row (nats)")


def _candidates(table: Scores[S] | Sequence[S]) -> Sequence[S]:
    return table if isinstance(table, Sequence) else table.table


def _shapes(table: Sequence[Scored]) -> list[tuple[str | None, Any]]:
    """Return each shape and its kind of line; None where there is only one."""
    shapes = list(dict.fromkeys(row.covariance_type for row in table))
    return [*zip([None] if len(shapes) == 1 else shapes, cycle(LINES))]


def _line_of(table: Sequence[S], shape: str | None) -> list[S]:
    rows = [row for row in table if shape in (None, row.covariance_type)]
    return sorted(rows, key=lambda row: row.n_components)


def _points(rows: Sequence[Scored], criterion: str) -> tuple[list[int], list[float]]:
    return [row.n_components for row in rows], [getattr(row, criterion) for row in rows]


def _cross_degenerate(table: Sequence[Scored], criterion: str, ax: "Axes", label: str) -> None:
    degenerate = _points([row for row in table if row.degenerate], criterion)
    if degenerate[0]:
        ax.plot(*degenerate, "x", color="0.4", zorder=3, label=label)


def _ring(
    extreme: Callable[..., Any],
    table: Sequence[Scored],
    criterion: str,
    name: str,
    colour: str,
    ax: "Axes",
) -> None:
    """Ring the lowest or highest of the sound candidates, if any, and name it in the legend."""
    sound = [one for one in table if not one.degenerate and not isnan(getattr(one, criterion))]
    if not sound:
        return
    best = extreme(sound, key=lambda row: getattr(row, criterion))
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
        label=f"{name}: {best.n_components}{shape}",
    )


def _finished(ax: "Axes", what: str) -> "Axes":
    from matplotlib.ticker import MaxNLocator

    ax.set(xlabel="number of components", ylabel=what)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.legend(frameon=False)
    return ax
