"""Mixtures in up to four columns: a few vectors of rows from rows to responsibilities in one loop.

With so few columns nearly all time goes to exponentials, and the passes over a tile, which wait for
each other and for the cache, cost as much again. Here a group of vectors of rows stays in
registers, columns, features, sums and shares; only its densities, and what the moments take of it,
go through memory, for a few groups at a time: their moments are then sums that stay in registers,
of as many components as there are registers for (1.1 to 1.2 times as fast as a group at a time).
Two or three components stay in registers throughout (``few.py``).

Near a common centre all log densities are linear in the features of a row: its columns and |x|^2
(``LinearDensity``), or its columns and their products (``UnrolledDensity``: log_scale - |W x + b|^2
multiplied out takes no more products). The moments are sums of the same features.

Of more components, densities are taken relative to what they are about at the means, not to a row's
highest: no maximum and no difference a component. Rows so far away that their densities might not
fit are found by these and by their columns, and left to tiles with the rows around them.
"""

from functools import partial
from typing import Any

import numpy as np

from fastgmm._jit import cgutils, intrinsic, ir, kernel, part, types
from fastgmm._typing import BoolArray, FloatArray
from fastgmm.kernels.columns import pitch_of
from fastgmm.kernels.densities.features import products_of
from fastgmm.kernels.densities.few import Few
from fastgmm.kernels.densities.groups import Groups
from fastgmm.kernels.densities.linear import LinearDensity
from fastgmm.kernels.densities.products import add_lanes, chosen
from fastgmm.kernels.densities.relative import (
    farthest_of,
    less_reference,
    mean_of_first,
    relate_to_widest,
)
from fastgmm.kernels.densities.sums import VECTORS_TOGETHER
from fastgmm.kernels.densities.unrolled import UnrolledDensity
from fastgmm.kernels.emission import data_of
from fastgmm.kernels.memory import aligned, cleared, fill, flattened
from fastgmm.kernels.states import blocks_of, merge_states, state_of
from fastgmm.simd import lanes, lanes_of
from fastgmm.simd.powers import LN2
from fastgmm.simd.vectors import llvm_vector, vector_of

MOST_COLUMNS = 3
"""Of a ``LinearDensity``, whose passes are compiled for every number of columns at once."""

MOST_FEATURES = 9
"""Of an ``UnrolledDensity``: three columns with their products, four with their squares (1.1 to 1.3
times as fast as tiles). Four with their products and eight with their squares gain nothing."""

MOST_COMPONENTS = 64
MOST_SUMS = 320
"""More vectors of sums, or components, would not leave room in L1 for each other."""

CHUNK_BYTES = 24 * 2**10
MOST_TOGETHER = 8
"""Groups whose densities wait in L1 for their moments; two instead of eight cost 5 %."""

MOST_FEATURES_OF_KNOWN = {2: MOST_FEATURES, 3: 5}
"""So many components have code of their own, if features are no more: three with six and nine,
whose sums are too many for registers, lose 3 to 6 % by it."""

FEW_LEFT = 2
"""More batches than this are left to tiles before all are, once these are more than half."""


def n_linear_features(density: Any) -> int:
    """Return in how many features of a row all log densities are linear; 0 if in none, or many."""
    d = density.means.shape[1]
    if isinstance(density, LinearDensity) and d <= MOST_COLUMNS:
        return int(density.slopes.shape[1])
    if isinstance(density, UnrolledDensity) and density.near:
        m = int(d + density.whitening.shape[1])
        return m if m <= MOST_FEATURES else 0
    return 0


def takes(density: Any) -> bool:
    """Return whether rows go in groups.

    They do not if columns or components are too many, or too far apart, or for one component, whose
    responsibilities are 1 in tiles, and here the product of a number and its reciprocal.
    """
    k, m = len(density.means), n_linear_features(density)
    return m > 0 and 1 < k <= MOST_COMPONENTS and k * (1 + m) <= MOST_SUMS


