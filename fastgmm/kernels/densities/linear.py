"""Log densities that are linear in features of a row: spherical mixtures, and tied ones.

About a common centre log2(weight_k N(x | k)) is a constant plus slopes times features: x and,
where components differ in width, |x|^2. Where all share one matrix the square |W x|^2 is the same
for each of them: it cancels in responsibilities and is left out; ``common_log_density`` adds it
where a density is asked for. The moments are sums of responsibilities times the same features, so
both steps are one matrix product each, of k d multiply-adds a row, whatever the matrix. What tied
components need of the second moments is a constant of the data (``covariance/tied.py``).

Sums grow in the compute dtype over some tiles before they are added up in float64. Those over few
columns are kept lane by lane (*dots*: vectors of rows of responsibilities times vectors of rows of
features). With many columns a tile's rows are kept as they are and each responsibility multiplies
whole vectors of columns: no lanes to add, and operands that stay in L1; where few rows count for a
component these alone are added (``chosen.py``). Of rows of weight one in up
to three columns only the last few come here, and those far away (``narrow.py``).

With means s standard deviations from the centre a product loses eps s^2; components far apart
belong to ``axes.py`` and ``triangles.py`` (``covariance/nearness.py`` decides).
"""

from typing import Any, NamedTuple

import numpy as np

from fastgmm._jit import part
from fastgmm._typing import Float64Array, FloatArray, IntArray
from fastgmm.kernels.blocks import BLOCK_HEIGHT, CHUNK_VECTORS, height_of, slot_of
from fastgmm.kernels.columns import chunk_rows, load_about, numbers_ahead, padded_row, pitch_of
from fastgmm.kernels.densities.chosen import least_share
from fastgmm.kernels.densities.kept import (
    add_chosen_rows,
    keep_chunk,
    note_given,
    scale_rows,
    sum_of_squares,
    takes_chosen,
    turn_vector,
)
from fastgmm.kernels.densities.products import (
    LINEAR_HEIGHT,
    add_dots,
    add_lanes,
    add_outer,
    product_height,
    write_linear,
)
from fastgmm.kernels.matrix_blocks import add_whitened_squares
from fastgmm.kernels.memory import aligned, cleared, flattened
from fastgmm.kernels.softmax import share_out
from fastgmm.kernels.steps import MOST_ROWS, Steps, implement, tile_of
from fastgmm.simd import (
    broadcast,
    fma,
    lanes_of,
    load,
    store,
)

TILE_BYTES = 2**15
"""Densities and features of a tile together: they share L1 with the rows."""

LOOK_EVERY = 4
"""Tiles of kept rows go the same way, so that looking takes a hundredth of a pass."""

KEPT_ROWS = 64
"""Rows of a tile where rows are kept."""

VECTORS_TOGETHER = 128
"""Vectors of rows that are summed before their lanes are, and float32 becomes float64."""


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
    """The memory of a pass over a block of rows; all flat, matrices chunk after chunk."""

    slopes: FloatArray
    """(k, features)."""
    constants: FloatArray
    """(k,) what is added to slopes times features."""
    features: FloatArray
    """(1 + features, rows) of each chunk of a tile: room for shares (ones, where responsibilities
    take these), then x and |x|^2; or, where ``rows`` are kept, room for shares and |x|^2 alone."""
    n_dots: int
    """Rows of that matrix."""
    rows: FloatArray
    """(rows, row) of a tile about the centre, whole vectors each; empty where the moments are
    summed of features."""
    row: int
    """Numbers from one of these rows to the next."""
    columns: FloatArray
    """(features, rows) of one chunk, and room for whole vectors of columns, where rows are kept."""
    centre: FloatArray
    """(row,) the centre and zeros."""
    zeros: FloatArray
    """(d,) biases of a whitening about the centre."""
    squares: FloatArray
    """(rows,) of a chunk."""
    dots: FloatArray
    """(slots, dots) vectors of sums: a slot for each component of a block."""
    sums: FloatArray
    """(slots, row) sums of responsibilities times kept rows."""
    dot_totals: Float64Array
    """(slots, dots)."""
    totals: Float64Array
    """(slots, row)."""
    pending: IntArray
    """(1,) how many rows have been added to the sums."""
    few: IntArray
    """(1,) whether few of the rows counted for a component in the last tile that was looked at."""
    given: Float64Array
    """(k,) sums of responsibilities until then."""
    chosen: IntArray
    """Rows of a tile that count for a component, and"""
    parts: FloatArray
    """their responsibilities."""


