"""Log densities that are linear in features of a row: spherical mixtures, and tied ones.

About a common centre log2(weight_k N(x | k)) is a constant plus slopes times features: x and,
where components differ in width, |x|^2. Where all share one matrix the square |W x|^2 is the same
for each of them: it cancels in responsibilities and is left out; ``common_log_density`` adds it
where a density is asked for. The moments are sums of responsibilities times the same features, so
both steps are one matrix product each, of k d multiply-adds a row, whatever the matrix. What tied
components need of the second moments is a constant of the data (``covariance/tied.py``).

Moments are products with vectors of rows, or, of many columns, with the rows themselves
(``sums.py``). Of rows of weight one in few
columns only the last come here, and those far away (``narrow.py``).

With means s standard deviations from the centre a product loses eps s^2; components far apart
belong to ``axes.py`` and ``triangles.py`` (``covariance/nearness.py`` decides).
"""

from typing import Any, NamedTuple

from fastgmm._jit import maker, part
from fastgmm._typing import FloatArray
from fastgmm.kernels.blocks import BLOCK_HEIGHT, CHUNK_VECTORS, height_of, slot_of
from fastgmm.kernels.columns import (
    chunk_rows,
    load_about,
    numbers_ahead,
    pitch_of,
    write_squares,
)
from fastgmm.kernels.densities.products import LINEAR_HEIGHT, product_height, write_linear
from fastgmm.kernels.densities.sums import (
    VECTORS_TOGETHER,
    add_tile,
    add_up,
    copies_rows,
    pairs_of,
    sums_of,
)
from fastgmm.kernels.matrix_blocks import add_whitened_squares
from fastgmm.kernels.memory import aligned, cleared
from fastgmm.kernels.steps import MOST_ROWS, Steps, implement, tile_of
from fastgmm.simd import broadcast, lanes_of, load, store

TILE_BYTES = 2**15
"""Densities and features of a tile together: they share L1 with the rows. But a tile has two chunks
at least, so that sums in registers grow for a while (float32: 1.05 times as fast as with one)."""

TILE_ROWS = 128
"""Of a tile whose rows are added: passes over 64 and 128 columns are 1.01 to 1.02 times as fast as
with half as many, float64 ones 1.01 to 1.03 times as fast as with twice as many."""


class LinearDensity(NamedTuple):
    """What a pass needs of a mixture whose log densities are linear, in the compute dtype."""

    log_scale: FloatArray
    """(k,) log weight + log density at the mean, to base two."""
    means: FloatArray
    """(k, d)."""
    squares: FloatArray
    """(k,) |W (centre - mean)|^2."""
    slopes: FloatArray
    """(k, d) of x about the centre, or (k, d + 1) of x and |x|^2."""
    whitening: FloatArray
    """(p,) packed rows of W = L^-1 / sqrt(2 ln 2) of the one matrix; empty if there is none."""
    centre: FloatArray
    """(d,) what rows are taken about."""
    origins: FloatArray
    """(k, d) what the statistics are centred about: the centre."""


class LinearWork(NamedTuple):
    """The memory of a pass over a block of rows; arrays are flat, matrices chunk after chunk."""

    slopes: FloatArray
    """(features, height) of each block of components, one behind the other."""
    constants: FloatArray
    """(k,) what is added to slopes times features."""
    columns: FloatArray
    """(features, rows) of one chunk, and room for whole vectors of columns, if rows are added."""
    zeros: FloatArray
    """(d,) biases of a whitening about the centre."""
    squares: FloatArray
    """(rows,) of a chunk."""
    sums: Any
    """``Sums`` of features, x and |x|^2; or, where rows are added, of |x|^2 alone."""


