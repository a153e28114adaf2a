"""Sums over tiles: of responsibilities, and of these times what is kept of a tile's rows.

Products with few columns are summed lane by lane (*dots*: vectors of rows of responsibilities times
vectors of rows of features). With many columns a tile's rows are kept as they are, perhaps with
their squares behind them, and each responsibility multiplies whole vectors of columns: no lanes to
add, and operands that stay in L1; where few rows count for a component these alone are added
(``chosen.py``). Both grow in the compute dtype over some tiles before they are added up in float64.
"""

from typing import Any, NamedTuple

import numpy as np

from fastgmm._jit import maker, part
from fastgmm._typing import Float64Array, FloatArray, IntArray
from fastgmm.kernels.blocks import slot_of
from fastgmm.kernels.columns import chunk_rows, padded_row, pitch_of, scale_columns
from fastgmm.kernels.densities.chosen import few_chosen, least_share
from fastgmm.kernels.densities.kept import scale_rows, square_rows
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
"""Kept rows are added one by one where one of so many pairs of a row and a component counts: of
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
    """(rows, row) of a tile about the centre, whole vectors each; empty if none are kept."""
    row: int
    """Numbers from one of these rows to the next."""
    dots: FloatArray
    """(slots, dots) sums, half a vector each: a slot for each component of a block."""
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


@maker
def sums_of(
    n_components: int, tile_rows: int, n_dots: int, n_rows: int, n_columns: int, like: Any
) -> Any:
    """Return the memory of sums over tiles, of so many features and columns of kept rows.

    The last chunk's features have room for ``n_rows``.
    """
    width, run = lanes_of(like), chunk_rows(like)
    height = product_height(n_components)
    slots = (n_components + height - 1) // height * height
    n_sums = (slots * n_dots + width - 1) // width * width
    double = np.empty(0)
    dots, dot_totals = cleared(n_sums * (width // 2), like), cleared(n_sums, double)
    row = padded_row(n_columns, like) if n_columns > 0 else 0
    n_chunks = tile_rows // run
    return Sums(
        aligned((n_chunks - 1) * pitch_of(n_dots, run, like) + n_rows * run, like),
        n_dots,
        # whole vectors are multiplied, whatever stands behind the columns
        cleared(tile_rows * row, like),
        row,
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


@part
def add_tile(
    tile: Any, n_components: int, d: int, squared: bool, sums: Any, shares: Any, together: int
) -> None:
    """Add the sums of responsibilities, and of these times features and kept rows, over a tile.

    ``squared`` rows of d columns get their squares behind them. After so many vectors of rows
    ``together`` the sums are added up.
    """
    rows, start, size, joint, stride = tile
    features, row, n_dots = sums.features, sums.row, sums.n_dots
    width = lanes_of(rows)
    n_chunks = (size + stride - 1) // stride
    kept = row > 0
    n_columns = 2 * d if squared else d
    looked = start // LOOK_ROWS * LOOK_ROWS
    looks = kept and start == looked
    if looks:
        sums.few[0] = takes_chosen(joint, n_components, n_columns, n_chunks, sums, start)
    few = kept and sums.few[0] == 1
    # a share times the features is less work than times the responsibilities, as a rule
    shared = kept and n_components < n_columns
    for chunk in range(n_chunks):
        at = chunk * pitch_of(n_dots, stride, rows)
        if shared:
            out = chunk * pitch_of(n_components, stride, rows)
            share_out(joint, out, stride, n_components, stride // width, shares, chunk * stride)
            fill(features, at, at + stride, 1)
            continue
        for t in range(0, stride, width):
            store(features, at + t, load(shares, chunk * stride + t))
        scale_columns(features, at + stride, stride, n_dots - 1, features, at)
    if kept:
        scaled, n_vectors = not (shared or few), (d + width - 1) // width
        if squared:
            square_rows(sums.rows, row, n_vectors, d, shares, size, scaled)
        elif scaled:
            scale_rows(sums.rows, row, n_vectors, shares, size)
    n_vectors = (n_columns + width - 1) // width
    height = product_height(n_components)
    for slot in range(0, n_components, height):
        k = min(slot, n_components - height)
        add_dots(joint, k, n_components, features, n_dots, n_chunks, height, sums.dots, slot)
    if few:
        if looks:
            note_given(n_components, sums)
        share = least_share(looked + sums.chosen.size, rows)
        add_chosen_rows(joint, n_components, n_chunks, n_vectors, share, sums)
    elif kept:
        for slot in range(0, n_components, height):
            k = min(slot, n_components - height)
            add_outer(
                joint, k, n_components, sums.rows, row, n_vectors, n_chunks, height, sums.sums, slot
            )
    sums.pending[0] += n_chunks * stride
    if sums.pending[0] >= together * width:
        add_up(sums)


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
    joint: Any, n_components: int, n_chunks: int, n_vectors: int, share: float, sums: Any
) -> None:
    """Add responsibilities times kept rows, component by component, of the rows that count.

    They have more than ``share`` of what the component has been given until now.
    """
    rows, row, ones = sums.rows, sums.row, sums.sums
    features, chosen, parts = sums.features, sums.chosen, sums.parts
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
        to = slot_of(k, n_components, height) * row
        if n == 0:
            continue
        for j in range(0, n_vectors * width, width):
            added = broadcast(rows.dtype.type(0))
            for i in range(n):
                t = chosen[i]
                added = fma(load_broadcast(parts, t), load(rows, t * row + j), added)
            store(ones, to + j, load(ones, to + j) + added)
