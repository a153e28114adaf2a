"""Sums over tiles: of responsibilities, and of these times features of a tile's rows, or the rows.

Products with few columns are summed lane by lane (*dots*: vectors of rows of responsibilities times
vectors of rows of features). With many columns each responsibility multiplies whole vectors of a
row's columns: no lanes to add. The rows are loaded as they are, or copied, perhaps with their
squares behind them (``kept.py``); where few rows count for a component these alone are added
(``chosen.py``). All grow in the compute dtype over some tiles before they are added up in float64.
"""

from typing import Any, NamedTuple

import numpy as np

from fastgmm._jit import maker, part
from fastgmm._typing import Float64Array, FloatArray, IntArray
from fastgmm.kernels.blocks import WIDE, slot_of
from fastgmm.kernels.columns import chunk_rows, padded_row, pitch_of, scale_columns
from fastgmm.kernels.densities.chosen import few_chosen, least_share
from fastgmm.kernels.densities.kept import keep_rows
from fastgmm.kernels.densities.products import add_dots, add_lanes, add_outer, product_height
from fastgmm.kernels.memory import aligned, cleared, fill
from fastgmm.kernels.softmax import share_out
from fastgmm.simd import (
    broadcast,
    first_on,
    fma,
    lanes_of,
    lanes_on,
    load,
    load_broadcast,
    load_part,
    store,
    total,
)

LOOK_ROWS = 256
"""Rows that go the same way, so that looking takes a hundredth of a pass."""

VECTORS_TOGETHER = 128
"""Vectors of rows that are summed before their lanes are, and float32 becomes float64."""

PAIRS, PAIRS_BY_VECTORS = 4.0, 240.0
"""Rows are added one by one where one of so many pairs of a row and a component counts: of
``PAIRS_BY_VECTORS`` / (vectors that the columns make), 30 (60) in 64 columns in float64 (float32),
but of no fewer than ``PAIRS``."""


class Sums(NamedTuple):
    """What grows over the tiles of a block of rows, and what of a tile is multiplied; all flat."""

    features: FloatArray
    """(dots, rows) of each chunk of a tile, one behind the other: room for shares (ones, where
    responsibilities take these), then features; room behind for columns written in whole vectors.
    """
    n_dots: int
    """Rows of that matrix."""
    rows: FloatArray
    """(rows, row) of a tile about the centre times their shares, if they are to be copied."""
    row: int
    """Numbers of a row, perhaps with its squares, in whole vectors; none if rows are not added."""
    centre: FloatArray
    """What rows are taken about, and zeros up to a whole vector."""
    dots: FloatArray
    """(slots, dots) sums, half a vector each: a slot for each component of a block."""
    sums: FloatArray
    """(slots, row) sums of responsibilities times rows."""
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


