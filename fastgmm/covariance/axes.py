"""What diagonal and spherical densities have in common: rows about one centre, scaled."""

import math

import numpy as np

from fastgmm import kernels
from fastgmm._typing import Float64Array, FloatArray
from fastgmm.covariance.protocol import Density
from fastgmm.covariance.scale import log_scale
from fastgmm.parameters import Parameters


def axes_density(
    parameters: Parameters, precisions_cholesky: Float64Array, dtype: np.dtype[np.floating]
) -> Density:
    """Return the density for 1 / sigma (k, d); the compute dtype holds its centre exactly."""
    means = parameters.means.astype(dtype)
    total = max(float(parameters.weights.sum()), np.finfo(np.float64).tiny)
    centre = (parameters.weights[:, np.newaxis] * parameters.means).sum(axis=0) / total
    centre = centre.astype(dtype)
    away = (centre.astype(np.float64) - means) * precisions_cholesky
    log_determinants = np.log(precisions_cholesky).sum(axis=1)
    half = math.sqrt(0.5)
    return kernels.axes.AxesDensity(
        log_scale(parameters.weights, log_determinants, means.shape[1]).astype(dtype),
        means,
        (half * precisions_cholesky).astype(dtype),
        (half * away).astype(dtype),
        centre,
        float(np.abs(away).max()),
        means,
    )


def axes_about(density: Density, origins: FloatArray) -> Density:
    """Move the origins; far from the means only the centred forms keep their digits."""
    return density._replace(origins=origins, spread=math.inf)