@part
def keeps_rows(d: int, like: Any) -> bool:
    """Whether moments are products with whole vectors of columns, not with vectors of rows.

    These need no sums over lanes and read every number of a tile once; but the lanes behind the
    last column work for nothing.
    """
    width = lanes_of(like)
    padded = (d + width - 1) // width * width
    # a single vector a row makes one load of every multiply-add
    return padded > width and 5 * padded <= 6 * (1 + d)


def linear_work(density: Any, tile_rows: Any) -> Any:
    """Return the memory of a pass."""
    n_components, d = density.means.shape
    m = density.slopes.shape[1]
    like = density.means
    width, run = lanes_of(like), chunk_rows(like)
    padded = (d + width - 1) // width * width
    kept = keeps_rows(d, like)
    n_dots = 1 + (m - d if kept else m)
    row = padded_row(d, like)
    centre = cleared(row, like)
    for j in range(d):
        centre[j] = density.centre[j]
    constants = aligned(n_components, like)
    for k in range(n_components):
        constants[k] = density.log_scale[k] - density.squares[k]
    height = product_height(n_components)
    n_sums = (n_components + height - 1) // height * height * n_dots
    n_sums = (n_sums + width - 1) // width * width
    double = np.empty(0)
    dots, dot_totals = cleared(n_sums * width, like), cleared(n_sums, double)
    n_sums = (n_components + height - 1) // height * height * row if kept else 0
    sums, totals = cleared(n_sums, like), cleared(n_sums, double)
    # columns are written in whole vectors
    n_rows = n_dots if kept else 1 + max(padded, m)
    n_chunks = tile_rows // run
    return LinearWork(
        flattened(density.slopes),
        constants,
        aligned((n_chunks - 1) * pitch_of(n_dots, run, like) + n_rows * run, like),
        n_dots,
        aligned(tile_rows * row if kept else 0, like),
        row,
        aligned(max(padded, m) * run if kept else 0, like),
        centre,
        cleared(d, like),
        aligned(run, like),
        dots,
        sums,
        dot_totals,
        totals,
        np.zeros(1, np.int64),
        np.zeros(1, np.int64),
        aligned(n_components, double),
        np.empty(tile_rows, np.int64),
        aligned(tile_rows, like),
    )


