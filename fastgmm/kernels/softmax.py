"""From log densities to responsibilities and log likelihood, a vector of rows at a time.

``joint`` is a flat (k, stride) matrix: log(weight_k N(x_t | k)) on the way in, responsibilities on
the way out. It is padded with rows that do not exist up to whole vectors.
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
def normalise(
    joint: Any, stride: int, n_components: int, n_vectors: int, highest: Any, sums: Any
) -> None:
    """Turn log densities into responsibilities in place, by the maximum over the components.

    log p(x_t) is ``highest[t] + log(sums[t])``. A row whose log densities are all -inf gives NaN,
    which the caller finds in the log likelihood.
    """
    if n_components == 2:
        _normalise_two(joint, stride, n_vectors, highest, sums)
        return
    width = lanes_of(joint)
    # the maxima of four vectors at a time: one takes four cycles, and two can start in each. A
    # tile is a multiple of four vectors, so that the last turn may go on behind the rows.
    for first in range(0, n_vectors, 4):
        at = first * width
        best0 = load(joint, at)
        best1 = load(joint, at + width)
        best2 = load(joint, at + 2 * width)
        best3 = load(joint, at + 3 * width)
        for k in range(1, n_components):
            row = at + k * stride
            best0 = maximum(load(joint, row), best0)
            best1 = maximum(load(joint, row + width), best1)
            best2 = maximum(load(joint, row + 2 * width), best2)
            best3 = maximum(load(joint, row + 3 * width), best3)
        store(highest, at, best0)
        store(highest, at + width, best1)
        store(highest, at + 2 * width, best2)
        store(highest, at + 3 * width, best3)
        for v in range(first, min(first + 4, n_vectors)):
            at = v * width
            best = load(highest, at)
            scale = broadcast(joint.dtype.type(0))
            for k in range(n_components):
                share = exp_nonpositive(load(joint, k * stride + at) - best)
                store(joint, k * stride + at, share)
                scale = scale + share
            store(sums, at, scale)
            scale = reciprocal(scale)
            for k in range(n_components):
                store(joint, k * stride + at, load(joint, k * stride + at) * scale)


@part
def _normalise_two(joint: Any, stride: int, n_vectors: int, highest: Any, sums: Any) -> None:
    """Two components need one exponential: the larger one's is exp(0) = 1."""
    width = lanes_of(joint)
    one = broadcast(joint.dtype.type(1))
    for v in range(n_vectors):
        at = v * width
        left, right = load(joint, at), load(joint, stride + at)
        best = maximum(left, right)
        smaller = exp_nonpositive(minimum(left, right) - best)
        scale = one + smaller
        store(highest, at, best)
        store(sums, at, scale)
        scale = reciprocal(scale)
        smaller = smaller * scale
        first = left > right
        store(joint, at, select(first, scale, smaller))
        store(joint, stride + at, select(first, smaller, scale))


@part
def blank(
    joint: Any, stride: int, n_components: int, size: int, end: int, highest: Any, sums: Any
) -> None:
    """Take the rows from ``size`` to ``end``, which pad the last vector, out of all sums."""
    for t in range(size, end):
        highest[t] = 0
        sums[t] = 1
        for k in range(n_components):
            joint[k * stride + t] = 0


@part
def log_likelihood_of(n_vectors: int, highest: Any, sums: Any) -> float:
    """Return the sum of log p(x_t) over the tile."""
    width = lanes_of(sums)
    result = broadcast(sums.dtype.type(0))
    for first in range(0, n_vectors, SUMS_PER_LOG):
        product = load(sums, first * width)
        result = result + load(highest, first * width)
        for v in range(first + 1, min(first + SUMS_PER_LOG, n_vectors)):
            product = product * load(sums, v * width)
            result = result + load(highest, v * width)
        result = result + log(product)
    return total(result)


@part
def weigh(
    weights: Any,
    start: int,
    size: int,
    joint: Any,
    stride: int,
    n_components: int,
    highest: Any,
    sums: Any,
) -> float:
    """Scale the tile's responsibilities by the row weights; return the weighted log likelihood."""
    width = lanes_of(sums)
    for t in range(0, size, width):
        store(sums, t, load(highest, t) + log(load(sums, t)))
    result = 0.0
    mine = weights[start : start + size]
    for t in range(size):
        # a row of weight zero counts for nothing even where its density is not a number
        result += mine[t] * sums[t] if mine[t] > 0 else 0.0
    for k in range(n_components):
        row = joint[k * stride : k * stride + size]
        for t in range(size):
            row[t] = row[t] * mine[t] if mine[t] > 0 else 0
    return result
