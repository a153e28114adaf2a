"""Pictures of a fitted mixture: axes in, axes out, nothing larger than a histogram in memory."""

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from fastgmm._typing import Float64Array
from fastgmm.covariance import FAMILIES
from fastgmm.exceptions import DataError
from fastgmm.sources import Source, as_source

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from fastgmm.estimators import GaussianMixture

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
    grid = source.grid(None)
    low, high = np.inf, -np.inf
    for chunk in source.chunks(grid, 0, grid.n_blocks):
        if len(chunk.rows):
            low = min(low, float(chunk.rows.min()))
            high = max(high, float(chunk.rows.max()))
    if not low <= high:
        raise DataError("a histogram needs at least one row and no NaN")
    return (low, high) if low < high else (low - 0.5, high + 0.5)


def component_densities(model: "GaussianMixture", x: Float64Array) -> Float64Array:
    """Return the weighted densities of a one-dimensional model's components, (points, k)."""
    if model.n_features_in_ != 1:
        raise DataError(f"the model has {model.n_features_in_} features, the picture has one axis")
    covariances = np.asarray(model.covariances_, dtype=np.float64)
    dense = FAMILIES[model.covariance_type].dense(covariances, *model.means_.shape)
    variance = dense[:, 0, 0]
    squares = (x[:, None] - model.means_[:, 0]) ** 2 / variance
    scale = model.weights_ / np.sqrt(2 * np.pi * variance)
    return np.asarray(scale * np.exp(-0.5 * squares), dtype=np.float64)


def plot_density_1d(
    model: "GaussianMixture", histogram: Histogram | None = None, ax: "Axes | None" = None
) -> "Axes":
    """Draw a one-dimensional mixture: histogram, density, and its weighted components.

    Without a histogram the axis covers four standard deviations around every mean.
    """
    if ax is None:
        from matplotlib import pyplot

        ax = pyplot.gca()
    if histogram is None:
        low, high = _extent(model)
    else:
        low, high = histogram.edges[[0, -1]]
        ax.stairs(histogram.densities, histogram.edges, fill=True, color="0.85", label="data")
    x = np.linspace(low, high, POINTS)
    parts = component_densities(model, x)
    for k, part in enumerate(parts.T):
        ax.plot(x, part, linewidth=1.2, linestyle="--", label=f"component {k}")
    ax.plot(x, parts.sum(axis=1), linewidth=1.8, color="black", label="mixture")
    ax.set_xlim(low, high)
    ax.set_ylim(bottom=0)
    ax.set_ylabel("density")
    ax.legend(frameon=False)
    return ax


def _extent(model: "GaussianMixture") -> tuple[float, float]:
    covariances = np.asarray(model.covariances_, dtype=np.float64)
    dense = FAMILIES[model.covariance_type].dense(covariances, *model.means_.shape)
    deviations = 4 * np.sqrt(dense[:, 0, 0])
    means = model.means_[:, 0]
    return float((means - deviations).min()), float((means + deviations).max())
