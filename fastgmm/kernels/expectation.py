"""One fused pass over a block: log densities, responsibilities and moments, tile by tile.

A tile of ``TILE`` rows is transposed to (d, t) once and everything about it happens in cache; the
only n-sized arrays are those a caller asks for. The arithmetic of a covariance family enters by
two functions, ``log_density`` and ``accumulate``, which each family's module implements for its
own ``Density`` record; the compiler picks them by the record's type.
"""

import math
from typing import Any

import numpy as np

from fastgmm._jit import kernel, part
from fastgmm.kernels.exponential import exp_nonpositive

# 128 rows: (d + 2 k) x 128 doubles stay within 1 MB (the L2 of a core) up to d = 128, k = 400.
TILE = 128


def log_density(tile: Any, size: int, density: Any, scratch: Any, out: Any) -> None:
    """Write ``out[k, t] = log(weight_k N(x_t | k))`` for the first ``size`` rows of the tile."""
    raise NotImplementedError("implemented by the families' modules, for kernels only")


def accumulate(
    tile: Any, size: int, responsibilities: Any, density: Any, scratch: Any, statistics: Any
) -> None:
    """Add the tile's moments about ``density.origins``, by ``responsibilities`` (k, t)."""
    raise NotImplementedError("implemented by the families' modules, for kernels only")


@part
def load_tile(rows: Any, start: int, size: int, tile: Any) -> None:
    """Transpose ``size`` rows from ``start`` into ``tile`` (d, TILE)."""
    mine = rows[start : start + size]
    if rows.shape[1] <= 8:  # a column's stride stays within a cache line: 4 times faster at d = 1
        for i in range(rows.shape[1]):
            for t in range(size):
                tile[i, t] = mine[t, i]
    else:
        for t in range(size):
            for i in range(rows.shape[1]):
                tile[i, t] = mine[t, i]


@part
def normalise(log_joint: Any, size: int, highest: Any, total: Any, inverse: Any) -> None:
    """Turn ``log_joint`` (k, t) into responsibilities in place; logsumexp by the row maximum.

    log p(x_t) is ``highest[t] + log(total[t])``. A row that is infinitely far from every component
    (all entries -inf) has a log density of -inf, which the caller finds in the log likelihood.
    """
    n_components = log_joint.shape[0]
    row = log_joint[0]
    for t in range(size):
        highest[t] = row[t]
        total[t] = 0
    for k in range(1, n_components):
        row = log_joint[k]
        for t in range(size):
            highest[t] = max(highest[t], row[t])
    for k in range(n_components):
        row = log_joint[k]
        for t in range(size):
            row[t] = exp_nonpositive(row[t] - highest[t])
            total[t] += row[t]
    for t in range(size):
        inverse[t] = 1 / total[t]
    for k in range(n_components):
        row = log_joint[k]
        for t in range(size):
            row[t] *= inverse[t]


@part
def add_counts(joint: Any, size: int, counts: Any) -> None:
    """Add the tile's responsibilities (k, t) to the components' counts."""
    for k in range(joint.shape[0]):
        row = joint[k]
        total = joint.dtype.type(0)
        for t in range(size):
            total += row[t]
        counts[k] += total


@part
def add_log_likelihood(
    highest: Any, total: Any, weights: Any, start: int, size: int, joint: Any, log_likelihood: Any
) -> None:
    """Add the tile to the log likelihood and scale its responsibilities by the row weights."""
    result = 0.0
    if weights.size == 0:
        for t in range(size):
            result += highest[t]
        # a logarithm (5 ns) for 16 rows at once: totals lie between 1 and k, so that products of
        # 16 stay below 1e64 for k up to 10,000
        for group in range(0, size, 16):
            product = 1.0
            for t in range(group, min(group + 16, size)):
                product *= total[t]
            result += math.log(product)
    else:
        mine = weights[start : start + size]
        for t in range(size):
            result += mine[t] * (highest[t] + math.log(total[t]))
        for k in range(joint.shape[0]):
            row = joint[k]
            for t in range(size):
                row[t] *= mine[t]
    log_likelihood[0] += result


@kernel
def expectation(rows: Any, weights: Any, density: Any, statistics: Any) -> None:
    """Add the statistics of a block of rows (n, d) to ``statistics``.

    ``weights`` is (n,), or empty for unit weights.
    """
    n_components, n_features = density.means.shape
    tile = np.empty((n_features, TILE), rows.dtype)
    scratch = np.empty((n_features + 1, TILE), rows.dtype)
    joint = np.empty((n_components, TILE), rows.dtype)
    highest = np.empty(TILE, rows.dtype)
    total = np.empty(TILE, rows.dtype)
    inverse = np.empty(TILE, rows.dtype)
    for start in range(0, rows.shape[0], TILE):
        size = min(TILE, rows.shape[0] - start)
        load_tile(rows, start, size, tile)
        log_density(tile, size, density, scratch, joint)
        normalise(joint, size, highest, total, inverse)
        add_log_likelihood(
            highest, total, weights, start, size, joint, statistics.log_likelihood
        )
        add_counts(joint, size, statistics.counts)
        accumulate(tile, size, joint, density, scratch, statistics)


@kernel
def accumulate_given(
    rows: Any, weights: Any, responsibilities: Any, density: Any, statistics: Any
) -> None:
    """Add a block's moments for ``responsibilities`` (n, k) that somebody else decided.

    Only ``density.origins`` is read; the log likelihood is left alone.
    """
    n_components, n_features = density.origins.shape
    tile = np.empty((n_features, TILE), rows.dtype)
    scratch = np.empty((n_features + 1, TILE), rows.dtype)
    joint = np.empty((n_components, TILE), rows.dtype)
    for start in range(0, rows.shape[0], TILE):
        size = min(TILE, rows.shape[0] - start)
        load_tile(rows, start, size, tile)
        for t in range(size):
            weight = 1.0 if weights.size == 0 else weights[start + t]
            for k in range(n_components):
                joint[k, t] = responsibilities[start + t, k] * weight
        add_counts(joint, size, statistics.counts)
        accumulate(tile, size, joint, density, scratch, statistics)


@kernel
def score(rows: Any, density: Any, log_probability: Any, labels: Any, posterior: Any) -> None:
    """Write, for a block of rows, whichever of the three outputs is not empty.

    ``log_probability`` (n,): natural log density. ``labels`` (n,): component of the highest
    responsibility. ``posterior`` (n, k): responsibilities.
    """
    n_components, n_features = density.means.shape
    tile = np.empty((n_features, TILE), rows.dtype)
    scratch = np.empty((n_features + 1, TILE), rows.dtype)
    joint = np.empty((n_components, TILE), rows.dtype)
    highest = np.empty(TILE, rows.dtype)
    total = np.empty(TILE, rows.dtype)
    inverse = np.empty(TILE, rows.dtype)
    for start in range(0, rows.shape[0], TILE):
        size = min(TILE, rows.shape[0] - start)
        load_tile(rows, start, size, tile)
        log_density(tile, size, density, scratch, joint)
        if labels.size > 0:
            for t in range(size):
                best = 0
                for k in range(1, n_components):
                    if joint[k, t] > joint[best, t]:
                        best = k
                labels[start + t] = best
        if log_probability.size > 0 or posterior.size > 0:
            normalise(joint, size, highest, total, inverse)
        if log_probability.size > 0:
            for t in range(size):
                log_probability[start + t] = highest[t] + math.log(total[t])
        if posterior.size > 0:
            for t in range(size):
                for k in range(n_components):
                    posterior[start + t, k] = joint[k, t]
