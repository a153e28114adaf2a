"""What all shapes share: the normalising constant, and the unit of log densities in kernels.

These are to base two (``kernels/softmax.py`` says why): a log density is log_scale - |W (x -
mean)|^2 in bits, with W = ``WHITENING`` L^-1 for a covariance L L^T.
"""

import math

import numpy as np

from fastgmm._typing import Float64Array

BITS = 1.0 / math.log(2.0)
"""Of a nat."""

WHITENING = math.sqrt(0.5 * BITS)


def log_scale(weights: Float64Array, log_determinants: Float64Array, d: int) -> Float64Array:
    """Return (k,) log2 of weight |L^-1| (2 pi)^(-d/2); -inf where a weight is zero.

    ``log_determinants`` are natural, log |L^-1|.
    """
    with np.errstate(divide="ignore"):
        return BITS * (np.log(weights) + log_determinants - 0.5 * d * math.log(2 * math.pi))
