"""From log densities to responsibilities and log likelihood, a vector of rows at a time.

A chunk of ``joint`` is a flat (k, stride) matrix from ``at`` on: log2(weight_k N(x_t | k)) on the
way in, the same as a fraction of the row's highest on the way out. To base two, as an exponential
takes less time then (``simd/powers.py``); log likelihoods leave in nats. A row's *share*
is what makes responsibilities of these fractions: its weight over their sum. It is not multiplied
in here, because the moments need fewer products when it goes to the features. A chunk is padded
with rows that do not exist up to whole vectors.
"""

from typing import Any

from fastgmm._jit import part
from fastgmm.kernels.memory import fill
from fastgmm.simd import (
    broadcast,
    exp2_nonpositive,
    fma,
    lanes_of,
    load,
    log,
    maximum,
    minimum,
    reciprocal,
    select,
    store,
    total,
)
from fastgmm.simd.powers import LN2

# a logarithm for the product of so many vectors of sums: sums lie between 1 and k, so that the
# product stays below 1e32 (a float32 holds 1e38) up to k = 10,000
SUMS_PER_LOG = 8


@part
def exponentiate(
    joint: Any,
    at: int,
    stride: int,
    n_components: int,
    n_vectors: int,
    highest: Any,
    sums: Any,
    first: int,
) -> None:
    """Replace a chunk's log densities by 2^(log density - highest), in place.

    The highest and the sums of the rows are written from ``first`` on: log2 p(x_t) is ``highest[t]
    + log2(sums[t])``. A row whose log densities are all -inf gives NaN, which the caller finds in
    the log likelihood.
    """
    width = lanes_of(joint)
    v = 0
    while v < n_vectors:
        here, there = at + v * width, first + v * width
        if n_components == 2:
            _exponentiate_two(joint, here, here + stride, highest, sums, there)
            v += 1
        elif v + 4 <= n_vectors:
            _exponentiate_four(joint, here, stride, n_components, highest, sums, there)
            v += 4
        else:
            best = load(joint, here)
            for k in range(1, n_components):
                best = maximum(load(joint, here + k * stride), best)
            scale = broadcast(joint.dtype.type(0))
            for k in range(n_components):
                (fraction,) = exp2_nonpositive((load(joint, here + k * stride) - best,))
                store(joint, here + k * stride, fraction)
                scale = scale + fraction
            store(highest, there, best)
            store(sums, there, scale)
            v += 1


@part
def _exponentiate_two(
    joint: Any, left_at: int, right_at: int, highest: Any, sums: Any, to: int
) -> None:
    """Two components need one exponential: the larger one's is 2^0 = 1."""
    one = broadcast(joint.dtype.type(1))
    left, right = load(joint, left_at), load(joint, right_at)
    best = maximum(left, right)
    # not the lower less the higher one: what is no number shows in any difference
    difference = left - right
    (smaller,) = exp2_nonpositive((minimum(difference, right - left),))
    larger = left > right
    store(joint, left_at, select(larger, one, smaller))
    store(joint, right_at, select(larger, smaller, one))
    store(highest, to, best)
    store(sums, to, one + smaller)


