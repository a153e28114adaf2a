"""Convergence: how much the likelihood has gained, and whether enough of it is left to go on."""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Literal, TypeAlias

import numpy as np

Tolerance: TypeAlias = float | Literal["statistical"]

REMAINING_GAIN = 0.01
"""tol="statistical" stops when so much total log likelihood (nats) is left to gain: parameters
then are within sqrt(2 x 0.01) = 0.14 standard errors of the maximum, at any number of rows."""


LOOKS_BACK = 4
"""Of so many lower bounds, three gains, convergence is told."""


def gain_of(lower_bounds: Sequence[float], back: int = 1) -> float:
    """Return by how much the lower bound rose in the last iteration, or ``back`` - 1 before.

    The first of ``lower_bounds`` is where the start stood; infinity where there is none before.
    """
    if len(lower_bounds) < back + 1:
        return math.inf
    return lower_bounds[-back] - lower_bounds[-back - 1]


def has_converged(
    tol: Tolerance,
    lower_bounds: Sequence[float],
    total_weight: float,
    dtype: np.dtype[np.floating],
) -> bool:
    """Return whether the last iteration gained less than ``tol``, or by tol="statistical" enough.

    ``lower_bounds`` begin with the start's, as in :func:`gain_of`.
    """
    if tol != "statistical":
        return bool(abs(gain_of(lower_bounds)) < tol)
    gains = [gain_of(lower_bounds, back) * total_weight for back in range(1, LOOKS_BACK)]
    noise = _noise(abs(lower_bounds[-1]), total_weight, dtype)
    return all(
        _remaining(now, before, noise) <= max(REMAINING_GAIN, noise)
        # twice in a row: one lucky ratio on a plateau is not the tail
        for now, before in pairwise(gains)
    )


def _noise(log_density: float, total_weight: float, dtype: np.dtype[np.floating]) -> float:
    """Return how far rounding moves the total log likelihood from one iteration to the next.

    Its sum rounds once in float64; rows that are computed in float32 each err on their own, which
    adds up like a random walk (measured: 1e-3 nats at 200,000 rows of log density -3.5). All err
    alike by what the parameters lose that become float32 (there 3e-2, to and fro).
    """
    summing = 8 * np.finfo(np.float64).eps * log_density * total_weight
    eps, size = np.finfo(dtype).eps, max(log_density, 1.0)
    rows = 16 * eps * size * math.sqrt(total_weight)
    parameters = 0.5 * eps * size * total_weight
    return float(max(summing, rows, parameters))


def _remaining(gain: float, previous: float, noise: float) -> float:
    """Return what is left of a geometric tail (Aitken): g (r + r^2 + ...) with r = g / previous."""
    if abs(gain) <= max(REMAINING_GAIN * 1e-3, noise):
        return abs(gain)
    if math.isinf(previous) or not 0.0 < gain < previous:
        return math.inf
    ratio = gain / previous
    return gain * ratio / (1.0 - ratio)
