"""The normalising constant that all shapes share."""

import math

import numpy as np

from fastgmm._typing import Float64Array


def log_scale(weights: Float64Array, log_determinants: Float64Array, d: int) -> Float64Array:
    """Return (k,) log weight + log |L^-1| - d/2 log 2 pi; -inf where a weight is zero."""
    with np.errstate(divide="ignore"):
        return np.log(weights) + log_determinants - 0.5 * d * math.log(2 * math.pi)
