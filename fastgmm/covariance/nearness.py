"""Whether components lie so near each other that rows may be taken about one common centre."""

from typing import NamedTuple

import numpy as np

from fastgmm._typing import Float64Array, FloatArray
from fastgmm.parameters import Parameters

# A moment about the centre loses eps s^2 of the covariance about the mean, where the mean lies s
# standard deviations (of the narrowest direction) from the centre: 1e-12 and 4e-6 at most.
FARTHEST = {8: 64.0, 4: 8.0}


class Centre(NamedTuple):
    """What the rows are taken about, in the compute dtype."""

    near: bool
    centre: FloatArray
    """(d,) the mean of the mixture; zeros unless ``near``."""
    origins: FloatArray
    """(k, d) what statistics are centred about: the centre if ``near``, else the means."""


def common_centre(
    parameters: Parameters, sharpness: Float64Array, dtype: np.dtype[np.floating]
) -> Centre:
    """Return the centre of a mixture, if all components are near it.

    ``sharpness`` (k,): one over the smallest standard deviation of each component, or more.
    """
    means = parameters.means
    total = max(float(parameters.weights.sum()), np.finfo(np.float64).tiny)
    # not a matrix product: BLAS rounds differently with other numbers of threads
    centre = (parameters.weights[:, np.newaxis] * means).sum(axis=0) / total
    centre = centre.astype(dtype)
    away = np.abs(means - centre).max(axis=1) * sharpness
    # not a number is not near
    if bool(np.all(away <= FARTHEST[dtype.itemsize])):
        origins = np.repeat(centre[np.newaxis], len(means), axis=0)
        return Centre(True, centre, origins)
    return far(means.astype(dtype))


def far(origins: FloatArray) -> Centre:
    """Return what centres each component on its own."""
    return Centre(False, np.zeros_like(origins[0]), origins)


def sharpness(lower: Float64Array) -> Float64Array:
    """Return (k,) bounds of the spectral norms of matrices (k, d, d): sqrt(|.|_1 |.|_inf)."""
    sizes = np.abs(lower)
    bounds: Float64Array = np.sqrt(sizes.sum(axis=1).max(axis=1) * sizes.sum(axis=2).max(axis=1))
    return bounds
