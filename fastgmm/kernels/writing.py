"""What is written of a chunk of joint densities, a vector of rows at a time.

A chunk of ``joint`` is a flat (k, stride) matrix from ``at`` on (see softmax.py). Results of its
first ``some`` rows go to the rows from ``start`` on of what the caller asked for.
"""

from typing import Any

import numpy as np

from fastgmm._jit import part
from fastgmm.simd import (
    broadcast,
    fma,
    lanes_of,
    load,
    log,
    maximum,
    reciprocal,
    select,
    store,
    transpose_block,
)
from fastgmm.simd.powers import LN2


@part
def write_labels(
    joint: Any,
    at: int,
    stride: int,
    n_components: int,
    n_vectors: int,
    spare: Any,
    labels: Any,
    start: int,
    some: int,
) -> None:
    """Write the component of the highest density; of equal ones the first."""
    width = lanes_of(joint)
    for v in range(n_vectors):
        here = at + v * width
        best = load(joint, here)
        which = broadcast(joint.dtype.type(0))
        for k in range(1, n_components):
            density = load(joint, here + k * stride)
            # as floating-point numbers: a float32 counts to 2^24
            which = select(density > best, broadcast(joint.dtype.type(k)), which)
            best = maximum(density, best)
        store(spare, v * width, which)
    for t in range(some):
        labels[start + t] = int(spare[t])


@part
def write_log_sums(
    highest: Any, sums: Any, n_vectors: int, log_probability: Any, start: int, some: int
) -> None:
    """Write the natural log of sums 2^highest; ``highest`` is used up.

    No number is what rows have whose squares overflow in all components: their density is zero.
    """
    width = lanes_of(sums)
    zero_density = broadcast(sums.dtype.type(-np.inf))
    ln2 = broadcast(sums.dtype.type(LN2))
    for t in range(0, n_vectors * width, width):
        value = fma(load(highest, t), ln2, log(load(sums, t)))
        store(highest, t, select(value == value, value, zero_density))
    for t in range(some):
        log_probability[start + t] = highest[t]


@part
def write_responsibilities(
    joint: Any,
    at: int,
    stride: int,
    n_components: int,
    n_vectors: int,
    sums: Any,
    turned: Any,
    posterior: Any,
    start: int,
    some: int,
) -> None:
    """Write fractions over their sums to ``posterior``, flat, row by row.

    ``turned`` has room for a vector of rows: where there are no further numbers behind them. Else a
    vector of components may go over the end of its row, whose rest is written later.
    """
    width = lanes_of(joint)
    row = (n_components + width - 1) // width * width
    for v in range(n_vectors):
        first = v * width
        share = reciprocal(load(sums, first))
        for k in range(n_components):
            here = at + k * stride + first
            store(joint, here, load(joint, here) * share)
        to = (start + first) * n_components
        behind = to + width * n_components + width
        if first + width <= some and behind <= posterior.size:
            for k in range(row - width, -1, -width):
                here = at + k * stride + first
                transpose_block(joint, here, stride, posterior, to + k, n_components)
            continue
        for k in range(0, n_components, width):
            transpose_block(joint, at + k * stride + first, stride, turned, k, row)
        for t in range(first, min(first + width, some)):
            for k in range(n_components):
                posterior[(start + t) * n_components + k] = turned[(t - first) * row + k]
