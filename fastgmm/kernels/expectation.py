"""One fused pass over a block: log densities, responsibilities and moments, tile by tile.

A tile is a few hundred rows whose every number stays in cache; the only n-sized arrays are those
that a caller asks for. The arithmetic of a covariance family enters by six functions, ``work``,
``shape_of_tile``, ``log_density``, ``common_log_density``, ``accumulate`` and ``finish``, which
each family's module implements for its own ``Density`` record; the compiler picks them by the
record's type.

The joint densities of a tile lie in *chunks* of rows, a flat (k, stride) matrix each, one behind
the other. A chunk is a whole tile or a few vectors of rows, as the family prefers: few rows keep a
chunk's numbers side by side, in L1 and on one page of memory, from the log density to the
exponential.
"""

from typing import Any

import numpy as np

from fastgmm._jit import kernel, maker, part
from fastgmm.kernels import columns
from fastgmm.kernels.columns import pitch_of
from fastgmm.kernels.softmax import (
    blank,
    exponentiate,
    log_likelihood_of,
    weighted_log_likelihood_of,
)
from fastgmm.kernels.writing import write_labels, write_log_sums, write_responsibilities
from fastgmm.simd import lanes_of

ALIGNMENT = 64
"""Bytes of a cache line: vectors that cross one cost two loads."""


def work(density: Any, tile_rows: int) -> Any:
    """Return the family's own memory for a block of rows in tiles of ``tile_rows`` rows."""
    raise NotImplementedError("implemented by the families' modules, for kernels only")


def shape_of_tile(density: Any, n_rows: int) -> tuple[int, int, int]:
    """Return how many rows a tile of a block of rows has, how many a chunk, and the stride.

    A chunk is a whole tile, or some vectors that divide it; then they are its stride as well.
    """
    raise NotImplementedError("implemented by the families' modules, for kernels only")


def log_density(
    rows: Any, start: int, size: int, density: Any, scratch: Any, joint: Any, stride: int
) -> None:
    """Write log(weight_k N(x_t | k)) of a tile's rows, ``size`` from ``start`` on, to ``joint``.

    ``rows`` is flat, d numbers a row; row t of a chunk goes to k stride + t behind its beginning.
    Whole vectors are written, whole chunks where these are smaller than tiles: what lies behind the
    last row is finite but means nothing.
    """
    raise NotImplementedError("implemented by the families' modules, for kernels only")


def common_log_density(density: Any, scratch: Any, chunk: int, stride: int, highest: Any) -> None:
    """Add to ``highest`` what ``log_density`` left out: the same number for all components.

    Called after ``log_density`` for the rows of each chunk of the tile, where a density is asked
    for; neither responsibilities nor moments need it. A fit adds it to the log likelihood from
    constants of the data (``complete`` of the family).
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
    shares: Any,
    statistics: Any,
) -> None:
    """Add a tile's counts and moments about ``density.origins``.

    A row's responsibilities are its numbers in ``joint`` times its share; both are zero behind the
    last row, up to a whole vector, or a whole chunk where chunks are smaller than tiles. Called
    after ``log_density`` of the same rows, which may have left things in ``scratch``. Sums may
    stay there until ``finish``.
    """
    raise NotImplementedError("implemented by the families' modules, for kernels only")


def finish(density: Any, scratch: Any, statistics: Any) -> None:
    """Add to ``statistics`` what ``accumulate`` has left in ``scratch``, once a block of rows."""
    raise NotImplementedError("implemented by the families' modules, for kernels only")


def whole_tiles(density: Any, n_rows: Any) -> Any:
    """Return the ``shape_of_tile`` of families that take a tile at once, as large as L2 allows."""
    n_components, n_features = density.means.shape
    rows = tile_of(512 if n_components + n_features <= 256 else 256, n_rows)
    return rows, rows, stride_of(rows, density.means)


def small_chunks(density: Any, n_rows: Any) -> Any:
    """Return the ``shape_of_tile`` of families that take few vectors of rows at a time."""
    n_components, n_features = density.means.shape
    # 128 rows of 8 columns and 16 densities in float64, 256 in float32, stay in L1 from one step to
    # the next; with very few, longer sums are worth more
    most = 512 if n_components * (1 + n_features) <= 12 else 1024 // density.means.itemsize
    chunk = columns.chunk_rows(density.means)
    return tile_of(most, n_rows), chunk, chunk


def nothing_common(density: Any, scratch: Any, chunk: Any, stride: Any, highest: Any) -> None:
    """Add nothing: the ``common_log_density`` of families that leave nothing out."""


@part
def tile_of(most: int, n_rows: int) -> int:
    """Return how many rows a tile has: no more than there are, in steps of 64."""
    return min(most, max(n_rows + 63, 64) // 64 * 64)


@maker
def aligned(size: int, like: Any) -> Any:
    """Return a flat array of ``size`` numbers that begins with a cache line."""
    spare = ALIGNMENT // like.itemsize
    memory = np.empty(size + spare, like.dtype)
    first = (-(memory.ctypes.data // like.itemsize)) % spare
    return memory[first : first + size]


@part
def stride_of(tile_rows: int, like: Any) -> int:
    """Return the numbers from one row of a tile-wide matrix to the next: no multiple of 4096 bytes.

    Five vectors more, or the columns of a matrix would fall into the same lines of the cache.
    """
    return tile_rows + 5 * lanes_of(like)


@maker
def joint_of(n_components: int, tile_rows: int, like: Any) -> Any:
    """Return memory for the joint densities of a tile, whatever its chunks.

    Zeros follow up to a whole vector of components.
    """
    stride = stride_of(tile_rows, like)
    width = lanes_of(like)
    whole = (n_components + width - 1) // width * width
    joint = aligned(whole * stride + tile_rows, like)
    joint[n_components * stride :] = 0
    return joint


@part
def vectors_of_chunk(size: int, chunk_rows: int, stride: int, like: Any) -> int:
    """Return how many vectors hold a chunk's rows: all, if chunks are smaller than tiles."""
    width = lanes_of(like)
    return chunk_rows // width if stride == chunk_rows else (size + width - 1) // width


