"""From log densities to responsibilities and log likelihood, a vector of rows at a time.

A chunk of ``joint`` is a flat (k, stride) matrix from ``at`` on: log(weight_k N(x_t | k)) on the
way in, the same as a fraction of the row's highest on the way out. A row's *share* is what makes
responsibilities of these fractions: its weight over their sum. It is not multiplied in here,
because the moments need fewer products when it goes to the features. A chunk is padded with rows
that do not exist up to whole vectors.
"""

from typing import Any

from fastgmm._jit import part
from fastgmm.simd import (
    broadcast,
    exp_nonpositive,
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
    """Replace a chunk's log densities by exp(log density - highest), in place.

    The highest and the sums of the rows are written from ``first`` on: log p(x_t) is ``highest[t] +
    log(sums[t])``. A row whose log densities are all -inf gives NaN, which the caller finds in the
    log likelihood.
    """
    width = lanes_of(joint)
    one = broadcast(joint.dtype.type(1))
    for v in range(n_vectors):
        here = at + v * width
        best = load(joint, here)
        if n_components == 2:
            # one exponential: the larger component's is exp(0) = 1
            other = load(joint, here + stride)
            left = best > other
            smaller = minimum(best, other)
            best = maximum(best, other)
            smaller = exp_nonpositive(smaller - best)
            scale = one + smaller
            store(joint, here, select(left, one, smaller))
            store(joint, here + stride, select(left, smaller, one))
        else:
            for k in range(1, n_components):
                best = maximum(load(joint, here + k * stride), best)
            scale = broadcast(joint.dtype.type(0))
            for k in range(n_components):
                fraction = exp_nonpositive(load(joint, here + k * stride) - best)
                store(joint, here + k * stride, fraction)
                scale = scale + fraction
        store(highest, first + v * width, best)
        store(sums, first + v * width, scale)


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
    """Return the sum of log p(x_t) over a tile, and replace sums by shares, 1 / sum.

    The tile has ``size`` rows, and padding up to ``end``.
    """
    width = lanes_of(sums)
    result = broadcast(sums.dtype.type(0))
    for first in range(0, end, SUMS_PER_LOG * width):
        product = broadcast(sums.dtype.type(1))
        for t in range(first, min(first + SUMS_PER_LOG * width, end), width):
            scale = load(sums, t)
            store(sums, t, reciprocal(scale))
            product = product * scale
            result = result + load(highest, t)
        result = result + log(product)
    sums[size:end] = 0
    return total(result)


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
    """Return the sum of w_t log p(x_t) over a chunk, and replace sums by shares, w_t / sum.

    The chunk's rows are ``size`` from ``first`` on, padded up to ``end``; ``weights`` are counted
    from ``start``.
    """
    width = lanes_of(sums)
    for t in range(first, end, width):
        scale = load(sums, t)
        store(highest, t, load(highest, t) + log(scale))
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
    sums[first + size : end] = 0
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
