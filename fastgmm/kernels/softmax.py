"""From log densities to responsibilities and log likelihood, a vector of rows at a time.

``joint`` is a flat (k, stride) matrix: log(weight_k N(x_t | k)) on the way in, the same as a
fraction of the row's highest on the way out. A row's *share* is what makes responsibilities of
these fractions: its weight over their sum. It is not multiplied in here, because the moments need
fewer products when it goes to the features. The matrix is padded with rows that do not exist up to
whole vectors.
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
    joint: Any, begin: int, stride: int, n_components: int, n_vectors: int, highest: Any, sums: Any
) -> None:
    """Replace log densities by exp(log density - highest) in place; write ``highest`` and ``sums``.

    log p(x_t) is ``highest[t] + log(sums[t])``. A row whose log densities are all -inf gives NaN,
    which the caller finds in the log likelihood.
    """
    if n_components == 2:
        _exponentiate_two(joint, begin, stride, n_vectors, highest, sums)
        return
    width = lanes_of(joint)
    for v in range(n_vectors):
        at = begin + v * width
        best = load(joint, at)
        for k in range(1, n_components):
            best = maximum(load(joint, k * stride + at), best)
        scale = broadcast(joint.dtype.type(0))
        for k in range(n_components):
            fraction = exp_nonpositive(load(joint, k * stride + at) - best)
            store(joint, k * stride + at, fraction)
            scale = scale + fraction
        store(highest, at, best)
        store(sums, at, scale)


@part
def _exponentiate_two(
    joint: Any, begin: int, stride: int, n_vectors: int, highest: Any, sums: Any
) -> None:
    """Two components need one exponential: the larger one's is exp(0) = 1."""
    width = lanes_of(joint)
    one = broadcast(joint.dtype.type(1))
    for v in range(n_vectors):
        at = begin + v * width
        left, right = load(joint, at), load(joint, stride + at)
        best = maximum(left, right)
        smaller = exp_nonpositive(minimum(left, right) - best)
        store(highest, at, best)
        store(sums, at, one + smaller)
        first = left > right
        store(joint, at, select(first, one, smaller))
        store(joint, stride + at, select(first, smaller, one))


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
    """Return the sum of log p(x_t) over the tile, and replace sums by shares, 1 / sum."""
    width = lanes_of(sums)
    result = broadcast(sums.dtype.type(0))
    for first in range(0, n_vectors, SUMS_PER_LOG):
        product = broadcast(sums.dtype.type(1))
        for v in range(first, min(first + SUMS_PER_LOG, n_vectors)):
            scale = load(sums, v * width)
            store(sums, v * width, reciprocal(scale))
            product = product * scale
            result = result + load(highest, v * width)
        result = result + log(product)
    return total(result)


@part
def weighted_log_likelihood_of(
    weights: Any,
    start: int,
    size: int,
    n_vectors: int,
    joint: Any,
    stride: int,
    n_components: int,
    highest: Any,
    sums: Any,
) -> float:
    """Return the sum of w_t log p(x_t), and replace sums by shares, w_t / sum."""
    width = lanes_of(sums)
    for v in range(n_vectors):
        scale = load(sums, v * width)
        store(sums, v * width, reciprocal(scale))
        store(highest, v * width, load(highest, v * width) + log(scale))
    result = 0.0
    for t in range(size):
        weight = weights[start + t]
        if weight > 0:
            result += weight * highest[t]
            sums[t] *= weight
        else:
            # a row of weight zero counts for nothing even where its density is not a number
            sums[t] = 0
            for k in range(n_components):
                joint[k * stride + t] = 0
    return result


@part
def share_out(joint: Any, stride: int, n_components: int, n_vectors: int, shares: Any) -> None:
    """Turn fractions into responsibilities in place."""
    width = lanes_of(joint)
    for v in range(n_vectors):
        at = v * width
        share = load(shares, at)
        for k in range(n_components):
            store(joint, k * stride + at, load(joint, k * stride + at) * share)
