"""Covariances along the axes where components are many and near each other: rows are kept.

What the product form of ``axes.py`` computes, in another order: a chunk's densities are made of its
columns, but its moments are products of responsibilities with whole vectors of the rows' columns
and of their squares (``sums.py``). To lay out rows like this pays where many components multiply
them, and where columns and squares fill their vectors.
"""

from typing import Any, NamedTuple

import numpy as np

from fastgmm._typing import FloatArray
from fastgmm.kernels.blocks import BLOCK_HEIGHT, CHUNK_VECTORS, WIDE, slot_of
from fastgmm.kernels.columns import chunk_rows, load_about, numbers_ahead, pitch_of
from fastgmm.kernels.densities.axes_blocks import scaled_distances
from fastgmm.kernels.densities.products import product_height
from fastgmm.kernels.densities.sums import add_tile, add_up, sums_of
from fastgmm.kernels.memory import aligned, flattened
from fastgmm.kernels.steps import Steps, implement, tile_of
from fastgmm.simd import lanes, lanes_of

TILE_ROWS = 128
"""Half as many, and twice as many, make passes over 16 columns 1.03 to 1.04 times as long."""

VECTORS_TOGETHER = 64
"""Vectors of rows that are summed before float32 becomes float64."""

FEWEST = 24
"""Components, and one and a half times as many as columns: with 32 components in 32 columns passes
are as fast as in ``axes.py`` (float64: 0.98 times), with 24 in 16 columns, too; with 32 in 16
columns 1.03 (float32: 1.09) times, with 512 in 39 columns 1.09 (1.13) times as fast."""


class NearAxesDensity(NamedTuple):
    """What a pass needs of a mixture with covariances along the axes, in the compute dtype."""

    log_scale: FloatArray
    """(k,) log weight + log density at the mean, to base two."""
    means: FloatArray
    """(k, d)."""
    scales: FloatArray
    """(k, d) one over the standard deviations and sqrt(2 ln 2)."""
    biases: FloatArray
    """(k, d) scales times (centre - mean)."""
    centre: FloatArray
    """(d,) what rows are taken about."""
    origins: FloatArray
    """(k, d) what the statistics are centred about: the centre."""


class NearAxesWork(NamedTuple):
    """The memory of a pass over a block of rows; arrays are flat."""

    scales: FloatArray
    """(k, d)."""
    biases: FloatArray
    """(k, d)."""
    columns: FloatArray
    """(d, rows) of one chunk, and room for whole vectors of columns."""
    sums: Any
    """``Sums`` of rows about the centre and their squares, d numbers behind them."""


def keeps(n_components: int, d: int, dtype: np.dtype[np.floating]) -> bool:
    """Whether passes over so many components and columns are faster here than in ``axes.py``.

    Where a tenth of the lanes behind columns and squares is empty they are not, nor with vectors of
    32 bytes (0.96 to 0.99 times).
    """
    width = lanes(dtype)
    padded = (2 * d + width - 1) // width * width
    many = n_components >= max(FEWEST, 1.5 * d)
    return WIDE and many and padded <= 2.2 * d


def near_axes_work(density: Any, tile_rows: Any) -> Any:
    """Return the memory of a pass."""
    n_components, d = density.means.shape
    like = density.means
    width, run = lanes_of(like), chunk_rows(like)
    padded = (d + width - 1) // width * width
    return NearAxesWork(
        flattened(density.scales),
        flattened(density.biases),
        aligned(padded * run, like),
        sums_of(n_components, tile_rows, 1, 1, density.centre, True, True),
    )


def near_axes_tiles(density: Any, n_rows: Any) -> Any:
    """Return the ``shape_of_tile``: few vectors of rows at a time."""
    chunk = chunk_rows(density.means)
    return tile_of(TILE_ROWS, n_rows), chunk, chunk


def near_axes_log_density(tile: Any, density: Any, scratch: Any) -> None:
    """Write log_scale - |scale x + bias|^2 for all components (see kernels/steps.py)."""
    rows, start, size, joint, stride = tile
    n_components, d = density.means.shape
    columns = scratch.columns
    share = d * lanes_of(rows) // BLOCK_HEIGHT
    for first in range(0, size, stride):
        some = min(stride, size - first)
        load_about(rows, d, start + first, some, stride, density.centre, columns, 0, stride)
        out = first // stride * pitch_of(n_components, stride, rows)
        following = (start + first + TILE_ROWS) * d + numbers_ahead(rows)
        block = 0
        while block < n_components:  # the last block begins so early that it is full, too
            k = min(block, n_components - BLOCK_HEIGHT)
            ahead = following + min(block, (CHUNK_VECTORS - 1) * BLOCK_HEIGHT) * share
            block += BLOCK_HEIGHT
            scaled_distances(
                columns, 0, stride, d, scratch.scales, scratch.biases, BLOCK_HEIGHT,
                CHUNK_VECTORS, False, density.log_scale, k, joint, out, stride, rows, ahead,
            )  # fmt: skip


def near_axes_accumulate(
    tile: Any, density: Any, scratch: Any, shares: Any, statistics: Any
) -> None:
    """Add sums of responsibilities, and of these times columns and squares, over a tile."""
    n_components, d = density.means.shape
    add_tile(tile, n_components, d, True, scratch.sums, shares, VECTORS_TOGETHER)


def near_axes_finish(density: Any, scratch: Any, statistics: Any) -> None:
    """Add the sums over a block of rows to the statistics."""
    n_components, d = density.means.shape
    sums = scratch.sums
    add_up(sums)
    height = product_height(n_components)
    for k in range(n_components):
        slot = slot_of(k, n_components, height)
        statistics.counts[k] += sums.dot_totals[slot]
        at = slot * sums.row
        for j in range(d):
            statistics.first[k, j] += sums.totals[at + j]
            statistics.second[k, j] += sums.totals[at + d + j]


implement(
    NearAxesDensity,
    Steps(
        near_axes_work,
        near_axes_tiles,
        near_axes_log_density,
        near_axes_accumulate,
        near_axes_finish,
    ),
)
