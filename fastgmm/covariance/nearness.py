"""Whether components lie so near each other that rows may be taken about one common centre."""

from typing import NamedTuple

import numpy as np

from fastgmm._typing import Float64Array, FloatArray
from fastgmm.covariance.protocol import Density
from fastgmm.parameters import Parameters

# A moment about the centre loses eps s^2 of the covariance about the mean, where the mean lies s
# standard deviations (of the narrowest direction, columns in units of their own) from the centre:
# 1e-12 and 1.5e-5 at most.
FARTHEST = {8: 64.0, 4: 16.0}


class Centre(NamedTuple):
    """What the rows are taken about, in the compute dtype."""

    near: bool
    centre: FloatArray
    """(d,) the mean of the mixture; zeros unless ``near``."""
    origins: FloatArray
    """(k, d) what statistics are centred about: the centre if ``near``, else the means."""


def middle(parameters: Parameters, dtype: np.dtype[np.floating]) -> FloatArray:
    """Return (d,) the mean of the mixture, as the compute dtype holds it."""
    total = max(float(parameters.weights.sum()), np.finfo(np.float64).tiny)
    # not a matrix product: BLAS rounds differently with other numbers of threads
    mean: FloatArray = (parameters.weights[:, np.newaxis] * parameters.means).sum(axis=0) / total
    return mean.astype(dtype)


def common_centre(
    means: Float64Array, centre: FloatArray, variances: Float64Array, sharpness: Float64Array
) -> Centre:
    """Return the ``middle`` of the mixture as its centre, if all components are near it.

    Rounding errs column by column, so columns are measured in standard deviations of their own:
    ``variances`` (k, d), or broadcastable. ``sharpness`` (k,) or (1,): one over the least standard
    deviation in these units, or more.
    """
    with np.errstate(over="ignore"):
        away = (np.abs(means - centre) / np.sqrt(variances)).max(axis=1) * sharpness
    # not a number is not near
    if (away <= FARTHEST[centre.itemsize]).all():
        return Centre(True, centre, centre[np.newaxis].repeat(len(means), axis=0))
    return far(means.astype(centre.dtype))


def apart(density: Density, origins: FloatArray) -> Density:
    """Return a density with biases about ``origins``, each component centred on its own."""
    elsewhere: Density = density._replace(
        biases=np.zeros_like(density.biases), **far(origins)._asdict()
    )
    return elsewhere


def far(origins: FloatArray) -> Centre:
    """Return what centres each component on its own."""
    return Centre(False, np.zeros_like(origins[0]), origins)
