"""Two columns: ellipses of the components, contours of the density, rows in mixed colours."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from fastgmm._typing import Float64Array
from fastgmm.exceptions import DataError
from fastgmm.plotting.style import (
    check_n_features,
    column_names,
    current_axes,
    dense_covariances,
    palette,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from fastgmm.estimators import GaussianMixture
    from fastgmm.estimators.mixtures.mixture import Mixture

CELLS = 250
"""Cells of the grid along each axis on which a density is drawn: finer is not seen."""


def plot_ellipses(
    model: "Mixture", masses: Sequence[float] = (0.5, 0.9), ax: "Axes | None" = None
) -> "Axes":
    """Draw each component's ellipses that hold the given shares of its own probability.

    A normal distribution of two columns has the mass 1 - exp(-r^2 / 2) within the Mahalanobis
    distance r. Fillings are the stronger the heavier a component; a dot marks its mean.

    Parameters
    ----------
    model : GaussianMixture
        With parameters, of two features and any covariance type.
    masses : sequence of float
        In (0, 1).
    ax : matplotlib Axes, optional

    Returns
    -------
    matplotlib Axes

    Raises
    ------
    fastgmm.exceptions.DataError
        The model has not two features.
    fastgmm.exceptions.NotFittedError
        The model has no parameters.
    ValueError
        There is no mass, or one that is not between 0 and 1.

    Examples
    --------
    >>> from matplotlib.figure import Figure
    >>> from fastgmm import GaussianMixture
    >>> gm = GaussianMixture.from_parameters([1.0], [[0.0, 0.0]], [[[4.0, 0.0], [0.0, 1.0]]])
    >>> ax = plot_ellipses(gm, masses=[0.5], ax=Figure().subplots())
    >>> round(float(ax.patches[0].width), 3)  # twice 2 sqrt(2 log 2)
    4.71
    """
    from matplotlib.patches import Ellipse

    check_n_features(model, 2)
    _check_masses(masses)
    ax = current_axes(ax)
    variances, axes = np.linalg.eigh(dense_covariances(model))
    angles = np.degrees(np.arctan2(axes[:, 1, 1], axes[:, 0, 1]))
    colours, strengths = palette(len(angles)), model.weights_ / model.weights_.max()
    for mass in sorted(masses, reverse=True):
        diameters = 2 * np.sqrt(-2 * np.log1p(-mass) * variances)
        for k, (minor, major) in enumerate(diameters):
            ellipse = Ellipse(model.means_[k], major, minor, angle=angles[k], zorder=1.5)
            ellipse.set(facecolor=(*colours[k], 0.25 * float(strengths[k])), edgecolor=colours[k])
            ax.add_patch(ellipse)  # over points: their border is seen in a crowd
    x, y = model.means_.T
    ax.scatter(x, y, s=18, color=colours, edgecolors="white", linewidths=0.6, zorder=3)
    ax.autoscale_view()
    _name_axes(model, ax)
    return ax


def plot_density_2d(
    model: "GaussianMixture",
    masses: Sequence[float] = (0.25, 0.5, 0.75, 0.95),
    extent: Sequence[float] | None = None,
    ax: "Axes | None" = None,
) -> "Axes":
    """Draw contours of a mixture's density, each around the given share of its probability.

    A contour is the border of the smallest region of that mass: of all places where the density is
    above a level, which is found on the grid that is drawn (Hyndman 1996).

    Parameters
    ----------
    model : GaussianMixture
        With parameters, of two features.
    masses : sequence of float
        In (0, 1). Mass beyond ``extent`` is not found: the outermost levels then stay undrawn.
    extent : (left, right, bottom, top), optional
        By default four standard deviations around every mean.
    ax : matplotlib Axes, optional

    Returns
    -------
    matplotlib Axes

    Raises
    ------
    fastgmm.exceptions.DataError
        The model has not two features.
    fastgmm.exceptions.NotFittedError
        The model has no parameters.
    ValueError
        There is no mass, or one that is not between 0 and 1.

    Examples
    --------
    >>> from matplotlib.figure import Figure
    >>> from fastgmm import GaussianMixture
    >>> gm = GaussianMixture.from_parameters([1.0], [[0.0, 0.0]], [[[4.0, 0.0], [0.0, 1.0]]])
    >>> ax = plot_density_2d(gm, masses=[0.5, 0.9], ax=Figure().subplots())
    >>> ax.get_xlabel()
    'x0'
    """
    check_n_features(model, 2)
    _check_masses(masses)
    ax = current_axes(ax)
    left, right, bottom, top = _extent(model) if extent is None else extent
    x, y = np.linspace(left, right, CELLS), np.linspace(bottom, top, CELLS)
    nodes = np.stack(np.meshgrid(x, y), axis=-1)
    densities = np.exp(model.score_samples(nodes.reshape(-1, 2))).reshape(CELLS, CELLS)
    levels = density_levels(densities, (x[1] - x[0]) * (y[1] - y[0]), masses)
    if len(levels):
        ax.contourf(x, y, densities, [*levels, densities.max() * 1.001], cmap="Blues", alpha=0.5)
        ax.contour(x, y, densities, levels, colors="#08306b", linewidths=0.8)
    _name_axes(model, ax)
    return ax


def density_levels(densities: Float64Array, area: float, masses: Sequence[float]) -> Float64Array:
    """Return the rising densities above which the given masses lie, of a grid's cells.

    Masses that the grid does not hold, and equal levels, are left out.
    """
    falling = np.sort(densities, axis=None)[::-1]
    held = np.cumsum(falling) * area
    within = [mass for mass in masses if mass <= held[-1]]
    return np.unique(falling[np.searchsorted(held, within)])


def plot_responsibilities(
    X: Any, responsibilities: Any, ax: "Axes | None" = None, size: float = 30.0
) -> "Axes":
    """Draw rows in the mixed colours of their components; the surer a row, the larger its point.

    Parameters
    ----------
    X : (n, 2) array-like
        As many rows as a picture shows.
    responsibilities : (n, k) array-like
        What ``predict_proba`` returns.
    ax : matplotlib Axes, optional
    size : float
        Area (points squared) of a row that belongs to one component with certainty. A row's area
        falls with the square of its certainty, its largest responsibility.

    Returns
    -------
    matplotlib Axes

    Raises
    ------
    fastgmm.exceptions.DataError
        There are no rows; they have not two columns or missing values; or their number is not that
        of the responsibilities.

    Examples
    --------
    >>> from matplotlib.figure import Figure
    >>> rows, shares = [[0.0, 1.0], [2.0, 3.0]], [[1.0, 0.0], [0.5, 0.5]]
    >>> ax = plot_responsibilities(rows, shares, Figure().subplots())
    >>> ax.collections[0].get_sizes()
    array([30. ,  7.5])
    """
    rows, shares = np.asarray(X), np.asarray(responsibilities, dtype=np.float64)
    if rows.ndim != 2 or rows.shape[1] != 2 or shares.ndim != 2 or len(shares) != len(rows):
        raise DataError(
            f"rows of shape {rows.shape} with responsibilities of shape {shares.shape} cannot be "
            "drawn on two axes: give rows (n, 2) and predict_proba's (n, k)"
        )
    if shares.size == 0:
        raise DataError("there is no row to be drawn: give at least one, and its responsibilities")
    missing = np.isnan(shares).any(axis=1)
    if missing.any():
        raise DataError(
            f"row {int(missing.argmax())} has no responsibilities: leave out rows with missing "
            "values"
        )
    ax = current_axes(ax)
    colours = np.clip(shares @ palette(shares.shape[1]), 0.0, 1.0)
    certainty = shares.max(axis=1)
    ax.scatter(rows[:, 0], rows[:, 1], s=size * certainty**2, c=colours, linewidths=0)
    return ax


def _check_masses(masses: Sequence[float]) -> None:
    if len(masses) == 0:
        raise ValueError("there is no mass to draw: give shares of probability, as (0.5, 0.9)")
    for mass in masses:
        if np.ndim(mass) > 0:  # rows, as other plots take them
            raise ValueError("masses are shares of probability, such as (0.5, 0.9): pass no rows")
        if not 0.0 < mass < 1.0:
            raise ValueError(f"mass {mass} is not between 0 and 1: give shares of probability")


def _extent(model: "Mixture") -> tuple[float, float, float, float]:
    deviations = 4 * np.sqrt(np.diagonal(dense_covariances(model), axis1=1, axis2=2))
    (left, bottom), (right, top) = (
        (model.means_ - deviations).min(axis=0),
        (model.means_ + deviations).max(axis=0),
    )
    return left, right, bottom, top


def _name_axes(model: "Mixture", ax: "Axes") -> None:
    across, up = column_names(model)
    ax.set(xlabel=across, ylabel=up)