def add_whole_groups(
    rows: FloatArray, density: Any, statistics: Any, block_rows: int
) -> list[slice]:
    """Add 2^j blocks of rows (n, d) of weight one to their statistics, in whole groups.

    Return which rows are left: the last few of a block and those around rows that are far from all
    means, or all of them. No slice goes beyond a block, of which the last may be a short one. If
    none are left, the statistics are merged into those of the first block.
    """
    k, m = len(density.means), n_linear_features(density)
    known = known_components(density)
    way = Few if known else Groups
    n_rows, group = len(rows), way.vectors_of(m) * lanes(rows.dtype)
    in_l1 = CHUNK_BYTES // ((k + 1 + m) * group * rows.itemsize)
    together = 0 if known else min(max(in_l1, 1), MOST_TOGETHER)
    batch = VECTORS_TOGETHER * lanes(rows.dtype)
    starts = range(0, n_rows, block_rows)
    left = np.zeros((len(starts), -(-block_rows // batch)), np.bool_)
    found = add_rows(rows, density, statistics, left, block_rows, group, together, known)
    if not found and block_rows % group == 0 and n_rows % group == 0:
        return []
    return [
        part
        for start, marks in zip(starts, left, strict=True)
        for part in _left_of(start, min(start + block_rows, n_rows), group, batch, marks, found)
    ]


def _left_of(
    start: int, stop: int, group: int, batch: int, marks: BoolArray, found: bool
) -> list[slice]:
    """Return which rows of a block are left, with those marked, if such are ``found`` anywhere."""
    end = stop - (stop - start) % group
    if not found:
        return [slice(end, stop)] if end < stop else []
    bounds = [*range(start, end, batch), end, stop]
    edges = np.flatnonzero(np.diff([False, *marks[: len(bounds) - 2], end < stop, False]))
    return [slice(bounds[first], bounds[last]) for first, last in edges.reshape(-1, 2)]


def known_components(density: Any) -> tuple[int, ...]:
    """Return the components, if they are few enough to have machine code for their number."""
    k = len(density.means)
    is_known = 0 < n_linear_features(density) <= MOST_FEATURES_OF_KNOWN.get(k, 0)
    return tuple(range(k)) if is_known else ()


def enough_rows(dtype: np.dtype[np.floating]) -> int:
    """Return how many rows use all machine code there may be: a group of any kind, and one more."""
    return max(way.vectors_of(1) for way in (Few, Groups)) * lanes(dtype) + 1


@kernel
def add_rows(
    rows: Any,
    density: Any,
    statistics: Any,
    left: Any,
    block_rows: int,
    group: int,
    together: int,
    known: Any,
) -> Any:
    """Add blocks of rows in groups of so many; mark *batches* in ``left`` that are not.

    A batch is VECTORS_TOGETHER vectors, summed before their lanes are and float32 becomes float64.
    The densities of so many groups ``together`` wait for their moments, if none are ``known``.
    Return how many batches are left. Each block has statistics of its own (``states.py``), and a
    row of ``left``; if all rows are added these are merged.
    """
    n_rows, d = rows.shape
    n_components = density.means.shape[0]
    flat = flattened(rows)
    slopes, constants, reference = less_reference(density)
    m = slopes.size // n_components
    farthest = aligned(1, density.means)
    farthest[0] = farthest_of(slopes, constants, d)
    widest = 0
    if len(known) > 0:
        room = aligned(d, density.means)
        widest = relate_to_widest(slopes, constants, density, farthest, room)
    width = lanes_of(flat)
    joint = aligned(together * pitch_of(n_components, group, flat), flat)
    features = aligned(together * pitch_of(1 + m, group, flat), flat)
    n_sums = n_components * (1 + m)
    whole = (n_sums + width - 1) // width * width
    sums, totals = cleared(whole * width, flat), aligned(whole, statistics.counts)
    log_likelihood = aligned(1, statistics.counts)
    at_once = VECTORS_TOGETHER * width // group
    n_blocks, n_left = blocks_of(n_rows, block_rows), 0
    for block in range(n_blocks):
        start = block * block_rows
        n_groups = min(block_rows, n_rows - start) // group
        fill(totals, 0, totals.size, 0)
        log_likelihood[0] = 0.0
        n_added, n_missed = 0, 0
        for batch in range((n_groups + at_once - 1) // at_once):
            first = batch * at_once
            n = min(at_once, n_groups - first)
            hopeless = n_missed > FEW_LEFT and 2 * n_missed > batch
            if not hopeless and add_groups(
                flat, (start + first * group) * d, n, together, known, d, m, n_components, density,
                density.centre, slopes, constants, farthest, joint, features, sums, log_likelihood,
            ):  # fmt: skip
                add_lanes(sums, n_sums, 1, totals)
                n_added += n * group
            else:
                fill(sums, 0, sums.size, 0)
                left[block, batch] = True
                n_missed += 1
        n_left += n_missed
        if n_added > 0:
            own = state_of(statistics, block, n_blocks)
            bits = reference
            if len(known) > 0:
                bits += mean_of_first(slopes, constants, totals)
            own.log_likelihood[0] += log_likelihood[0] + LN2 * (bits * n_added)
            add_totals(totals, n_components, m, widest, own)
    if n_left == 0 and block_rows % group == 0 and n_rows % group == 0:
        merge_states(statistics, n_blocks)
    return n_left


@part
def add_totals(totals: Any, n_components: int, m: int, first: int, statistics: Any) -> None:
    """Add sums of responsibilities times 1 and the features (k, 1 + m).

    Component ``first`` has changed its place with the first one.
    """
    d = statistics.first.shape[1]
    for place in range(n_components):
        k = first if place == 0 else (0 if place == first else place)
        at = place * (1 + m)
        statistics.counts[k] += totals[at]
        for j in range(d):
            statistics.first[k, j] += totals[at + 1 + j]
        for p in range(m - d):
            statistics.second[k, p] += totals[at + 1 + d + p]


def products_in(density: Any) -> list[Any] | None:
    """Return the features behind the columns: each is a sum of products x_i x_j.

    None if the type of the density does not tell (see ``add_groups``).
    """
    if density.instance_class is LinearDensity:
        return None
    band = density.types[density.fields.index("band")]
    return [[pair] for pair in products_of(band)]


@intrinsic
def add_groups(
    typingctx: Any,
    rows: Any,
    start: Any,
    n_groups: Any,
    together: Any,
    known: Any,
    n_columns: Any,
    n_features: Any,
    n_components: Any,
    density: Any,
    centre: Any,
    slopes: Any,
    constants: Any,
    farthest: Any,
    joint: Any,
    weighted: Any,
    sums: Any,
    log_likelihood: Any,
) -> Any:
    """Add responsibilities times 1 and the features to ``sums`` (k, 1 + m) of vectors.

    Return whether all rows' densities fit; if not, the sums are of no use. The log likelihood, less
    the reference, is added only if they do.

    The rows begin at ``start`` in flat memory. The features are their columns about the centre and
    products of these: those that the type of ``density`` names, or |x|^2, left out where m = d.
    ``slopes`` (k, m) are flat, of logarithms to base two; ``farthest`` (1,) is how far from the
    centre columns may be, or their squares where these are features. ``joint`` and ``weighted``
    have room for densities, and for shares and these times the features, of ``together`` groups.
    Components that are ``known``, a tuple of which the type tells how many, need no room.
    """
    vector_type = vector_of(rows.dtype)
    products = products_in(density)
    way = partial(Few, len(known)) if len(known) else Groups

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        pointers = [
            data_of(context, signature.args[i], arguments[i], builder)
            for i in (0, *range(9, len(arguments)))
        ]
        start, n, together, _, d, m, n_components = arguments[1:8]
        numbers = [start, n, together, n_components]
        groups = partial(way, builder, llvm_vector(vector_type), pointers, numbers)
        if products is not None:
            return groups(1 + products[-1][0][0], products).add()
        fits = cgutils.alloca_once(builder, ir.IntType(1))

        def add(d: int, products: list[Any]) -> None:
            builder.store(groups(d, products).add(), fits)

        cases = {}
        for columns in range(1, MOST_COLUMNS + 1):
            cases[2 * columns] = partial(add, columns, [])
            cases[2 * columns + 1] = partial(add, columns, [[(j, j) for j in range(columns)]])
        chosen(builder, builder.add(d, m), cases)
        return builder.load(fits)

    size = types.intp
    sizes = (size, size, size, known, size, size, size)
    parameters = (density, centre, slopes, constants, farthest, joint, weighted, sums)
    return types.boolean(rows, *sizes, *parameters, log_likelihood), codegen
