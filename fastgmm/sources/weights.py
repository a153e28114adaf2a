"""Weights of rows that a user hands over in memory."""

from typing import Any

import numpy as np

from fastgmm._typing import Float64Array
from fastgmm.exceptions import DataError


def weight_array(sample_weight: Any, n_samples: int) -> Float64Array:
    """Return a weight for each of so many rows; one number is everybody's.

    Raises DataError for what is no such number of real numbers.
    """
    try:
        is_complex = np.asarray(sample_weight).dtype.kind == "c"
        weights = np.asarray(sample_weight, dtype=None if is_complex else np.float64)
    except (TypeError, ValueError) as error:
        raise DataError(f"sample_weight is not an array of numbers: {error}") from error
    if is_complex:
        raise DataError("Complex data not supported: sample_weight must be real numbers")
    if weights.ndim == 0:
        weights = np.full(n_samples, weights)
    if weights.shape != (n_samples,):
        raise DataError(f"sample_weight.shape == {weights.shape}, expected {(n_samples,)}!")
    return np.ascontiguousarray(weights)
