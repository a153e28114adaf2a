"""One fused pass over a block: log densities, responsibilities and moments, tile by tile.

A tile is a few hundred rows whose every number stays in cache; the only n-sized arrays are those
that a caller asks for. The arithmetic of a covariance family enters by six steps (``steps.py``).

The joint densities of a tile lie in *chunks* of rows, a flat (k, stride) matrix each, one behind
the other. A chunk is a whole tile or a few vectors of rows, as the family prefers: few rows keep a
chunk's numbers side by side, in L1 and on one page of memory, from the log density to the
exponential.
"""

from typing import Any

from fastgmm._jit import kernel, maker, part
from fastgmm.kernels.columns import pitch_of
from fastgmm.kernels.memory import aligned, fill, flattened, section, stride_of
from fastgmm.kernels.softmax import (
    blank,
    exponentiate,
    log_likelihood_of,
    weighted_log_likelihood_of,
)
from fastgmm.kernels.states import blocks_of, merge_states, state_of
from fastgmm.kernels.steps import (
    Tile,
    accumulate,
    common_log_density,
    finish,
    log_density,
    shape_of_tile,
    work,
)
from fastgmm.kernels.writing import write_labels, write_log_sums, write_responsibilities
from fastgmm.simd import lanes_of


@maker
def joint_of(n_components: int, tile_rows: int, like: Any) -> Any:
    """Return memory for the joint densities of a tile, whatever its chunks.

    Zeros follow up to a whole vector of components.
    """
    stride = stride_of(tile_rows, like)
    width = lanes_of(like)
    whole = (n_components + width - 1) // width * width
    joint = aligned(whole * stride + tile_rows, like)
    fill(joint, n_components * stride, joint.size, 0)
    return joint


@part
def vectors_of_chunk(size: int, chunk_rows: int, stride: int, like: Any) -> int:
    """Return how many vectors hold a chunk's rows: all, if chunks are smaller than tiles."""
    width = lanes_of(like)
    return chunk_rows // width if stride == chunk_rows else (size + width - 1) // width


# A kernel counts references: what is taken out of a record in its loops costs more than arithmetic.
# Parts do not, so kernels only pass records on.


@kernel
def expectation(rows: Any, weights: Any, density: Any, statistics: Any, block_rows: int) -> None:
    """Add blocks of rows (n, d), one behind the other, to their statistics, and merge these.

    ``weights`` is (n,), or empty for unit weights. There are 2^j blocks of ``block_rows`` rows, of
    which the last may have fewer, and statistics of each (``states.py``); those of the first come
    to be the sum of all.
    """
    n_rows = rows.shape[0]
    n_blocks = blocks_of(n_rows, block_rows)
    for block in range(n_blocks):
        first = block * block_rows
        size = min(block_rows, n_rows - first)
        own_weights = section(weights, first, size) if weights.size > 0 else weights
        own_state = state_of(statistics, block, n_blocks)
        add_block(section(rows, first, size), own_weights, density, own_state)
    merge_states(statistics, n_blocks)


@maker
def add_block(rows: Any, weights: Any, density: Any, statistics: Any) -> None:
    """Add the statistics of a block of rows."""
    n_components = density.means.shape[0]
    flat = flattened(rows)
    tile_rows, chunk_rows, stride = shape_of_tile(density, rows.shape[0])
    scratch = work(density, tile_rows)
    joint = joint_of(n_components, tile_rows, flat)
    highest = aligned(tile_rows, flat)
    sums = aligned(tile_rows, flat)
    width = lanes_of(flat)
    log_likelihood = 0.0
    for start in range(0, rows.shape[0], tile_rows):
        size = min(tile_rows, rows.shape[0] - start)
        tile = Tile(flat, start, size, joint, stride)
        log_density(tile, density, scratch)
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
        accumulate(tile, density, scratch, sums, statistics)
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
    flat = flattened(rows)
    tile_rows, chunk_rows, stride = shape_of_tile(density, rows.shape[0])
    scratch = work(density, tile_rows)
    joint = joint_of(n_components, tile_rows, flat)
    shares = aligned(tile_rows, flat)
    for start in range(0, rows.shape[0], tile_rows):
        size = min(tile_rows, rows.shape[0] - start)
        # for the columns that it leaves behind
        tile = Tile(flat, start, size, joint, stride)
        log_density(tile, density, scratch)
        fill(joint, 0, joint.size, 0)
        fill(shares, 0, shares.size, 0)
        for t in range(size):
            shares[t] = 1.0 if weights.size == 0 else weights[start + t]
            at = t // chunk_rows * pitch_of(n_components, stride, flat) + t % chunk_rows
            for k in range(n_components):
                joint[at + k * stride] = responsibilities[start + t, k]
        accumulate(tile, density, scratch, shares, statistics)
    finish(density, scratch, statistics)


@kernel
def score(rows: Any, density: Any, log_probability: Any, labels: Any, posterior: Any) -> None:
    """Write, for a block of rows, whichever of the three outputs is not empty.

    ``log_probability`` (n,): natural log density. ``labels`` (n,): component of the highest
    responsibility. ``posterior`` (n, k): responsibilities.
    """
    n_components = density.means.shape[0]
    flat = flattened(rows)
    tile_rows, chunk_rows, stride = shape_of_tile(density, rows.shape[0])
    scratch = work(density, tile_rows)
    joint = joint_of(n_components, tile_rows, flat)
    highest = aligned(tile_rows, flat)
    sums = aligned(tile_rows, flat)
    turned = aligned(lanes_of(flat) * (n_components + lanes_of(flat)), flat)
    shares = flattened(posterior)
    for first in range(0, rows.shape[0], tile_rows):
        size = min(tile_rows, rows.shape[0] - first)
        tile = Tile(flat, first, size, joint, stride)
        log_density(tile, density, scratch)
        for start in range(first, first + size, chunk_rows):
            some = min(chunk_rows, first + size - start)
            at = (start - first) // chunk_rows * pitch_of(n_components, stride, flat)
            n_vectors = vectors_of_chunk(some, chunk_rows, stride, flat)
            if labels.size > 0:
                write_labels(joint, at, stride, n_components, n_vectors, sums, labels, start, some)
            if log_probability.size > 0 or posterior.size > 0:
                exponentiate(joint, at, stride, n_components, n_vectors, highest, sums, 0)
            if log_probability.size > 0:
                chunk = (start - first) // chunk_rows
                common_log_density(tile, density, scratch, chunk, highest)
                write_log_sums(highest, sums, n_vectors, log_probability, start, some)
            if posterior.size > 0:
                write_responsibilities(
                    joint, at, stride, n_components, n_vectors, sums, turned, shares, start, some
                )
