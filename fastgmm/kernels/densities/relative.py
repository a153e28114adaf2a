"""What log densities to base two, linear in the features of a row, are relative to.

To a number, about what the highest is at the means, so that densities are in range; or, where the
highest of a row is known, to one component's: that takes no products then, and its mean at all rows
follows from the sums of features. Rows at which densities would not be right are found by their
columns: tiles take them. (Densities themselves, divided by one component's, would save four
components an exponential, too, 1.05 to 1.1 times as fast; but an outlier's may be too high for 2^x,
which then wraps around unseen, and to look costs half of that.)
"""

import math
from typing import Any

import numpy as np

from fastgmm._jit import overload, part
from fastgmm._typing import FloatArray
from fastgmm.kernels.densities.linear import LinearDensity
from fastgmm.kernels.densities.unrolled import UnrolledDensity
from fastgmm.kernels.memory import aligned, fill

FALL = 0.5 / math.log(2.0) * 4.0**2
"""Bits that a log density falls over four deviations: hardly a row is beyond."""


def less_reference(density: Any) -> tuple[FloatArray, FloatArray, float]:
    """Return slopes (k m,) and constants (k,) of log densities (base two), and a reference.

    The reference, the highest of the components' log densities at their own means, is taken off the
    constants. It has a float32's digits: rounding enters when nats are made of all rows' share.
    """
    raise NotImplementedError("implemented for two densities, for kernels only")


@overload(less_reference, makes_arrays=True)
def _less_reference(density: Any) -> Any:
    return {LinearDensity: _of_linear, UnrolledDensity: _of_unrolled}[density.instance_class]


def _of_linear(density: Any) -> Any:
    n_components, m = density.slopes.shape
    d = density.means.shape[1]
    slopes = aligned(n_components * m, density.means)
    constants = aligned(n_components, density.means)
    reference = -math.inf
    for k in range(n_components):
        at_mean, square = float(density.log_scale[k]) - density.squares[k], 0.0
        for j in range(d):
            away = float(density.means[k, j]) - density.centre[j]
            at_mean += density.slopes[k, j] * away
            square += away * away
        if m > d:
            at_mean += density.slopes[k, d] * square
        reference = max(reference, at_mean)
        for f in range(m):
            slopes[k * m + f] = density.slopes[k, f]
    reference = float(np.float32(reference))
    for k in range(n_components):
        constants[k] = float(density.log_scale[k]) - density.squares[k] - reference
    return slopes, constants, reference


def _of_unrolled(density: Any) -> Any:
    """-|W x + b|^2 = -b.b - 2 (b W) x - sum over rows w of W of (w x)^2, in float64.

    What is rounded here errs alike for all rows: in float32 it shows in the log likelihood.
    """
    n_components, d = density.means.shape
    p = density.whitening.shape[1]
    is_triangle = p > d
    m = d + p
    slopes, sums = aligned(n_components * m, density.means), aligned(m, np.empty(0))
    constants = aligned(n_components, density.means)
    reference = -math.inf
    for k in range(n_components):
        reference = max(reference, float(density.log_scale[k]))
    reference = float(np.float32(reference))
    for k in range(n_components):
        fill(sums, 0, m, 0)
        constant = density.log_scale[k] - reference
        for i in range(d):
            bias = float(density.biases[k, i])
            constant -= bias * bias
            start = i * (i + 1) // 2 if is_triangle else 0
            for j in range(0 if is_triangle else i, i + 1):
                w = float(density.whitening[k, start + j])
                sums[j] -= 2 * w * bias
                before = j * (j + 1) // 2 if is_triangle else 0
                for other in range(0 if is_triangle else j, j):
                    sums[d + before + other] -= 2 * w * density.whitening[k, start + other]
                sums[d + before + j] -= w * w
        constants[k] = constant
        for f in range(m):
            slopes[k * m + f] = sums[f]
    return slopes, constants, reference


@part
def farthest_of(slopes: Any, constants: Any, d: int) -> float:
    """Return within what columns about the centre no log density to base two is out of range.

    These are |x_j|, or their squares where there are squares among the features: then a density
    cannot be too high but by rounding, which errs by eps times the sum of all products. If a
    parameter is no number, none are: its density might lose a comparison, and not show.
    """
    n_components = constants.size
    m = slopes.size // n_components
    double = slopes.itemsize == 8
    most = 2.0**58 if double else 2.0**26
    if m == d:
        most = 1000.0 if double else 120.0
    # shares are up to 2^500 (2^60) in groups, and must leave room for features
    farthest = 2.0**500 if double else 2.0**60
    for k in range(n_components):
        linear, quadratic = 0.0, 0.0
        for f in range(m):
            if f < d:
                linear += abs(slopes[k * m + f])
            else:
                quadratic += abs(slopes[k * m + f])
        if math.isnan(linear + quadratic + constants[k]):
            return -1.0
        if m == d:
            farthest = min(farthest, most / linear)
        else:
            half = 0.5 * most
            farthest = min(farthest, half / quadratic, (half / linear) ** 2)
    return farthest


