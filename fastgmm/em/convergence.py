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

CLEAR = 8
"""A gain of so many times the noise tells how gains fall."""

STEADY = 0.05
"""Gains fall like a geometric series when their ratio comes no nearer to 1 than by this share."""

LONGEST_TAIL = 1000
"""Where nothing shows above the noise, no more iterations than these are thought to be left: three
will do if their noise is too little to matter, else ..."""

UNSEEN = 10
"""... so many have to be seen."""

DROPS_SEEN = 16
"""Of so many gains the least, if it is negative, is noise, too: EM never loses."""

MOST_NOISE = 16
"""Times what is expected; more is no rounding: a component may have started anew."""


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
    bounds = lower_bounds if math.isfinite(lower_bounds[0]) else lower_bounds[1:]
    noise = _noise(abs(bounds[-1]), total_weight, dtype)
    drop = max((a - b for a, b in pairwise(bounds[-1 - DROPS_SEEN :])), default=0.0)
    noise = min(max(noise, drop * total_weight), MOST_NOISE * noise)
    # twice in a row: one lucky ratio on a plateau is not the tail
    return all(_is_exhausted(some, total_weight, noise) for some in (bounds, bounds[:-1]))


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


def _is_exhausted(bounds: Sequence[float], total_weight: float, noise: float) -> bool:
    """Return whether no more than ``REMAINING_GAIN`` is left to gain after some lower bounds.

    Of a geometric tail (Aitken): g (r + r^2 + ...) with r = g / previous g. Where the gain of an
    iteration drowns in rounding, g is that of several together: the fewest that show tell what is
    left, and if they cannot tell it in spite of the noise, more do. In float32 two components two
    standard deviations apart lacked 37 nats at 2 million rows when one gain less than the noise
    was enough.
    """
    together, n_gains = 1, len(bounds) - 1
    if n_gains < 3:
        return False
    shows = False
    while 2 * together <= n_gains:
        latest = [bounds[-1 - i * together] for i in range(min(n_gains // together, 3) + 1)]
        gains = [(newer - older) * total_weight for newer, older in pairwise(latest)]
        last, previous, *before = gains
        if previous >= CLEAR * noise:
            shows = True
            if not _is_steady(last, previous, *before) or _tail(last, previous) > REMAINING_GAIN:
                return False
            if _tail(last, previous, 2 * noise) <= REMAINING_GAIN:
                return True
        together = max(together + 1, together * 5 // 4)
    wanted = 3 if LONGEST_TAIL * noise <= REMAINING_GAIN else UNSEEN
    seen = bounds[-1 - wanted :]
    moved = (max(seen) - min(seen)) * total_weight
    return not shows and n_gains >= wanted and moved < CLEAR * noise


def _is_steady(last: float, previous: float, before: float = math.inf) -> bool:
    """Return whether gains fall, and their ratio no longer rises: no slower tail is yet to show."""
    if not last < previous < before:
        return False
    ratio = max(last, 0.0) / previous
    return math.isinf(before) or ratio - previous / before <= STEADY * (1.0 - ratio)


def _tail(last: float, previous: float, error: float = 0.0) -> float:
    """Return what follows two gains of a geometric series, at most if they err by so much."""
    high, low = max(last, 0.0) + error, previous - error
    return high**2 / (low - high) if high < low else math.inf
