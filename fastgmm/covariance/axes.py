"""What diagonal and spherical densities have in common: rows about one centre, scaled."""

import math
from typing import NamedTuple

import numpy as np

from fastgmm._typing import Float64Array
from fastgmm.parameters import Parameters


class Axes(NamedTuple):
    """The part of a density that says how far rows lie from means along the axes, float64."""

    scales: Float64Array
    """(k, d) sqrt(1/2) over the standard deviations."""
    offsets: Float64Array
    """(k, d) scales times (centre - mean)."""
    centre: Float64Array
    """(d,) the mixture's mean."""
    spread: float
    """Standard deviations that the farthest mean lies from the centre."""


def axes_of(
    parameters: Parameters, precisions_cholesky: Float64Array, dtype: np.dtype[np.floating]
) -> Axes:
    """Return the axes for 1 / sigma (k, d), with a centre that the compute dtype holds exactly."""
    centre = (parameters.weights[:, np.newaxis] * parameters.means).sum(axis=0)
    centre /= max(float(parameters.weights.sum()), 1e-300)
    centre = centre.astype(dtype).astype(np.float64)
    means = parameters.means.astype(dtype).astype(np.float64)
    away = (centre - means) * precisions_cholesky
    half = math.sqrt(0.5)
    return Axes(half * precisions_cholesky, half * away, centre, float(np.abs(away).max()))