@part
def bits_below(slopes: Any, constants: Any, density: Any, k: int, other: int, row: Any) -> float:
    """Return how far component k is below another, at most, within four deviations of its mean.

    Roots of bits are distances, and add up.
    """
    own = log_density_at(slopes, constants, density, other, other)
    below = own - log_density_at(slopes, constants, density, k, other)
    falls = FALL * steepness(density, slopes, k, other, row)
    return (math.sqrt(max(below, 0.0)) + math.sqrt(falls)) ** 2 - FALL


def steepness(density: Any, slopes: Any, k: int, other: int, row: Any) -> float:
    """Return how many times as fast k falls as another component, in about the worst direction."""
    raise NotImplementedError("implemented for two densities, for kernels only")


@overload(steepness)
def _steepness(density: Any, slopes: Any, k: Any, other: Any, row: Any) -> Any:
    return {LinearDensity: _spheres, UnrolledDensity: _ellipsoids}[density.instance_class]


def _spheres(density: Any, slopes: Any, k: Any, other: Any, row: Any) -> Any:
    d, m = density.means.shape[1], density.slopes.shape[1]
    if m == d:  # one covariance
        return 1.0
    return max(1.0, slopes[k * m + d] / slopes[other * m + d])


def _ellipsoids(density: Any, slopes: Any, k: Any, other: Any, row: Any) -> Any:
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
                value -= row[above] * whitening[other, above * (above + 1) // 2 + j]
            row[j] = value / whitening[other, j * (j + 3) // 2 if is_triangle else j]
            trace += row[j] * row[j]
    return max(1.0, trace - (d - 1))


@part
def log_density_at(slopes: Any, constants: Any, density: Any, k: int, other: int) -> float:
    """Return component k's log density at the mean of another."""
    n_components, d = density.means.shape
    m = slopes.size // n_components
    at = k * m + d
    value, square = float(constants[k]), 0.0
    for i in range(d):
        x = float(density.means[other, i]) - density.centre[i]
        value += slopes[k * m + i] * x
        square += x * x
        if m - d == d:
            value += slopes[at + i] * x * x
        elif m - d > d:
            for j in range(i + 1):
                y = float(density.means[other, j]) - density.centre[j]
                value += slopes[at + i * (i + 1) // 2 + j] * x * y
    if m - d == 1 and d > 1:
        value += slopes[at] * square
    return value


@part
def relate_to_widest(slopes: Any, constants: Any, density: Any, farthest: Any, row: Any) -> int:
    """Make log densities differences from the widest component's.

    Return which one that is: it has changed its place with the first. No row is near enough
    (``farthest``) where differences are of so many bits that they would lack 1e-9 (float32: 6e-5)
    of one. ``row`` (d,) is room to work in.
    """
    n_components = constants.size
    m = slopes.size // n_components
    double = slopes.itemsize == 8
    widest, bits = widest_of(slopes, constants, density, row)
    if not bits <= (2.0**23 if double else 2.0**10):
        fill(farthest, 0, farthest.size, -1)
    constants[0], constants[widest] = constants[widest], constants[0]
    for f in range(m):
        slopes[f], slopes[widest * m + f] = slopes[widest * m + f], slopes[f]
    for k in range(1, n_components):
        constants[k] -= constants[0]
        for f in range(m):
            slopes[k * m + f] -= slopes[f]
    return widest


@part
def widest_of(slopes: Any, constants: Any, density: Any, row: Any) -> tuple[int, float]:
    """Return which component's log density is the least below others' at their rows.

    And by how many bits: differences from it are rounded by eps times as much.
    """
    n_components = constants.size
    widest, least = 0, math.inf
    for k in range(n_components):
        most = 0.0
        for other in range(n_components):
            if other != k:
                most = max(most, bits_below(slopes, constants, density, k, other, row))
        if most < least and math.isfinite(constants[k]):
            widest, least = k, most
    return widest, least


@part
def mean_of_first(slopes: Any, constants: Any, totals: Any) -> float:
    """Return the first component's mean log density at rows: all components' sums are all rows'.

    ``totals`` (k, 1 + m) are sums of responsibilities times 1 and the features. Their rounding
    makes log likelihoods err by 1 to 6 eps where clusters are 3 to 30 deviations apart, instead of
    0.5 to 2.
    """
    n_components = constants.size
    m = slopes.size // n_components
    mean, count = float(constants[0]), 0.0
    for k in range(n_components):
        count += totals[k * (1 + m)]
    for f in range(m):
        total = 0.0
        for k in range(n_components):
            total += totals[k * (1 + m) + 1 + f]
        mean += slopes[f] * (total / count)
    return mean
