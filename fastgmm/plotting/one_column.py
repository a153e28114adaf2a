"""One column: a histogram, and over it the mixture and what each component adds to it."""

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from fastgmm import scoring
from fastgmm._typing import Float64Array
from fastgmm.exceptions import DataError
from fastgmm.plotting.style import (
    NAMED_COMPONENTS,
    check_n_features,
    column_names,
    current_axes,
    dense_covariances,
    palette,
)
from fastgmm.sources import Source, as_source, source_names

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from fastgmm.estimators.mixtures.mixture import Mixture

POINTS = 800
"""Points of a curve: about as many as a picture has pixels across."""


class Histogram(NamedTuple):
    """Densities between edges; the area is 1."""

    edges: Float64Array
    """(bins + 1,)."""
    densities: Float64Array
    """(bins,)."""


def histogram_1d(X: Any, bins: int = 200) -> Histogram:
    """Return the histogram of data with one column, read block by block (twice).

    ``X`` is anything that ``fit`` takes; weights are counted as frequencies.

    Raises
    ------
    fastgmm.exceptions.DataError
        There are several columns, no rows, or numbers that are not finite.

    Examples
    --------
    >>> histogram_1d([[0.0], [1.0], [1.0], [2.0]], bins=2).densities
    array([0.25, 0.75])
    """
    source = as_source(X)
    if source.n_features != 1:
        raise DataError(f"a histogram has one column, the data have {source.n_features}")
    low, high = _range(source)
    edges = np.linspace(low, high, bins + 1)
    counts = np.zeros(bins)
    grid = source.grid(None)
    for chunk in source.chunks(grid, 0, grid.n_blocks):
        weights = chunk.weights if len(chunk.weights) else None
        counts += np.histogram(chunk.rows[:, 0], edges, weights=weights)[0]
    return Histogram(edges, counts / (counts.sum() * np.diff(edges)))


def _range(source: Source) -> tuple[float, float]:
    grid, names = source.grid(None), source_names(source)
    low, high = np.inf, -np.inf
    for chunk in source.chunks(grid, 0, grid.n_blocks):
        scoring.check_finite(chunk, names)
        if len(chunk.rows):
            low = min(low, float(chunk.rows.min()))
            high = max(high, float(chunk.rows.max()))
    if not low <= high:
        raise DataError("a histogram needs at least one row")
    return (low, high) if low < high else (low - 0.5, high + 0.5)


def component_densities(model: "Mixture", x: Float64Array) -> Float64Array:
    """Return the weighted densities of a one-column model's components, (points, k).

    Their sum over the components is the mixture's density, exp(``score_samples``).

    Raises
    ------
    fastgmm.exceptions.DataError
        The model has several features.
    """
    check_n_features(model, 1)
    variance = dense_covariances(model)[:, 0, 0]
    squares = (x[:, None] - model.means_[:, 0]) ** 2 / variance
    scale = model.weights_ / np.sqrt(2 * np.pi * variance)
    return np.asarray(scale * np.exp(-0.5 * squares), dtype=np.float64)


def plot_density_1d(
    model: "Mixture", histogram: Histogram | None = None, ax: "Axes | None" = None
) -> "Axes":
    """Draw a one-column mixture: histogram, density, and its weighted components.

    Parameters
    ----------
    model : GaussianMixture
        With parameters, of one feature.
    histogram : Histogram, optional
        What :func:`histogram_1d` returns; the curves then run over its range. Without one they
        cover four standard deviations around every mean.
    ax : matplotlib Axes, optional

    Returns
    -------
    matplotlib Axes

    Raises
    ------
    fastgmm.exceptions.DataError
        The model has several features; ``histogram`` is none.
    fastgmm.exceptions.NotFittedError
        The model has no parameters.

    Examples
    --------
    >>> from matplotlib.figure import Figure
    >>> from fastgmm import GaussianMixture
    >>> gm = GaussianMixture.from_parameters([0.25, 0.75], [[0.0], [3.0]], [[[1.0]], [[1.0]]])
    >>> ax = plot_density_1d(gm, ax=Figure().subplots())
    >>> ax.get_ylabel()
    'density'
    """
    check_n_features(model, 1)
    ax = current_axes(ax)
    if histogram is None:
        low, high = _extent(model)
    elif not isinstance(histogram, Histogram):
        raise DataError(
            f"histogram is of type {type(histogram).__name__}: pass "
            "fastgmm.plotting.histogram_1d(rows)"
        )
    else:
        low, high = histogram.edges[[0, -1]]
        ax.stairs(histogram.densities, histogram.edges, fill=True, color="0.85", label="data")
    x = np.linspace(low, high, POINTS)
    parts = component_densities(model, x)
    names = [f"component {k}" for k in range(parts.shape[1])]
    if len(names) > NAMED_COMPONENTS:
        names = [f"{len(names)} components", *[""] * (len(names) - 1)]
    for part, name, colour in zip(parts.T, names, palette(len(names)), strict=True):
        ax.plot(x, part, linewidth=1.2, linestyle="--", color=colour, label=name or "_hidden")
    ax.plot(x, parts.sum(axis=1), linewidth=1.8, color="black", label="mixture")
    ax.set_xlim(low, high)
    ax.set_ylim(bottom=0)
    ax.set(xlabel=column_names(model)[0], ylabel="density")
    ax.legend(frameon=False)
    return ax


def _extent(model: "Mixture") -> tuple[float, float]:
    deviations = 4 * np.sqrt(dense_covariances(model)[:, 0, 0])
    means = model.means_[:, 0]
    return float((means - deviations).min()), float((means + deviations).max())