@part
def adds_rows(n_components: int, d: int, like: Any) -> bool:
    """Whether moments are sums of rows, and not of vectors of rows of each feature.

    Where so few may count for a component that these alone are added; each row counts for one at
    least. And where all count, of rows that need not be copied (``sums.copies_rows``), of three to
    sixteen vectors: with 8 to 64 components in 48 to 128 columns passes are 1.01 to 1.13 times as
    fast. In 16 columns of float64 they would take as long, in 256 and more 1.01 to 1.02 times; with
    fewer than eight components 1.01 to 1.08 times. Copies of float64 take 1.05 to 1.5 times as long
    with 4 to 64 components in 16 columns, 1.07 times with 110 in 41. Lanes behind the last column
    work for nothing; a single vector a row makes one load of every multiply-add.
    """
    width = lanes_of(like)
    n_vectors = (d + width - 1) // width
    fits = n_vectors > 1 and 5 * n_vectors * width <= 6 * (1 + d)
    few_vectors = 3 <= n_vectors <= 16 and n_components >= 8
    as_they_are = few_vectors and not copies_rows(n_components, d, False, like)
    return fits and (as_they_are or n_components >= pairs_of(d, like))


def linear_work(density: Any, tile_rows: Any) -> Any:
    """Return the memory of a pass."""
    n_components, d = density.means.shape
    m = density.slopes.shape[1]
    like = density.means
    width, run = lanes_of(like), chunk_rows(like)
    padded = (d + width - 1) // width * width
    by_rows = adds_rows(n_components, d, like)
    n_dots = 1 + (m - d if by_rows else m)
    constants = aligned(n_components, like)
    for k in range(n_components):
        constants[k] = density.log_scale[k] - density.squares[k]
    # columns are written in whole vectors
    n_rows = n_dots if by_rows else 1 + max(padded, m)
    return LinearWork(
        packed_slopes(density.slopes),
        constants,
        aligned(max(padded, m) * run if by_rows else 0, like),
        cleared(d, like),
        aligned(run, like),
        sums_of(n_components, tile_rows, n_dots, n_rows, density.centre, by_rows, False),
    )


