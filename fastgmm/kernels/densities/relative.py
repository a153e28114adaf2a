"""Log densities to base two, linear in the features of a row, relative to a number.

That is about what the highest is at the means, so that densities are in range. Rows at which they
would not be right are found by their columns: tiles take them.
"""

import math
from typing import Any

import numpy as np

from fastgmm._jit import overload, part
from fastgmm._typing import FloatArray
from fastgmm.kernels.densities.linear import LinearDensity
from fastgmm.kernels.densities.unrolled import UnrolledDensity
from fastgmm.kernels.memory import aligned, fill


def less_reference(density: Any) -> tuple[FloatArray, FloatArray, float]:
    """Return slopes (k, m) and constants (k,) of log densities (base two), and a reference.

    Both are flat, with room for as many again (``differences.py``). The reference, the highest of
    the components' log densities at their own means, is taken off the constants. It has a float32's
    digits: rounding enters when nats are made of all rows' share.
    """
    raise NotImplementedError("implemented for two densities, for kernels only")


@overload(less_reference, makes_arrays=True)
def _less_reference(density: Any) -> Any:
    return {LinearDensity: _of_linear, UnrolledDensity: _of_unrolled}[density.instance_class]


def _of_linear(density: Any) -> Any:
    n_components, m = density.slopes.shape
    d = density.means.shape[1]
    slopes = aligned(2 * n_components * m, density.means)
    constants = aligned(2 * n_components, density.means)
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
    slopes, sums = aligned(2 * n_components * m, density.means), aligned(m, np.empty(0))
    constants = aligned(2 * n_components, density.means)
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
    n_components = constants.size // 2
    m = slopes.size // constants.size
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
