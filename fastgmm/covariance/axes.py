"""What densities with covariances along the axes have in common: rows about one centre, scaled."""

import math

import numpy as np

from fastgmm import kernels
from fastgmm._typing import Float64Array, FloatArray
from fastgmm.covariance.protocol import Density
from fastgmm.covariance.scale import log_scale
from fastgmm.exceptions import IllDefinedCovarianceError
from fastgmm.parameters import Parameters


def axes_density(
    parameters: Parameters, precisions_cholesky: Float64Array, dtype: np.dtype[np.floating]
) -> Density:
    """Return the density for 1 / sigma, broadcastable to (k, d).

    The compute dtype holds its centre exactly.
    """
    # in rows: kernels read a broadcast array's memory as if it were there
    scales = np.array(np.broadcast_to(precisions_cholesky, parameters.means.shape), order="C")
    means = parameters.means.astype(dtype)
    total = max(float(parameters.weights.sum()), np.finfo(np.float64).tiny)
    centre = (parameters.weights[:, np.newaxis] * parameters.means).sum(axis=0) / total
    centre = centre.astype(dtype)
    away = (centre.astype(np.float64) - means) * scales
    log_determinants = np.log(scales).sum(axis=1)
    half = math.sqrt(0.5)
    return kernels.axes.AxesDensity(
        log_scale(parameters.weights, log_determinants, means.shape[1]).astype(dtype),
        means,
        (half * scales).astype(dtype),
        (half * away).astype(dtype),
        centre,
        float(np.abs(away).max()),
        means,
    )


def axes_about(density: Density, origins: FloatArray) -> Density:
    """Move the origins; far from the means only the centred forms keep their digits."""
    return density._replace(origins=origins, spread=math.inf)


def reciprocal_deviations(variances: Float64Array) -> Float64Array:
    """Return 1 / sigma of variances (k, ...).

    Raises IllDefinedCovarianceError, with the first component to blame.
    """
    good = (variances > 0.0) & np.isfinite(variances)
    if not good.all():
        raise IllDefinedCovarianceError(int(np.argwhere(~good)[0, 0]))
    return 1.0 / np.sqrt(variances)


def reciprocals(precisions: Float64Array, covariance_type: str) -> Float64Array:
    """Turn precisions into variances or the other way round; ValueError if one is not positive."""
    if not np.all(precisions > 0.0):
        raise ValueError(f"'{covariance_type} precision' should be positive")
    return 1.0 / precisions
