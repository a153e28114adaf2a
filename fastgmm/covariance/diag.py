"""Diagonal: variances of its own for every component, covariances (k, d)."""

import math

import numpy as np

from fastgmm import kernels
from fastgmm._typing import Float64Array, FloatArray
from fastgmm.covariance.axes import axes_of
from fastgmm.covariance.protocol import Density
from fastgmm.covariance.scale import log_scale
from fastgmm.exceptions import IllDefinedCovarianceError
from fastgmm.parameters import Parameters


def shape(n_components: int, n_features: int) -> tuple[int, ...]:
    """Return (k, d)."""
    return n_components, n_features


def second_shape(n_components: int, n_features: int) -> tuple[int, ...]:
    """Return (k, d)."""
    return n_components, n_features


def n_parameters(n_components: int, n_features: int) -> int:
    """Return k d."""
    return n_components * n_features


def prepare(parameters: Parameters, dtype: np.dtype[np.floating]) -> Density:
    """Take reciprocal standard deviations."""
    whitening = precisions_cholesky(parameters)
    means = parameters.means.astype(dtype)
    scale = log_scale(parameters.weights, np.log(whitening).sum(axis=1), means.shape[1])
    scales, offsets, centre, spread = axes_of(parameters, whitening, dtype)
    return kernels.axes.AxesDensity(
        scale.astype(dtype),
        means,
        scales.astype(dtype),
        offsets.astype(dtype),
        centre.astype(dtype),
        spread,
        means,
    )


def about(density: Density, origins: FloatArray) -> Density:
    """Move the origins; far from the means only the centred forms keep their digits."""
    return density._replace(origins=origins, spread=math.inf)


def estimate(
    second: Float64Array, counts: Float64Array, delta: Float64Array, reg_covar: float
) -> Float64Array:
    """Return second / counts - delta^2 + reg_covar."""
    return second / counts[:, np.newaxis] - delta**2 + reg_covar


def join(seconds: list[Float64Array]) -> Float64Array:
    """Stack the components' variances."""
    return np.concatenate(seconds)


def variances(covariances: Float64Array, n_features: int) -> Float64Array:
    """Return the variances (k, d)."""
    return covariances


def dense(covariances: Float64Array, n_components: int, n_features: int) -> Float64Array:
    """Put the variances on diagonals."""
    return covariances[:, :, np.newaxis] * np.eye(n_features)


def from_precisions(precisions: Float64Array) -> Float64Array:
    """Return reciprocals."""
    if not np.all(precisions > 0.0):
        raise ValueError("'diag precision' should be positive")
    return 1.0 / precisions


def precisions_cholesky(parameters: Parameters) -> Float64Array:
    """Return 1 / sigma (k, d)."""
    positive = np.all((parameters.covariances > 0.0) & np.isfinite(parameters.covariances), axis=1)
    if not positive.all():
        raise IllDefinedCovarianceError(int(np.argmin(positive)))
    return 1.0 / np.sqrt(parameters.covariances)


def precisions(precisions_cholesky: Float64Array) -> Float64Array:
    """Return squares."""
    return precisions_cholesky**2
