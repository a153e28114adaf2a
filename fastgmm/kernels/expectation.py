"""One fused pass over a block: log densities, responsibilities and moments, tile by tile.

A tile is a few hundred rows whose every number stays in cache; the only n-sized arrays are those
that a caller asks for. The arithmetic of a covariance family enters by four functions, ``work``,
``log_density``, ``accumulate`` and ``finish``, which each family's module implements for its own
``Density`` record; the compiler picks them by the record's type.
"""

from typing import Any

import numpy as np

from fastgmm._jit import kernel, part
from fastgmm.kernels.softmax import blank, log_likelihood_of, normalise, weigh
from fastgmm.simd import lanes_of

ALIGNMENT = 64
"""Bytes of a cache line: vectors that cross one cost two loads."""


def work(density: Any, tile_rows: int) -> Any:
    """Return the family's own memory for a block of rows in tiles of ``tile_rows`` rows."""
    raise NotImplementedError("implemented by the families' modules, for kernels only")


def log_density(
    rows: Any, start: int, size: int, density: Any, scratch: Any, joint: Any, stride: int
) -> None:
    """Write ``joint[k, t] = log(weight_k N(x_t | k))`` of ``size`` rows from ``start`` on.

    ``rows`` is flat, d numbers a row. Whole vectors are written: what lies behind the last row is
    finite but means nothing.
    """
    raise NotImplementedError("implemented by the families' modules, for kernels only")


def accumulate(
    rows: Any,
    start: int,
    size: int,
    density: Any,
    scratch: Any,
    joint: Any,
    stride: int,
    statistics: Any,
) -> None:
    """Add counts and moments about ``density.origins``, weighted by ``joint`` (k, t).

    ``joint`` is zero behind the last row, up to a whole vector. Called after ``log_density`` of
    the same rows, which may have left things in ``scratch``. Sums may stay there until ``finish``.
    """
    raise NotImplementedError("implemented by the families' modules, for kernels only")


def finish(density: Any, scratch: Any, statistics: Any) -> None:
    """Add to ``statistics`` what ``accumulate`` has left in ``scratch``, once a block of rows."""
    raise NotImplementedError("implemented by the families' modules, for kernels only")


def nothing_left(density: Any, scratch: Any, statistics: Any) -> None:
    """Do nothing: the ``finish`` of families whose ``accumulate`` leaves no sums."""


@part
def aligned(size: int, like: Any) -> Any:
    """Return a flat array of ``size`` numbers that begins with a cache line."""
    spare = ALIGNMENT // like.itemsize
    memory = np.empty(size + spare, like.dtype)
    first = (-(memory.ctypes.data // like.itemsize)) % spare
    return memory[first : first + size]


@part
def rows_of_tile(n_components: int, n_features: int, size: int) -> int:
    """Return how many rows a tile has: all of it in L1 for small models, in L2 for large ones."""
    numbers = n_components + n_features
    rows = 512 if numbers <= 256 else 256
    return min(rows, (size + 63) // 64 * 64)


@part
def stride_of(tile_rows: int, like: Any) -> int:
    """Return the numbers from one row of a tile-wide matrix to the next: no multiple of 4096 bytes.

    Five vectors more, or the columns of a matrix would fall into the same lines of the cache.
    """
    return tile_rows + 5 * lanes_of(like)


@kernel
def expectation(rows: Any, weights: Any, density: Any, statistics: Any) -> None:
    """Add the statistics of a block of rows (n, d) to ``statistics``.

    ``weights`` is (n,), or empty for unit weights.
    """
    n_components, n_features = density.means.shape
    flat = rows.reshape(rows.size)
    tile_rows = rows_of_tile(n_components, n_features, rows.shape[0])
    stride = stride_of(tile_rows, flat)
    width = lanes_of(flat)
    scratch = work(density, tile_rows)
    joint = aligned(n_components * stride, flat)
    highest = aligned(tile_rows, flat)
    sums = aligned(tile_rows, flat)
    for start in range(0, rows.shape[0], tile_rows):
        size = min(tile_rows, rows.shape[0] - start)
        n_vectors = (size + width - 1) // width
        log_density(flat, start, size, density, scratch, joint, stride)
        normalise(joint, stride, n_components, n_vectors, highest, sums)
        blank(joint, stride, n_components, size, n_vectors * width, highest, sums)
        if weights.size == 0:
            statistics.log_likelihood[0] += log_likelihood_of(n_vectors, highest, sums)
        else:
            statistics.log_likelihood[0] += weigh(
                weights, start, size, joint, stride, n_components, highest, sums
            )
        accumulate(flat, start, size, density, scratch, joint, stride, statistics)
    finish(density, scratch, statistics)


@kernel
def accumulate_given(
    rows: Any, weights: Any, responsibilities: Any, density: Any, statistics: Any
) -> None:
    """Add a block's moments for ``responsibilities`` (n, k) that somebody else decided.

    The density says about which origins; the log likelihood is left alone.
    """
    n_components, n_features = density.origins.shape
    flat = rows.reshape(rows.size)
    tile_rows = rows_of_tile(n_components, n_features, rows.shape[0])
    stride = stride_of(tile_rows, flat)
    scratch = work(density, tile_rows)
    joint = aligned(n_components * stride, flat)
    for start in range(0, rows.shape[0], tile_rows):
        size = min(tile_rows, rows.shape[0] - start)
        log_density(flat, start, size, density, scratch, joint, stride)
        joint[:] = 0
        for t in range(size):
            weight = 1.0 if weights.size == 0 else weights[start + t]
            for k in range(n_components):
                joint[k * stride + t] = responsibilities[start + t, k] * weight
        accumulate(flat, start, size, density, scratch, joint, stride, statistics)
    finish(density, scratch, statistics)


@kernel
def score(rows: Any, density: Any, log_probability: Any, labels: Any, posterior: Any) -> None:
    """Write, for a block of rows, whichever of the three outputs is not empty.

    ``log_probability`` (n,): natural log density. ``labels`` (n,): component of the highest
    responsibility. ``posterior`` (n, k): responsibilities.
    """
    n_components, n_features = density.means.shape
    flat = rows.reshape(rows.size)
    tile_rows = rows_of_tile(n_components, n_features, rows.shape[0])
    stride = stride_of(tile_rows, flat)
    width = lanes_of(flat)
    scratch = work(density, tile_rows)
    joint = aligned(n_components * stride, flat)
    highest = aligned(tile_rows, flat)
    sums = aligned(tile_rows, flat)
    for start in range(0, rows.shape[0], tile_rows):
        size = min(tile_rows, rows.shape[0] - start)
        log_density(flat, start, size, density, scratch, joint, stride)
        if labels.size > 0:
            for t in range(size):
                best = 0
                for k in range(1, n_components):
                    if joint[k * stride + t] > joint[best * stride + t]:
                        best = k
                labels[start + t] = best
        if log_probability.size > 0 or posterior.size > 0:
            normalise(joint, stride, n_components, (size + width - 1) // width, highest, sums)
        if log_probability.size > 0:
            for t in range(size):
                log_probability[start + t] = highest[t] + np.log(sums[t])
        if posterior.size > 0:
            for t in range(size):
                for k in range(n_components):
                    posterior[start + t, k] = joint[k * stride + t]
