"""Tied: all components share one matrix, covariances (d, d).

Where the components lie near each other, a pass sums counts and first moments only: of the second
moments about a common centre an M-step needs the sum over the components, and that is the total
scatter of the data, whatever the responsibilities. The square |W x|^2 that all log densities have
in common is left to the same constant. An iteration is two products of n k d operations, of which
neither knows d^2.
"""

import numpy as np

from fastgmm import kernels
from fastgmm._typing import Float64Array, FloatArray, IntArray
from fastgmm.covariance import shared, triangles
from fastgmm.covariance.conditioning import Regression, by_matrices
from fastgmm.covariance.drawing import draw_matrices
from fastgmm.covariance.nearness import common_centre, far, middle
from fastgmm.covariance.protocol import Density, Share, alone
from fastgmm.covariance.scale import BITS, WHITENING, log_scale
from fastgmm.parameters import Parameters
from fastgmm.statistics import Scatter, Statistics

needs_scatter = True


def shape(n_components: int, n_features: int) -> tuple[int, ...]:
    """Return (d, d)."""
    return n_features, n_features


def second_shape(n_components: int, n_features: int) -> tuple[int, ...]:
    """Return (1, p): one packed triangle of the scatter pooled over the components."""
    return 1, triangles.packed_size(n_features)


def n_parameters(n_components: int, n_features: int) -> int:
    """Return d (d + 1) / 2."""
    return triangles.packed_size(n_features)


def prepare(parameters: Parameters, dtype: np.dtype[np.floating], share: Share = alone) -> Density:
    """Factorise the one covariance."""
    matrix = parameters.covariances[np.newaxis]
    with shared.no_component():
        whitening = triangles.whiten(matrix, WHITENING, 1, np.dtype(np.float64), share)
    d = parameters.means.shape[1]
    scale = log_scale(parameters.weights, whitening.log_determinants, d)
    factors = whitening.factors[0].astype(dtype)
    near = common_centre(
        parameters.means,
        middle(parameters, dtype),
        np.diagonal(matrix[0]),
        whitening.sharpness / WHITENING,
    )
    if not near.near:
        means = parameters.means.astype(dtype)
        return _far(scale.astype(dtype), means, factors, means)
    away = parameters.means - near.centre.astype(np.float64)
    squares, slopes = np.empty(len(away)), np.empty(away.shape)
    kernels.factorisation.linear_form(whitening.factors[0], away, squares, slopes)
    return kernels.linear.LinearDensity(
        scale.astype(dtype),
        parameters.means.astype(dtype),
        squares.astype(dtype),
        slopes.astype(dtype),
        factors,
        near.centre,
        near.origins,
    )


def _far(
    log_scale: FloatArray, means: FloatArray, factors: FloatArray, origins: FloatArray
) -> Density:
    """Return the density that takes each component's rows about its own origin."""
    bands = triangles.in_bands(factors, means.shape[1], kernels.bands.BAND_HEIGHT)
    return kernels.triangles.TriangleDensity(
        log_scale, means, bands[np.newaxis], np.zeros_like(means), *far(origins)
    )


def complete(statistics: Statistics, density: Density, scatter: Scatter | None) -> Statistics:
    """Add the total scatter about the centre, and the square that all log densities lack."""
    if not isinstance(density, kernels.linear.LinearDensity):
        return statistics
    if scatter is None:
        raise ValueError("a tied mixture's statistics need the total scatter of the data")
    about = scatter.about(density.centre.astype(np.float64))
    square = kernels.factorisation.total_square(density.whitening.astype(np.float64), about)
    return statistics._replace(
        log_likelihood=statistics.log_likelihood - square / BITS,
        second=triangles.packed_triangle(about)[np.newaxis],
    )


def about(density: Density, origins: FloatArray) -> Density:
    """Move the origins."""
    if isinstance(density, kernels.linear.LinearDensity):
        return _far(density.log_scale, density.means, density.whitening, origins)
    return density._replace(origins=origins)


def estimate(
    second: Float64Array, counts: Float64Array, delta: Float64Array, share: Share = alone
) -> Float64Array:
    """Return the mean over all rows of the scatter about each row's component."""
    return triangles.estimate(second, counts, delta, share)[0]


def regularise(covariances: Float64Array, ridge: Float64Array) -> None:
    """Add the largest ridge of any component to the one diagonal."""
    d = len(covariances)
    covariances[range(d), range(d)] += ridge.max(axis=0)


replace = shared.replace
rows_without_spread = shared.rows_without_spread


def join(seconds: list[Float64Array]) -> Float64Array:
    """Pool the components' scatter."""
    pooled: Float64Array = np.sum(seconds, axis=0)
    return pooled


def variances(covariances: Float64Array, n_features: int) -> Float64Array:
    """Return the diagonal (d,)."""
    return np.diagonal(covariances)


def dense(covariances: Float64Array, n_components: int, n_features: int) -> Float64Array:
    """Repeat the matrix for every component."""
    return np.broadcast_to(covariances, (n_components, n_features, n_features))


def select(covariances: Float64Array, components: IntArray, columns: IntArray) -> Float64Array:
    """Return these rows and columns of the matrix."""
    return covariances[np.ix_(columns, columns)]


def regression(
    covariances: Float64Array, n_components: int, given: IntArray, rest: IntArray
) -> Regression:
    """Regress once for all components."""
    slopes, noise = by_matrices(covariances[np.newaxis], given, rest)
    return Regression(slopes, noise[0])


def check(values: Float64Array, what: str) -> None:
    """Check the one matrix."""
    triangles.check_matrices(values[np.newaxis], f"tied {what}", shared=True)


def from_precisions(precisions: Float64Array) -> Float64Array:
    """Invert the matrix."""
    return triangles.inverses(precisions[np.newaxis], "tied precision", shared=True)[0]


def precisions_cholesky(parameters: Parameters) -> Float64Array:
    """Return U = L^-T (d, d)."""
    with shared.no_component():
        return triangles.upper_factors(parameters.covariances[np.newaxis])[0]


def precisions(precisions_cholesky: Float64Array) -> Float64Array:
    """Return U U^T."""
    return precisions_cholesky @ precisions_cholesky.T


def draw(
    parameters: Parameters, counts: IntArray, random_state: np.random.RandomState
) -> Float64Array:
    """Draw from the one matrix about each mean."""
    matrices = dense(parameters.covariances, *parameters.means.shape)
    return draw_matrices(parameters.means, matrices, counts, random_state)