@part
def _exponentiate_four(
    joint: Any, at: int, stride: int, n_components: int, highest: Any, sums: Any, to: int
) -> None:
    """Four vectors of rows at a time: a maximum takes four cycles, and two can start in each.

    The exponentials gain 7 to 13 % from it with 4 and 8 components, and nothing with 32.
    """
    width = lanes_of(joint)
    b, c, d = width, 2 * width, 3 * width
    best_a, best_b = load(joint, at), load(joint, at + b)
    best_c, best_d = load(joint, at + c), load(joint, at + d)
    row = at
    for _ in range(1, n_components):
        row += stride
        best_a = maximum(load(joint, row), best_a)
        best_b = maximum(load(joint, row + b), best_b)
        best_c = maximum(load(joint, row + c), best_c)
        best_d = maximum(load(joint, row + d), best_d)
    store(highest, to, best_a)
    store(highest, to + b, best_b)
    store(highest, to + c, best_c)
    store(highest, to + d, best_d)
    sum_a = sum_b = sum_c = sum_d = broadcast(joint.dtype.type(0))
    row = at
    for _ in range(n_components):
        fraction_a, fraction_b, fraction_c, fraction_d = exp2_nonpositive(
            (
                load(joint, row) - best_a,
                load(joint, row + b) - best_b,
                load(joint, row + c) - best_c,
                load(joint, row + d) - best_d,
            )
        )
        store(joint, row, fraction_a)
        store(joint, row + b, fraction_b)
        store(joint, row + c, fraction_c)
        store(joint, row + d, fraction_d)
        sum_a, sum_b = sum_a + fraction_a, sum_b + fraction_b
        sum_c, sum_d = sum_c + fraction_c, sum_d + fraction_d
        row += stride
    store(sums, to, sum_a)
    store(sums, to + b, sum_b)
    store(sums, to + c, sum_c)
    store(sums, to + d, sum_d)


@part
def blank(
    joint: Any,
    at: int,
    stride: int,
    n_components: int,
    size: int,
    end: int,
    highest: Any,
    sums: Any,
    first: int,
) -> None:
    """Take the rows from ``size`` to ``end``, which pad a chunk, out of all sums."""
    for t in range(size, end):
        highest[first + t] = 0
        sums[first + t] = 1
        for k in range(n_components):
            joint[at + k * stride + t] = 0


@part
def log_likelihood_of(size: int, end: int, highest: Any, sums: Any) -> float:
    """Return the sum of log p(x_t) over a tile, in nats, and replace sums by shares, 1 / sum.

    The tile has ``size`` rows, and padding up to ``end``.
    """
    width = lanes_of(sums)
    bits = nats = broadcast(sums.dtype.type(0))
    for first in range(0, end, SUMS_PER_LOG * width):
        product = broadcast(sums.dtype.type(1))
        for t in range(first, min(first + SUMS_PER_LOG * width, end), width):
            scale = load(sums, t)
            store(sums, t, reciprocal(scale))
            product = product * scale
            bits = bits + load(highest, t)
        nats = nats + log(product)
    fill(sums, size, end, 0)
    return total(fma(bits, broadcast(sums.dtype.type(LN2)), nats))


@part
def weighted_log_likelihood_of(
    weights: Any,
    start: int,
    first: int,
    size: int,
    end: int,
    joint: Any,
    at: int,
    stride: int,
    n_components: int,
    highest: Any,
    sums: Any,
) -> float:
    """Return the sum of w_t log p(x_t) over a chunk; replace sums by shares, w_t / sum.

    In nats. The chunk's rows are ``size`` from ``first`` on, padded up to ``end``; ``weights`` are
    counted from ``start``.
    """
    width = lanes_of(sums)
    ln2 = broadcast(sums.dtype.type(LN2))
    for t in range(first, end, width):
        scale = load(sums, t)
        store(highest, t, fma(load(highest, t), ln2, log(scale)))
        store(sums, t, reciprocal(scale))
    result = 0.0
    for t in range(size):
        weight = weights[start + first + t]
        if weight > 0:
            result += weight * highest[first + t]
            sums[first + t] *= weight
        else:
            # a row of weight zero counts for nothing even where its density is not a number
            sums[first + t] = 0
            for k in range(n_components):
                joint[at + k * stride + t] = 0
    fill(sums, first + size, end, 0)
    return result


@part
def share_out(
    joint: Any, at: int, stride: int, n_components: int, n_vectors: int, shares: Any, first: int
) -> None:
    """Turn a chunk's fractions into responsibilities in place; its shares begin at ``first``."""
    width = lanes_of(joint)
    for v in range(n_vectors):
        share = load(shares, first + v * width)
        for k in range(n_components):
            here = at + k * stride + v * width
            store(joint, here, load(joint, here) * share)