# A kernel counts references: what is taken out of a record in its loops costs more than arithmetic.
# Parts do not, so kernels only pass records on.


@kernel
def expectation(rows: Any, weights: Any, density: Any, statistics: Any) -> None:
    """Add the statistics of a block of rows (n, d) to ``statistics``.

    ``weights`` is (n,), or empty for unit weights.
    """
    n_components = density.means.shape[0]
    flat = rows.reshape(rows.size)
    tile_rows, chunk_rows, stride = shape_of_tile(density, rows.shape[0])
    scratch = work(density, tile_rows)
    joint = joint_of(n_components, tile_rows, flat)
    highest = aligned(tile_rows, flat)
    sums = aligned(tile_rows, flat)
    width = lanes_of(flat)
    log_likelihood = 0.0
    for start in range(0, rows.shape[0], tile_rows):
        size = min(tile_rows, rows.shape[0] - start)
        log_density(flat, start, size, density, scratch, joint, stride)
        end = 0
        for first in range(0, size, chunk_rows):
            some = min(chunk_rows, size - first)
            n_vectors = vectors_of_chunk(some, chunk_rows, stride, flat)
            end = first + n_vectors * width
            at = first // chunk_rows * pitch_of(n_components, stride, flat)
            exponentiate(joint, at, stride, n_components, n_vectors, highest, sums, first)
            blank(joint, at, stride, n_components, some, n_vectors * width, highest, sums, first)
            if weights.size > 0:
                log_likelihood += weighted_log_likelihood_of(
                    weights, start, first, some, end, joint, at, stride, n_components, highest, sums
                )
        if weights.size == 0:
            log_likelihood += log_likelihood_of(size, end, highest, sums)
        # the sums are shares now
        accumulate(flat, start, size, density, scratch, joint, stride, sums, statistics)
    finish(density, scratch, statistics)
    statistics.log_likelihood[0] += log_likelihood


@kernel
def accumulate_given(
    rows: Any, weights: Any, responsibilities: Any, density: Any, statistics: Any
) -> None:
    """Add a block's moments for ``responsibilities`` (n, k) that somebody else decided.

    The density says about which origins; the log likelihood is left alone.
    """
    n_components = density.origins.shape[0]
    flat = rows.reshape(rows.size)
    tile_rows, chunk_rows, stride = shape_of_tile(density, rows.shape[0])
    scratch = work(density, tile_rows)
    joint = joint_of(n_components, tile_rows, flat)
    shares = aligned(tile_rows, flat)
    for start in range(0, rows.shape[0], tile_rows):
        size = min(tile_rows, rows.shape[0] - start)
        # for the columns that it leaves behind
        log_density(flat, start, size, density, scratch, joint, stride)
        joint[:] = 0
        shares[:] = 0
        for t in range(size):
            shares[t] = 1.0 if weights.size == 0 else weights[start + t]
            at = t // chunk_rows * pitch_of(n_components, stride, flat) + t % chunk_rows
            for k in range(n_components):
                joint[at + k * stride] = responsibilities[start + t, k]
        accumulate(flat, start, size, density, scratch, joint, stride, shares, statistics)
    finish(density, scratch, statistics)


@kernel
def score(rows: Any, density: Any, log_probability: Any, labels: Any, posterior: Any) -> None:
    """Write, for a block of rows, whichever of the three outputs is not empty.

    ``log_probability`` (n,): natural log density. ``labels`` (n,): component of the highest
    responsibility. ``posterior`` (n, k): responsibilities.
    """
    n_components = density.means.shape[0]
    flat = rows.reshape(rows.size)
    tile_rows, chunk_rows, stride = shape_of_tile(density, rows.shape[0])
    scratch = work(density, tile_rows)
    joint = joint_of(n_components, tile_rows, flat)
    highest = aligned(tile_rows, flat)
    sums = aligned(tile_rows, flat)
    turned = aligned(lanes_of(flat) * (n_components + lanes_of(flat)), flat)
    for tile in range(0, rows.shape[0], tile_rows):
        size = min(tile_rows, rows.shape[0] - tile)
        log_density(flat, tile, size, density, scratch, joint, stride)
        for start in range(tile, tile + size, chunk_rows):
            some = min(chunk_rows, tile + size - start)
            at = (start - tile) // chunk_rows * pitch_of(n_components, stride, flat)
            n_vectors = vectors_of_chunk(some, chunk_rows, stride, flat)
            if labels.size > 0:
                write_labels(joint, at, stride, n_components, n_vectors, sums, labels, start, some)
            if log_probability.size > 0 or posterior.size > 0:
                exponentiate(joint, at, stride, n_components, n_vectors, highest, sums, 0)
            if log_probability.size > 0:
                chunk = (start - tile) // chunk_rows
                common_log_density(density, scratch, chunk, stride, highest)
                write_log_sums(highest, sums, n_vectors, log_probability, start, some)
            if posterior.size > 0:
                write_responsibilities(
                    joint, at, stride, n_components, n_vectors, sums, turned, posterior, start, some
                )
