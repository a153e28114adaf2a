"""Full: every component has a matrix of its own, covariances (k, d, d)."""

import math

import numpy as np

from fastgmm import kernels
from fastgmm._typing import Float64Array, FloatArray, IntArray
from fastgmm.covariance import replacing, triangles
from fastgmm.covariance.drawing import draw_matrices
from fastgmm.covariance.protocol import Density
from fastgmm.covariance.scale import log_scale
from fastgmm.exceptions import IllDefinedCovarianceError
from fastgmm.parameters import Parameters


def shape(n_components: int, n_features: int) -> tuple[int, ...]:
    """Return (k, d, d)."""
    return n_components, n_features, n_features


def second_shape(n_components: int, n_features: int) -> tuple[int, ...]:
    """Return (k, p): a triangle a component, packed where the columns are unrolled."""
    if _unrolled(n_features):
        return n_components, triangles.packed_size(n_features)
    return n_components, triangles.scatter_size(n_features)


def _unrolled(n_features: int) -> bool:
    return n_features <= kernels.unrolled.MOST_COLUMNS


def n_parameters(n_components: int, n_features: int) -> int:
    """Return k d (d + 1) / 2."""
    return n_components * triangles.packed_size(n_features)


def _whiten(covariances: Float64Array) -> tuple[Float64Array, Float64Array]:
    k, d, _ = covariances.shape
    whitening = np.empty((k, triangles.packed_size(d)))
    log_determinants = np.empty(k)
    failed = kernels.factorisation.whiten(
        np.ascontiguousarray(covariances), whitening, log_determinants
    )
    if failed >= 0:
        raise IllDefinedCovarianceError(failed)
    return whitening, log_determinants


def prepare(parameters: Parameters, dtype: np.dtype[np.floating]) -> Density:
    """Factorise each covariance."""
    whitening, log_determinants = _whiten(parameters.covariances)
    means = parameters.means.astype(dtype)
    scale = log_scale(parameters.weights, log_determinants, means.shape[1])
    d = means.shape[1]
    if _unrolled(d):
        factors = (whitening * math.sqrt(0.5)).astype(dtype)
        dimension = (0,) * d
        return kernels.unrolled.UnrolledDensity(
            scale.astype(dtype), means, factors, means, dimension
        )
    factors = triangles.bands(whitening, d).astype(dtype)
    return kernels.triangles.TriangleDensity(scale.astype(dtype), means, factors, means)


def about(density: Density, origins: FloatArray) -> Density:
    """Move the origins."""
    return density._replace(origins=origins)


def estimate(second: Float64Array, counts: Float64Array, delta: Float64Array) -> Float64Array:
    """Return second / counts - delta delta^T, for each component."""
    d = delta.shape[1]
    unpack = triangles.unpack if _unrolled(d) else triangles.unpack_scatter
    covariances: Float64Array = unpack(second / counts[:, np.newaxis], d) - triangles.outer(delta)
    return covariances


def regularise(covariances: Float64Array, ridge: Float64Array) -> None:
    """Add to each diagonal."""
    d = covariances.shape[1]
    covariances[:, range(d), range(d)] += ridge


replace = replacing.replace


def rows_without_spread(n_features: int) -> int:
    """Return d: so many rows lie in a hyperplane."""
    return n_features


def join(seconds: list[Float64Array]) -> Float64Array:
    """Stack the components' triangles."""
    return np.concatenate(seconds)


def variances(covariances: Float64Array, n_features: int) -> Float64Array:
    """Return the diagonals (k, d)."""
    return np.diagonal(covariances, axis1=1, axis2=2)


def dense(covariances: Float64Array, n_components: int, n_features: int) -> Float64Array:
    """Return the covariances as they are."""
    return covariances


def from_precisions(precisions: Float64Array) -> Float64Array:
    """Invert each matrix."""
    covariances = np.empty_like(precisions)
    failed = kernels.factorisation.invert_positive_definite(
        np.ascontiguousarray(precisions), covariances
    )
    if failed >= 0 or not np.allclose(precisions, precisions.transpose(0, 2, 1)):
        raise ValueError("'full precision' should be symmetric, positive-definite")
    return covariances


def precisions_cholesky(parameters: Parameters) -> Float64Array:
    """Return U = L^-T (k, d, d)."""
    whitening, _ = _whiten(parameters.covariances)
    lower = triangles.unpack_lower(whitening, parameters.means.shape[1])
    return np.ascontiguousarray(lower.transpose(0, 2, 1))


def precisions(precisions_cholesky: Float64Array) -> Float64Array:
    """Return U U^T."""
    return precisions_cholesky @ precisions_cholesky.transpose(0, 2, 1)


def draw(
    parameters: Parameters, counts: IntArray, random_state: np.random.RandomState
) -> Float64Array:
    """Draw from each matrix."""
    return draw_matrices(parameters.means, parameters.covariances, counts, random_state)
