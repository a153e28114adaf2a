"""Weights of rows that a user hands over in memory."""

from typing import Any

import numpy as np

from fastgmm._typing import Float64Array
from fastgmm.exceptions import DataError
from fastgmm.sources.arrays import as_numpy, unmasked


def weight_array(sample_weight: Any, n_samples: int) -> Float64Array:
    """Return a weight for each of so many rows; one number is everybody's.

    Raises DataError for what is no such number of real numbers.
    """
    try:
        given = as_numpy(unmasked(sample_weight))
        if given.dtype.kind in "mM":
            raise TypeError(f"its dtype is {given.dtype}")
        is_complex = given.dtype.kind == "c"
        weights = given if is_complex else given.astype(np.float64, copy=False)
    except (TypeError, ValueError) as error:
        raise DataError(f"sample_weight is not an array of numbers: {error}") from error
    if is_complex:
        raise DataError("Complex data not supported: sample_weight must be real numbers")
    if weights.ndim == 0:
        weights = np.full(n_samples, weights)
    if weights.shape != (n_samples,):
        raise DataError(f"sample_weight.shape == {weights.shape}, expected {(n_samples,)}!")
    return np.ascontiguousarray(weights)
