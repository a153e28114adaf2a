"""Full: every component has a matrix of its own, covariances (k, d, d)."""

import numpy as np

from fastgmm import kernels
from fastgmm._typing import Float64Array, FloatArray, IntArray
from fastgmm.covariance import replacing, triangles
from fastgmm.covariance.conditioning import Regression, by_matrices
from fastgmm.covariance.drawing import draw_matrices
from fastgmm.covariance.nearness import apart, common_centre, far, middle
from fastgmm.covariance.protocol import Density, Share, alone
from fastgmm.covariance.scale import WHITENING, log_scale
from fastgmm.parameters import Parameters
from fastgmm.statistics import Scatter, Statistics

FEWEST_COMPONENTS = 5
"""From here on the product form fills its vectors of components well enough to be the faster."""


needs_scatter = False


def shape(n_components: int, n_features: int) -> tuple[int, ...]:
    """Return (k, d, d)."""
    return n_components, n_features, n_features


def second_shape(n_components: int, n_features: int) -> tuple[int, ...]:
    """Return (k, p): a packed triangle a component."""
    return n_components, triangles.packed_size(n_features)


def n_parameters(n_components: int, n_features: int) -> int:
    """Return k d (d + 1) / 2."""
    return n_components * triangles.packed_size(n_features)


def prepare(parameters: Parameters, dtype: np.dtype[np.floating], share: Share = alone) -> Density:
    """Factorise each covariance."""
    d = parameters.means.shape[1]
    unrolled = d <= kernels.unrolled.MOST_COLUMNS
    height = 1 if unrolled else kernels.bands.BAND_HEIGHT
    centre = middle(parameters, dtype)
    away = centre.astype(np.float64) - parameters.means
    whitening = triangles.whiten(parameters.covariances, WHITENING, height, dtype, share, away)
    means = parameters.means.astype(dtype)
    scale = log_scale(parameters.weights, whitening.log_determinants, d).astype(dtype)
    factors = whitening.factors
    spread = variances(parameters.covariances, d)
    near = common_centre(parameters.means, centre, spread, whitening.sharpness / WHITENING)
    if not unrolled and len(means) < FEWEST_COMPONENTS:
        near = far(means)
    biases = whitening.biases.astype(dtype) if near.near else np.zeros_like(means)
    if unrolled:
        band = tuple((0,) * (i + 1) for i in range(d))
        return kernels.unrolled.UnrolledDensity(scale, means, factors, biases, *near, band)
    return kernels.triangles.TriangleDensity(scale, means, factors, biases, *near)


def complete(statistics: Statistics, density: Density, scatter: Scatter | None) -> Statistics:
    """Return the statistics as they are."""
    return statistics


def about(density: Density, origins: FloatArray) -> Density:
    """Move the origins."""
    return apart(density, origins)


def estimate(
    second: Float64Array, counts: Float64Array, delta: Float64Array, share: Share = alone
) -> Float64Array:
    """Return second / counts - delta delta^T, for each component."""
    return triangles.estimate(second, counts, delta, share)


def regularise(covariances: Float64Array, ridge: Float64Array) -> None:
    """Add to each diagonal."""
    diagonals = np.einsum("kii->ki", covariances)  # a view
    diagonals += ridge


replace = replacing.replace


def rows_without_spread(n_features: int) -> int:
    """Return d: so many rows lie in a hyperplane."""
    return n_features


def join(seconds: list[Float64Array]) -> Float64Array:
    """Stack the components' triangles."""
    return np.concatenate(seconds)


def variances(covariances: Float64Array, n_features: int) -> Float64Array:
    """Return the diagonals (k, d)."""
    return covariances.diagonal(axis1=1, axis2=2)


def dense(covariances: Float64Array, n_components: int, n_features: int) -> Float64Array:
    """Return the covariances as they are."""
    return covariances


def select(covariances: Float64Array, components: IntArray, columns: IntArray) -> Float64Array:
    """Return these rows and columns of these matrices."""
    return covariances[np.ix_(components, columns, columns)]


def regression(
    covariances: Float64Array, n_components: int, given: IntArray, rest: IntArray
) -> Regression:
    """Regress within each component."""
    return by_matrices(covariances, given, rest)


def check(values: Float64Array, what: str) -> None:
    """Check each matrix."""
    triangles.check_matrices(values, f"full {what}")


def from_precisions(precisions: Float64Array) -> Float64Array:
    """Invert each matrix."""
    return triangles.inverses(precisions, "full precision")


def precisions_cholesky(parameters: Parameters) -> Float64Array:
    """Return U = L^-T (k, d, d)."""
    return triangles.upper_factors(parameters.covariances)


def precisions(precisions_cholesky: Float64Array) -> Float64Array:
    """Return U U^T."""
    return precisions_cholesky @ precisions_cholesky.transpose(0, 2, 1)


def draw(
    parameters: Parameters, counts: IntArray, random_state: np.random.RandomState
) -> Float64Array:
    """Draw from each matrix."""
    return draw_matrices(parameters.means, parameters.covariances, counts, random_state)