def linear_tiles(density: Any, n_rows: Any) -> Any:
    """Return the ``shape_of_tile``: few vectors of rows at a time, tiles that stay in L1."""
    n_components, d = density.means.shape
    like = density.means
    chunk = chunk_rows(like)
    if keeps_rows(d, like):
        most = KEPT_ROWS
    else:
        a_row = like.itemsize * (n_components + 1 + density.slopes.shape[1])
        most = min(max(TILE_BYTES // a_row // 64 * 64, 64), MOST_ROWS)
    return tile_of(most, n_rows), chunk, chunk


@part
def linear_height(n_components: int, left: int) -> int:
    """Return how many of the components that are left the next block of densities has."""
    if n_components < LINEAR_HEIGHT:
        return height_of(n_components, BLOCK_HEIGHT)
    # of seven or eight two low blocks make less than two high ones
    low = left <= BLOCK_HEIGHT or left == 7 or left == 8
    return BLOCK_HEIGHT if low else LINEAR_HEIGHT


def linear_log_density(tile: Any, density: Any, scratch: Any) -> None:
    """Write constants + slopes x features (see kernels/steps.py)."""
    rows, start, size, joint, stride = tile
    n_components, d = density.means.shape
    slopes, constants = scratch.slopes, scratch.constants
    m = slopes.size // n_components
    width = lanes_of(rows)
    kept = keeps_rows(d, rows)
    for first in range(0, size, stride):
        chunk = first // stride
        # the first row is for the shares
        at = chunk * pitch_of(scratch.n_dots, stride, rows) + stride
        columns = scratch.features
        if kept:
            keep_chunk(
                rows, start, first, size, d, scratch.centre, scratch.rows, scratch.row,
                scratch.columns, stride,
            )  # fmt: skip
            columns, squares_at, at = scratch.columns, at, 0
        else:
            some = min(stride, size - first)
            load_about(rows, d, start + first, some, stride, density.centre, columns, at, stride)
            squares_at = at + d * stride
        if m > d:
            for t in range(0, stride, width):
                square = broadcast(rows.dtype.type(0))
                if kept:
                    square = sum_of_squares(columns, at + t, stride, d)
                else:  # of few columns the next vector's begin meanwhile: four sums cost 1 to 3 %
                    for j in range(d):
                        z = load(columns, at + t + j * stride)
                        square = fma(z, z, square)
                store(columns, at + t + d * stride, square)
                store(scratch.features, squares_at + t, square)
        out = chunk * pitch_of(n_components, stride, rows)
        following = start + first + (KEPT_ROWS if kept else stride)
        ahead = following * d + numbers_ahead(rows)
        last = ahead + (CHUNK_VECTORS - 1) * d * width
        block = 0
        while block < n_components:  # the last block begins so early that it is full, too
            height = linear_height(n_components, n_components - block)
            k = min(block, n_components - height)
            block += height
            write_linear(
                columns, at, stride, slopes, m, k, height, constants, joint, out + k * stride,
                rows, ahead,
            )  # fmt: skip
            ahead = min(ahead + d * width, last)  # what has been fetched costs nothing


def add_common_squares(density: Any, scratch: Any, chunk: Any, stride: Any, highest: Any) -> None:
    """Add -|W x|^2 of a chunk's rows to ``highest``, where there is one W."""
    if density.whitening.size == 0:
        return
    d = density.means.shape[1]
    squares = scratch.squares
    width = lanes_of(squares)
    columns, at = scratch.features, (chunk * pitch_of(scratch.n_dots, stride, squares) + stride)
    if keeps_rows(d, squares):
        for t in range(0, stride, width):
            first = chunk * stride + t
            turn_vector(scratch.rows, first, d, scratch.row, scratch.columns, t, stride)
        columns, at = scratch.columns, 0
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
    rows, start, size, joint, stride = tile
    n_components, d = density.means.shape
    features, n_dots, row = scratch.features, scratch.n_dots, scratch.row
    width = lanes_of(rows)
    n_chunks = (size + stride - 1) // stride
    kept = keeps_rows(d, rows)
    looked = start // (LOOK_EVERY * KEPT_ROWS) * (LOOK_EVERY * KEPT_ROWS)
    looks = kept and start == looked
    if looks:
        scratch.few[0] = takes_chosen(joint, n_components, d, n_chunks, scratch, start)
    few = kept and scratch.few[0] == 1
    # a share times the features is less work than times the responsibilities, as a rule
    shared = kept and n_components < d
    for chunk in range(n_chunks):
        if shared:
            out = chunk * pitch_of(n_components, stride, rows)
            share_out(joint, out, stride, n_components, stride // width, shares, chunk * stride)
        for t in range(0, stride, width):
            at = chunk * pitch_of(n_dots, stride, rows) + t
            share = load(shares, chunk * stride + t)
            if shared:
                share = broadcast(rows.dtype.type(1))
            store(features, at, share)
            for _ in range(n_dots - 1):
                at += stride
                store(features, at, load(features, at) * share)
    height = product_height(n_components)
    for slot in range(0, n_components, height):
        k = min(slot, n_components - height)
        add_dots(joint, k, n_components, features, n_dots, n_chunks, height, scratch.dots, slot)
    n_vectors = (d + width - 1) // width
    if few:
        if looks:
            note_given(n_components, scratch)
        share = least_share(looked + KEPT_ROWS, rows)
        add_chosen_rows(joint, n_components, n_chunks, n_vectors, share, scratch)
    elif kept:
        if not shared:
            scale_rows(scratch.rows, row, n_vectors, shares, size)
        for slot in range(0, n_components, height):
            k = min(slot, n_components - height)
            add_outer(
                joint, k, n_components, scratch.rows, row, n_vectors, n_chunks, height,
                scratch.sums, slot,
            )  # fmt: skip
    scratch.pending[0] += n_chunks * stride
    if scratch.pending[0] >= VECTORS_TOGETHER * width:
        add_up(scratch)


@part
def add_up(scratch: Any) -> None:
    """Add the sums over some tiles to the totals."""
    add_lanes(scratch.dots, scratch.dot_totals.size, scratch.dot_totals)
    sums, totals = scratch.sums, scratch.totals
    for i in range(sums.size):
        totals[i] += sums[i]
        sums[i] = 0
    scratch.pending[0] = 0


def linear_finish(density: Any, scratch: Any, statistics: Any) -> None:
    """Add the sums over a block of rows to the statistics.

    The second moments (k, 1) are those of |x|^2; without that feature they are left alone.
    """
    n_components, d = density.means.shape
    m = scratch.slopes.size // n_components
    add_up(scratch)
    totals, n_dots = scratch.dot_totals, scratch.n_dots
    height = product_height(n_components)
    kept = keeps_rows(d, scratch.dots)
    for k in range(n_components):
        at = slot_of(k, n_components, height) * n_dots
        statistics.counts[k] += totals[at]
        if m > d:
            statistics.second[k, 0] += totals[at + n_dots - 1]
        if not kept:
            for j in range(d):
                statistics.first[k, j] += totals[at + 1 + j]
    if kept:
        for k in range(n_components):
            at = slot_of(k, n_components, height) * scratch.row
            for j in range(d):
                statistics.first[k, j] += scratch.totals[at + j]


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
