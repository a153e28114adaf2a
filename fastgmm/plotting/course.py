"""The course of a fit: the lower bound of every start, iteration by iteration."""

from typing import TYPE_CHECKING, Any

from fastgmm.exceptions import DataError
from fastgmm.plotting.style import DISTINCT, current_axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from fastgmm.estimators.mixtures.mixture import Mixture


def plot_convergence(model: "Mixture", ax: "Axes | None" = None) -> "Axes":
    """Draw the mean log likelihood per row of all starts of a fit against the iteration.

    The start that was kept is coloured, the others are grey; a dot ends each. A model that was read
    from a file knows its best start only.

    Parameters
    ----------
    model : GaussianMixture
        Fitted.
    ax : matplotlib Axes, optional

    Returns
    -------
    matplotlib Axes

    Raises
    ------
    fastgmm.exceptions.DataError
        The model was not fitted by iterations.
    fastgmm.exceptions.NotFittedError
        The model has no parameters.

    Examples
    --------
    >>> from matplotlib.figure import Figure
    >>> from fastgmm import GaussianMixture
    >>> gm = GaussianMixture(2, n_init=3, random_state=0).fit([[0.0], [1.0], [5.0], [6.0], [7.0]])
    >>> len(plot_convergence(gm, Figure().subplots()).lines)
    3
    """
    model._check_is_fitted()
    kept = list(model.lower_bounds_)
    if not kept:
        raise DataError("the model has made no iteration that could be drawn: fit it")
    ax = current_axes(ax)
    starts: dict[int, list[float]] = {}
    for line in model.history_:
        starts.setdefault(line.start, []).append(line.lower_bound)
    others = list(starts.values())
    if kept in others:
        others.remove(kept)
    for n, bounds in enumerate(others):
        name = f"{len(others)} other start{'s' if len(others) > 1 else ''}"
        _draw(bounds, ax, color="0.65", linewidth=1.0, label=name if n == 0 else "_hidden")
    _draw(kept, ax, color=DISTINCT[0], linewidth=2.0, label=f"kept: {kept[-1]:.6g}")
    ax.set(xlabel="iteration", ylabel="mean log likelihood per row (nats)")
    ax.legend(frameon=False, loc="lower right")
    return ax


def _draw(bounds: list[float], ax: "Axes", **style: Any) -> None:
    ends = [len(bounds) - 1]
    ax.plot(range(1, len(bounds) + 1), bounds, marker="o", markersize=4, markevery=ends, **style)