def linear_tiles(density: Any, n_rows: Any) -> Any:
    """Return the ``shape_of_tile``: few vectors of rows at a time, tiles that stay in L1."""
    n_components, d = density.means.shape
    like = density.means
    chunk = chunk_rows(like)
    if adds_rows(n_components, d, like):
        most = TILE_ROWS
    else:
        a_row = like.itemsize * (n_components + 1 + density.slopes.shape[1])
        most = min(max(TILE_BYTES // a_row // 64 * 64, 2 * chunk), MOST_ROWS)
    return tile_of(most, n_rows), chunk, chunk


@part
def linear_height(n_components: int, left: int) -> int:
    """Return how many of the components that are left the next block of densities has."""
    if n_components < LINEAR_HEIGHT:
        return height_of(n_components, BLOCK_HEIGHT)
    # of seven or eight two low blocks make less than two high ones
    low = left <= BLOCK_HEIGHT or left == 7 or left == 8
    return BLOCK_HEIGHT if low else LINEAR_HEIGHT


@maker
def packed_slopes(slopes: Any) -> Any:
    """Return the slopes of each block of components, those of a feature side by side.

    With one address for all of them passes are 1.01 to 1.02 times as fast as from rows of slopes.
    """
    n_components, m = slopes.shape
    packed = aligned((n_components + LINEAR_HEIGHT) * m, slopes)
    block = at = 0
    while block < n_components:
        height = linear_height(n_components, n_components - block)
        k = min(block, n_components - height)
        block += height
        for f in range(m):
            for r in range(height):
                packed[at] = slopes[k + r, f]
                at += 1
    return packed


def linear_log_density(tile: Any, density: Any, scratch: Any) -> None:
    """Write constants + slopes x features (see kernels/steps.py)."""
    rows, start, size, joint, stride = tile
    n_components, d = density.means.shape
    slopes, constants, sums = scratch.slopes, scratch.constants, scratch.sums
    m = density.slopes.shape[1]
    width = lanes_of(rows)
    by_rows = adds_rows(n_components, d, rows)
    for first in range(0, size, stride):
        chunk = first // stride
        # the first row is for the shares
        at = chunk * pitch_of(sums.n_dots, stride, rows) + stride
        columns, squares_at = sums.features, at + d * stride
        if by_rows:
            columns, squares_at, at = scratch.columns, at, 0
        some = min(stride, size - first)
        load_about(rows, d, start + first, some, stride, density.centre, columns, at, stride)
        if m > d:
            write_squares(columns, at, stride, d, sums.features, squares_at)
        out = chunk * pitch_of(n_components, stride, rows)
        following = start + first + (TILE_ROWS if by_rows else stride)
        ahead = following * d + numbers_ahead(rows)
        last = ahead + (CHUNK_VECTORS - 1) * d * width
        block = packed = 0
        while block < n_components:  # the last block begins so early that it is full, too
            height = linear_height(n_components, n_components - block)
            k = min(block, n_components - height)
            block += height
            write_linear(
                columns, at, stride, slopes, packed, m, k, height, constants, joint,
                out + k * stride, rows, ahead,
            )  # fmt: skip
            packed += height * m
            ahead = min(ahead + d * width, last)  # what has been fetched costs nothing


def add_common_squares(tile: Any, density: Any, scratch: Any, chunk: Any, highest: Any) -> None:
    """Add -|W x|^2 of a chunk's rows to ``highest``, where there is one W."""
    if density.whitening.size == 0:
        return
    rows, start, size, _, stride = tile
    n_components, d = density.means.shape
    squares, sums = scratch.squares, scratch.sums
    width = lanes_of(squares)
    columns, at = sums.features, (chunk * pitch_of(sums.n_dots, stride, squares) + stride)
    if adds_rows(n_components, d, squares):
        columns, at, first = scratch.columns, 0, chunk * stride
        some = min(stride, size - first)
        load_about(rows, d, start + first, some, stride, density.centre, columns, at, stride)
    for t in range(0, stride, width):
        store(squares, t, broadcast(squares.dtype.type(0)))
    row = 0
    for i in range(d):
        add_whitened_squares(
            density.whitening, row, columns, at, stride, i, 1, CHUNK_VECTORS,
            scratch.zeros, i, squares, 0,
        )  # fmt: skip
        row += i + 1
    for t in range(0, stride, width):
        store(highest, t, load(highest, t) - load(squares, t))


def linear_accumulate(tile: Any, density: Any, scratch: Any, shares: Any, statistics: Any) -> None:
    """Add the sums of responsibilities, and of these times the features, over a tile."""
    n_components, d = density.means.shape
    add_tile(tile, n_components, d, False, scratch.sums, shares, VECTORS_TOGETHER)


def linear_finish(density: Any, scratch: Any, statistics: Any) -> None:
    """Add the sums over a block of rows to the statistics.

    The second moments (k, 1) are those of |x|^2; without that feature they are left alone.
    """
    n_components, d = density.means.shape
    m = density.slopes.shape[1]
    sums = scratch.sums
    add_up(sums)
    totals, n_dots = sums.dot_totals, sums.n_dots
    height = product_height(n_components)
    by_rows = adds_rows(n_components, d, sums.dots)
    for k in range(n_components):
        at = slot_of(k, n_components, height) * n_dots
        statistics.counts[k] += totals[at]
        if m > d:
            statistics.second[k, 0] += totals[at + n_dots - 1]
        if not by_rows:
            for j in range(d):
                statistics.first[k, j] += totals[at + 1 + j]
    if by_rows:
        for k in range(n_components):
            at = slot_of(k, n_components, height) * sums.row
            for j in range(d):
                statistics.first[k, j] += sums.totals[at + j]


implement(
    LinearDensity,
    Steps(
        linear_work,
        linear_tiles,
        linear_log_density,
        linear_accumulate,
        linear_finish,
        add_common_squares,
    ),
)
