"""Log densities to base two as differences from one component's, the widest one's.

Its own takes no products then, and its mean at all rows follows from the sums of features. Where
each row's highest is told by comparisons, that saves the products alone (``few.py``); where the
widest component's density is the unit of all, an exponential a row, too (``one_unit.py``).
"""

import math
from typing import Any

from fastgmm._jit import overload, part
from fastgmm.kernels.densities.linear import LinearDensity
from fastgmm.kernels.densities.unrolled import UnrolledDensity

FALL = 0.5 / math.log(2.0) * 4.0**2
"""Bits that a log density falls over four deviations: hardly a row is beyond."""

BITS_TOLD_DOUBLE, BITS_TOLD_SINGLE = 2.0**23, 2.0**10
"""How far the widest component may be below others where each row's highest is told: rounded
differences of so many bits lack 1e-9 (float32: 6e-5) of one."""

BITS_OF_UNIT_DOUBLE, BITS_OF_UNIT_SINGLE = 400.0, 48.0
"""How far it may be where its density is the unit: sums may have 500 bits (float32: 56), and a few
rows lie farther away than four deviations. What is beyond costs time alone."""


@part
def relate_to_widest(
    slopes: Any, constants: Any, density: Any, is_told: bool, room: Any
) -> tuple[int, int]:
    """Write differences behind the log densities of k components, (2, k, m) slopes in all.

    Return which component is the widest, which has changed its place with the first one; and 1 if
    differences from it will do, depending on whether each row's highest ``is_told``, else 0.
    ``room`` (1 + m,) is for working in.
    """
    n_components = constants.size // 2
    m = slopes.size // constants.size
    widest, bits = widest_of(slopes, constants, density, room)
    constants[0], constants[widest] = constants[widest], constants[0]
    for f in range(m):
        slopes[f], slopes[widest * m + f] = slopes[widest * m + f], slopes[f]
    for k in range(1, n_components):
        constants[n_components + k] = constants[k] - constants[0]
        for f in range(m):
            slopes[(n_components + k) * m + f] = slopes[k * m + f] - slopes[f]
    double = slopes.itemsize == 8
    if is_told:
        most = BITS_TOLD_DOUBLE if double else BITS_TOLD_SINGLE
    else:
        most = BITS_OF_UNIT_DOUBLE if double else BITS_OF_UNIT_SINGLE
    return widest, 1 if bits <= most else 0


@part
def widest_of(slopes: Any, constants: Any, density: Any, room: Any) -> tuple[int, float]:
    """Return which component's log density is the least below others' at their rows.

    And by how many bits: differences from it are rounded by eps times as much.
    """
    n_components = constants.size // 2
    m = slopes.size // constants.size
    widest, least = 0, math.inf
    for k in range(n_components):
        most = 0.0
        for other in range(n_components):
            write_features(density, other, m, room)
            below = float(constants[other]) - constants[k]
            for f in range(m):
                below += (float(slopes[other * m + f]) - slopes[k * m + f]) * room[f]
            falls = FALL * steepness(density, slopes, k, other, room)
            # roots of bits are distances, and add up
            most = max(most, (math.sqrt(max(below, 0.0)) + math.sqrt(falls)) ** 2 - FALL)
        if most < least and math.isfinite(constants[k]):
            widest, least = k, most
    return widest, least


def steepness(density: Any, slopes: Any, k: int, other: int, room: Any) -> float:
    """Return how many times as fast k falls as another component, in about the worst direction."""
    raise NotImplementedError("implemented for two densities, for kernels only")


@overload(steepness)
def _steepness(density: Any, slopes: Any, k: Any, other: Any, room: Any) -> Any:
    return {LinearDensity: _spheres, UnrolledDensity: _ellipsoids}[density.instance_class]


def _spheres(density: Any, slopes: Any, k: Any, other: Any, room: Any) -> Any:
    d, m = density.means.shape[1], density.slopes.shape[1]
    if m == d:  # one covariance
        return 1.0
    return max(1.0, slopes[k * m + d] / slopes[other * m + d])


def _ellipsoids(density: Any, slopes: Any, k: Any, other: Any, room: Any) -> Any:
    """The trace of C_k^-1 C_other = |W_k W_other^-1|^2, less what equal ones have more than 1."""
    d = density.means.shape[1]
    whitening = density.whitening
    is_triangle = whitening.shape[1] > d
    trace = 0.0
    for i in range(d):
        start = i * (i + 1) // 2 if is_triangle else 0
        for j in range(i, -1 if is_triangle else i - 1, -1):
            value = float(whitening[k, start + j])
            for above in range(j + 1, i + 1):
                value -= room[above] * whitening[other, above * (above + 1) // 2 + j]
            room[j] = value / whitening[other, j * (j + 3) // 2 if is_triangle else j]
            trace += room[j] * room[j]
    return max(1.0, trace - (d - 1))


@part
def write_features(density: Any, k: int, m: int, features: Any) -> None:
    """Write the features of component k's mean: columns about the centre, and their products."""
    d = density.means.shape[1]
    features[d] = 0.0
    for i in range(d):
        features[i] = density.means[k, i] - density.centre[i]
    for i in range(d):
        if m > 2 * d:
            for j in range(i + 1):
                features[d + i * (i + 1) // 2 + j] = features[i] * features[j]
        elif m == 2 * d:
            features[d + i] = features[i] ** 2
        else:
            features[d] += features[i] ** 2


@part
def mean_of_first(slopes: Any, constants: Any, totals: Any) -> float:
    """Return the first component's mean log density at rows: all components' sums are all rows'.

    ``totals`` (k, 1 + m) are sums of responsibilities times 1 and the features. Their rounding
    makes log likelihoods err by 1 to 6 eps where clusters are 3 to 30 deviations apart, instead of
    0.5 to 2.
    """
    n_components = constants.size // 2
    m = slopes.size // constants.size
    mean, count = float(constants[0]), 0.0
    for k in range(n_components):
        count += totals[k * (1 + m)]
    for f in range(m):
        total = 0.0
        for k in range(n_components):
            total += totals[k * (1 + m) + 1 + f]
        mean += slopes[f] * (total / count)
    return mean
