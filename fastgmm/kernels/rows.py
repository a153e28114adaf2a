"""What is asked of raw rows: are they finite, which make the start, which fold are they in."""

import math
from typing import Any

import numpy as np

from fastgmm._jit import kernel, part


@kernel
def first_not_finite(rows: Any) -> int:
    """Flat index of the first entry of (n, d) that is nan or infinite, or -1.

    Sums of x - x stay zero as long as all is finite, which vectorises; only a block that fails is
    searched.
    """
    n_samples, n_features = rows.shape
    for n in range(n_samples):
        bad = False
        for i in range(n_features):
            bad |= not math.isfinite(rows[n, i])
        if bad:
            for i in range(n_features):
                if not math.isfinite(rows[n, i]):
                    return n * n_features + i
    return -1


@part
def mix(value: np.uint64) -> np.uint64:
    """Scramble 64 bits (the finaliser of splitmix64: Steele, Lea and Flood 2014)."""
    value ^= value >> np.uint64(30)
    value *= np.uint64(0xBF58476D1CE4E5B9)
    value ^= value >> np.uint64(27)
    value *= np.uint64(0x94D049BB133111EB)
    return value ^ (value >> np.uint64(31))


@kernel
def sampling_keys(seed: Any, first_row: int, weights: Any, keys: Any) -> None:
    """Fill ``keys`` (n,): the rows with the smallest keys are a sample without replacement.

    A row's key is -log(u) / weight with u drawn from a hash of the seed and the row's global index
    (Efraimidis and Spirakis 2006), so which rows are drawn depends on neither blocks nor threads.
    Rows of weight zero get an infinite key: never drawn.
    """
    for n in range(keys.size):
        row = np.uint64(first_row + n)
        bits = mix(mix(np.uint64(seed)) + (row + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15))
        uniform = (np.float64(bits >> np.uint64(11)) + 0.5) * (1.0 / 9007199254740992.0)
        keys[n] = -math.log(uniform)
        if weights.size > 0:
            keys[n] = keys[n] / weights[n] if weights[n] > 0.0 else np.inf


@kernel
def folds(seed: Any, n_folds: int, rows: Any, out: Any) -> None:
    """Write to ``out`` (n,) the fold, 0 to ``n_folds`` - 1, of each row index in ``rows`` (n,).

    A hash of the seed and the index, but another one than that of ``sampling_keys``: a sample of
    the rows must have its share in every fold.
    """
    for n in range(rows.size):
        row = np.uint64(rows[n]) + np.uint64(1)
        bits = mix(mix(~np.uint64(seed)) + row * np.uint64(0xD1342543DE82EF95))
        out[n] = int(np.float64(bits >> np.uint64(11)) * (1.0 / 9007199254740992.0) * n_folds)