@maker
def sums_of(
    n_components: int,
    tile_rows: int,
    n_dots: int,
    n_rows: int,
    centre: Any,
    by_rows: bool,
    squared: bool,
) -> Any:
    """Return the memory of sums over tiles: of so many features and, ``by_rows``, of rows.

    The last chunk's features have room for ``n_rows``.
    """
    like = centre
    width, run = lanes_of(like), chunk_rows(like)
    height = product_height(n_components)
    slots = (n_components + height - 1) // height * height
    n_sums = (slots * n_dots + width - 1) // width * width
    double = np.empty(0)
    dots, dot_totals = cleared(n_sums * (width // 2), like), cleared(n_sums, double)
    own_centre = padded_centre(centre)
    # what pads the last vector of columns is squared, too
    row = padded_row(centre.size + own_centre.size if squared else centre.size, like) * by_rows
    copies = by_rows and copies_rows(n_components, centre.size, squared, like)
    n_chunks = tile_rows // run
    return Sums(
        aligned((n_chunks - 1) * pitch_of(n_dots, run, like) + n_rows * run, like),
        n_dots,
        aligned(tile_rows * row * copies, like),
        row,
        own_centre,
        dots,
        cleared(slots * row, like),
        dot_totals,
        cleared(slots * row, double),
        np.zeros(1, np.int64),
        np.zeros(1, np.int64),
        aligned(n_components, double),
        np.empty(tile_rows, np.int64),
        aligned(tile_rows, like),
    )


@maker
def padded_centre(centre: Any) -> Any:
    """Return a centre (d,) and zeros up to a whole vector."""
    width = lanes_of(centre)
    padded = cleared((centre.size + width - 1) // width * width, centre)
    for j in range(centre.size):
        padded[j] = centre[j]
    return padded


@part
def copies_rows(n_components: int, d: int, squared: bool, like: Any) -> bool:
    """Whether rows are copied about the centre and take their shares, before they are multiplied.

    Else they are taken about it each time that they are loaded, which costs units for products
    nothing, and responsibilities take the shares: less work where components are no more than
    columns. With 32 components in 128 columns passes are 1.03 to 1.04 times as fast as with
    copies, with 64 in 64 1.00 to 1.02 times; with 512 in 39 they would take 1.04 times as long.
    Rows that end within a vector are copied, too; and all with vectors of 32 bytes, as each load
    serves half as many products (copies are 0.99 to 1.03 times as fast).
    """
    return not WIDE or squared or n_components > d or d % lanes_of(like) > 0


@part
def add_tile(
    tile: Any, n_components: int, d: int, squared: bool, sums: Any, shares: Any, together: int
) -> None:
    """Add the sums of responsibilities, and of these times features and rows, over a tile.

    ``squared`` rows of d columns get their squares behind them. After so many vectors of rows
    ``together`` the sums are added up.
    """
    rows, start, size, joint, stride = tile
    row, n_dots = sums.row, sums.n_dots
    width = lanes_of(rows)
    n_chunks = (size + stride - 1) // stride
    by_rows = row > 0
    n_columns = 2 * d if squared else d
    looked = start // LOOK_ROWS * LOOK_ROWS
    looks = by_rows and start == looked
    if looks:
        sums.few[0] = takes_chosen(joint, n_components, n_columns, n_chunks, sums, start)
    few = by_rows and sums.few[0] == 1
    shared = by_rows and not copies_rows(n_components, d, squared, rows)
    take_shares(tile, n_components, n_chunks, shared, sums, shares)
    height = product_height(n_components)
    for slot in range(0, n_components, height):
        k = min(slot, n_components - height)
        add_dots(joint, k, n_components, sums.features, n_dots, n_chunks, height, sums.dots, slot)
    if few:
        if looks:
            note_given(n_components, sums)
        share = least_share(looked + sums.chosen.size, rows)
        add_chosen_rows(tile, n_components, d, squared, n_chunks, share, sums)
    elif by_rows:
        at, centre = start * d, sums.centre
        n_vectors = (d + width - 1) // width
        if shared:
            add_rows(joint, n_components, rows, at, d, size, n_vectors, centre, n_chunks, sums)
        else:
            keep_rows(rows, at, d, n_vectors, centre, shares, size, squared, sums.rows, row)
            n_vectors = (n_columns + width - 1) // width
            add_rows(joint, n_components, sums.rows, 0, row, size, n_vectors, None, n_chunks, sums)
    sums.pending[0] += n_chunks * stride
    if sums.pending[0] >= together * width:
        add_up(sums)


@part
def take_shares(
    tile: Any, n_components: int, n_chunks: int, shared: bool, sums: Any, shares: Any
) -> None:
    """Multiply a tile's features by its shares, or, ``shared``, the responsibilities.

    The former is less work, as a rule.
    """
    rows, _, _, joint, stride = tile
    features, width = sums.features, lanes_of(rows)
    for chunk in range(n_chunks):
        at = chunk * pitch_of(sums.n_dots, stride, rows)
        if shared:
            out = chunk * pitch_of(n_components, stride, rows)
            share_out(joint, out, stride, n_components, stride // width, shares, chunk * stride)
            fill(features, at, at + stride, 1)
        else:
            for t in range(0, stride, width):
                store(features, at + t, load(shares, chunk * stride + t))
            scale_columns(features, at + stride, stride, sums.n_dots - 1, features, at)


@part
def add_rows(
    joint: Any,
    n_components: int,
    rows: Any,
    start: int,
    step: int,
    size: int,
    n_vectors: int,
    centre: Any,
    n_chunks: int,
    sums: Any,
) -> None:
    """Add responsibilities times rows over a tile, of all components (see ``add_outer``)."""
    height = product_height(n_components)
    for slot in range(0, n_components, height):
        k = min(slot, n_components - height)
        add_outer(
            joint, k, n_components, rows, start, step, size, n_vectors, centre, n_chunks, height,
            sums.sums, sums.row, slot,
        )  # fmt: skip


@part
def add_up(sums: Any) -> None:
    """Add the sums over some tiles to the totals."""
    add_lanes(sums.dots, sums.dot_totals.size, sums.dot_totals)
    ones, totals = sums.sums, sums.totals
    for i in range(ones.size):
        totals[i] += ones[i]
        ones[i] = 0
    sums.pending[0] = 0


@part
def pairs_of(n_columns: int, like: Any) -> float:
    """Return of how many pairs of a row and a component one may count, for rows to be chosen."""
    return max(PAIRS, PAIRS_BY_VECTORS * lanes_of(like) / n_columns)


@part
def takes_chosen(
    joint: Any, n_components: int, n_columns: int, n_chunks: int, sums: Any, until: int
) -> bool:
    """Whether few of a tile's rows count for a component; ``until`` rows came before it."""
    run = chunk_rows(joint)
    pitch = pitch_of(n_components, run, joint)
    pairs = pairs_of(n_columns, joint)
    if n_components < pairs:  # each row counts for one at least
        return False
    note_given(n_components, sums)
    for chunk in range(n_chunks):
        at = chunk * pitch
        if not few_chosen(joint, at, run, n_components, n_columns, run, pairs, sums.given, until):
            return False
    return True


@part
def note_given(n_components: int, sums: Any) -> None:
    """Write the sums of all components' responsibilities until now."""
    half, height = lanes_of(sums.dots) // 2, product_height(n_components)
    for k in range(n_components):
        at = slot_of(k, n_components, height) * sums.n_dots
        sums.given[k] = sums.dot_totals[at] + total(load_part(sums.dots, at * half, half))


@part
def add_chosen_rows(
    tile: Any, n_components: int, d: int, squared: bool, n_chunks: int, share: float, sums: Any
) -> None:
    """Add responsibilities times rows, component by component, of the rows that count.

    They have more than ``share`` of what the component has been given until now. ``squared``, their
    squares are added, too.
    """
    rows, start, _, joint, _ = tile
    row, ones, features, centre = sums.row, sums.sums, sums.features, sums.centre
    chosen, parts = sums.chosen, sums.parts
    width, run = lanes_of(rows), chunk_rows(rows)
    height = product_height(n_components)
    for k in range(n_components):
        bound = broadcast(rows.dtype.type(share * sums.given[k]))
        n = 0
        for chunk in range(n_chunks):
            at = chunk * pitch_of(n_components, run, rows) + k * run
            shares_at = chunk * pitch_of(sums.n_dots, run, rows)
            for first in range(0, run, width):
                r = load(joint, at + first) * load(features, shares_at + first)
                on = lanes_on(r > bound)
                if on == 0:
                    continue
                t = chunk * run + first
                store(parts, t, r)
                while on != 0:
                    chosen[n] = t + first_on(on)
                    n += 1
                    on &= on - 1
        if n == 0:
            continue
        to = slot_of(k, n_components, height) * row
        for j in range(0, d, width):
            about, zero = load(centre, j), broadcast(rows.dtype.type(0))
            moments = squares = zero
            for i in range(n):
                t = chosen[i]
                x = load_part(rows, (start + t) * d + j, d - j) - about
                weighted = load_broadcast(parts, t) * x
                moments = moments + weighted
                squares = fma(weighted, x, squares)
            store(ones, to + j, load(ones, to + j) + moments)
            if squared:  # what is behind the last column is zero
                store(ones, to + d + j, load(ones, to + d + j) + squares)
