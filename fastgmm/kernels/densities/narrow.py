"""Mixtures in few columns: some vectors of rows from rows to responsibilities in one loop.

With few columns much of the time goes to exponentials, and the passes over a tile, which wait for
each other and for the cache, cost as much again. Here a group of vectors of rows stays in
registers, columns, features, sums and shares; only its densities, and what the moments take of it,
go through memory, for a few groups at a time: their moments are then sums that stay in registers,
of as many components as there are registers for (1.1 to 1.2 times as fast as a group at a time).
Two or three components in up to four columns stay in registers throughout (``few.py``).

Near a common centre all log densities are linear in the features of a row: its columns and |x|^2
(``LinearDensity``), or its columns and their products (``UnrolledDensity``: log_scale - |W x + b|^2
multiplied out takes no more products). The moments are sums of the same features.

Where densities of all rows may have one unit, as in up to three columns, it is the density of the
widest component, if others' are in range; else what they are about at the means. Either way no
maximum is taken off a row's. Rows so far away that their densities might not fit are found by these
and by their columns, and left to tiles with the rows around them. In more columns rows of some
component would always be such; there each row's highest density is the unit.
"""

from typing import Any

import numpy as np

from fastgmm._jit import intrinsic, kernel, part, types
from fastgmm._typing import BoolArray, FloatArray
from fastgmm.kernels.columns import pitch_of
from fastgmm.kernels.densities.differences import mean_of_first, relate_to_widest
from fastgmm.kernels.densities.few import Few
from fastgmm.kernels.densities.groups import Groups
from fastgmm.kernels.densities.linear import LinearDensity
from fastgmm.kernels.densities.one_unit import Relative, RelativeToFirst
from fastgmm.kernels.densities.products import add_lanes
from fastgmm.kernels.densities.relative import farthest_of, less_reference
from fastgmm.kernels.densities.sums import VECTORS_TOGETHER
from fastgmm.kernels.densities.unrolled import UnrolledDensity
from fastgmm.kernels.emission import data_of, either, index
from fastgmm.kernels.memory import aligned, cleared, fill, flattened
from fastgmm.kernels.states import blocks_of, merge_states, state_of
from fastgmm.simd import lanes, lanes_of
from fastgmm.simd.powers import LN2
from fastgmm.simd.vectors import llvm_vector, vector_of

FEWER_COLUMNS = 8
"""Of a ``LinearDensity`` of any number of components: over 4 to 8 columns groups are 1.2 to 1.5
times as fast as tiles."""

MOST_COLUMNS, MANY_COMPONENTS = 16, 12
"""Of one of so many components: over 16 columns groups of 12 to 32 are 1.04 to 1.1 times as fast as
tiles, of four or eight 0.7 to 0.8 times."""

RELATIVE_COLUMNS = 3
"""In so many columns densities are relative to a number for all rows."""

MOST_RELATED = 16
"""So many components, if they are not known, are tried with the widest one's density as their unit:
1.04 to 1.06 times as fast with 12 and 16, 1.04 to 1.18 times with three to eight. To choose it
takes 1 us a call with four, 11 with sixteen, as many as there are pairs of components."""

MOST_FEATURES = 9
"""Of an ``UnrolledDensity``: three columns with their products, four with their squares (1.1 to 1.3
times as fast as tiles). Four with their products and eight with their squares gain nothing."""

CHUNK_BYTES = 24 * 2**10
FEWEST_TOGETHER, MOST_TOGETHER = 2, 8
"""Groups whose densities wait in L1 for their moments; of few components two instead of eight cost
5 %, of 32 in 16 columns, or more, one instead of two 2 to 5 %."""

MOST_FEATURES_OF_KNOWN = {2: MOST_FEATURES, 3: 5}
"""So many components have code of their own, if features are no more: three with six and nine,
whose sums are too many for registers, lose 3 to 6 % by it."""

FEW_LEFT = 2
"""More batches than this are left to tiles before all are, once these are more than half."""


def n_linear_features(density: Any) -> int:
    """Return in how many features of a row all log densities are linear; 0 if in none, or many."""
    k, d = density.means.shape
    if isinstance(density, LinearDensity):
        is_narrow = d <= (MOST_COLUMNS if k >= MANY_COMPONENTS else FEWER_COLUMNS)
        return int(density.slopes.shape[1]) if is_narrow else 0
    if isinstance(density, UnrolledDensity) and density.near:
        m = int(d + density.whitening.shape[1])
        return m if m <= MOST_FEATURES else 0
    return 0


def takes(density: Any) -> bool:
    """Return whether rows go in groups.

    They do not if columns are too many, or components too far apart, or for one component, whose
    responsibilities are 1 in tiles, and here the product of a number and its reciprocal. Of 512
    components in eight columns groups are as much faster than tiles (1.12 to 1.2 times) as of 16.
    """
    return len(density.means) > 1 and n_linear_features(density) > 0


def add_whole_groups(
    rows: FloatArray, density: Any, statistics: Any, block_rows: int
) -> list[slice]:
    """Add 2^j blocks of rows (n, d) of weight one to their statistics, in whole groups.

    Return which rows are left: the last few of a block and those around rows that are far from all
    means, or all of them. No slice goes beyond a block, of which the last may be a short one. If
    none are left, the statistics are merged into those of the first block.
    """
    k, m = len(density.means), n_linear_features(density)
    known, related = known_components(density), related_components(density)
    way, *_ = groups_for(len(known), rows.shape[1], m)
    n_rows, group = len(rows), way.vectors_of(m) * lanes(rows.dtype)
    in_l1 = CHUNK_BYTES // ((k + 1 + m) * group * rows.itemsize)
    together = 0 if known else min(max(in_l1, FEWEST_TOGETHER), MOST_TOGETHER)
    batch = VECTORS_TOGETHER * lanes(rows.dtype)
    starts = range(0, n_rows, block_rows)
    left = np.zeros((len(starts), -(-block_rows // batch)), np.bool_)
    tuples = known, related, tuple(range(rows.shape[1])), tuple(range(m))
    found = add_rows(rows, density, statistics, left, block_rows, group, together, *tuples)
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
    (k, d), m = density.means.shape, n_linear_features(density)
    is_known = 0 < m <= MOST_FEATURES_OF_KNOWN.get(k, 0) and not by_highest(d, m)
    return tuple(range(k)) if is_known else ()


def related_components(density: Any) -> tuple[int, ...]:
    """Return the first component, if densities may be relative to one component's."""
    return () if by_highest(density.means.shape[1], n_linear_features(density)) else (0,)


def by_highest(d: int, m: int) -> bool:
    """Return whether densities are relative to the highest of each row, as in tiles."""
    return d > RELATIVE_COLUMNS and m <= d + 1


def groups_for(n_known: int, d: int, m: int) -> list[type[Groups]]:
    """Return what emits groups of d columns and m features, ``related`` to one component last."""
    if n_known:
        return [Few]
    return [Groups] if by_highest(d, m) else [Relative, RelativeToFirst]


def way_of(density: Any) -> tuple[int, ...]:
    """Return what decides which machine code takes a density's groups; nothing if none are."""
    if not takes(density):
        return ()
    return len(known_components(density)), density.means.shape[1], n_linear_features(density)


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
    related: Any,
    columns: Any,
    features: Any,
) -> Any:
    """Add blocks of rows in groups of so many; mark *batches* in ``left`` that are not.

    A batch is VECTORS_TOGETHER vectors, summed before their lanes are and float32 becomes float64.
    The densities of so many groups ``together`` wait for their moments, if none are ``known``.
    For other tuples see ``add_groups``. Where one component's density may be the unit, that is
    tried before a number; once more than half of the batches were in vain, no more are.
    Return how many batches are left. Each block has statistics of its own (``states.py``), and a
    row of ``left``; if all rows are added these are merged.
    """
    n_rows, d = rows.shape
    n_components = density.means.shape[0]
    flat = flattened(rows)
    slopes, constants, reference = less_reference(density)
    m = slopes.size // constants.size
    farthest = aligned(1, density.means)
    farthest[0] = farthest_of(slopes, constants, d)
    least = int(len(known) > 0)
    most = widest = 0
    if len(related) > 0 and (least > 0 or n_components <= MOST_RELATED):
        room = aligned(1 + m, statistics.counts)
        widest, most = relate_to_widest(slopes, constants, density, least > 0, room)
    width = lanes_of(flat)
    joint = aligned(together * pitch_of(n_components, group, flat), flat)
    weighted = aligned(together * pitch_of(1 + m, group, flat), flat)
    n_sums = n_components * (1 + m)
    whole = (n_sums + width - 1) // width * width
    sums = cleared(whole * (width // 2), flat)
    totals, others = aligned(whole, statistics.counts), aligned(whole, statistics.counts)
    log_likelihood = aligned(1, statistics.counts)
    at_once = VECTORS_TOGETHER * width // group
    n_blocks, n_left = blocks_of(n_rows, block_rows), 0
    for block in range(n_blocks):
        start = block * block_rows
        n_groups = min(block_rows, n_rows - start) // group
        fill(totals, 0, whole, 0)
        fill(others, 0, whole, 0)
        log_likelihood[0] = 0.0
        n_added, n_related, n_missed, n_apart = 0, 0, 0, 0
        for batch in range((n_groups + at_once - 1) // at_once):
            begin = batch * at_once
            n = min(at_once, n_groups - begin)
            first = least if is_hopeless(n_apart, batch) else most
            fits = False
            while not fits and first >= least and not is_hopeless(n_missed, batch):
                fits = add_groups(
                    flat, (start + begin * group) * d, n, together, known, related, columns,
                    features, n_components, first, density.centre, slopes, constants, farthest,
                    joint, weighted, sums, log_likelihood,
                )  # fmt: skip
                if fits:
                    add_lanes(sums, n_sums, totals if first else others)
                    n_added += n * group
                    n_related += first * n * group
                else:
                    fill(sums, 0, sums.size, 0)
                    first -= 1
            n_apart += first < most
            if not fits:
                left[block, batch] = True
                n_missed += 1
        n_left += n_missed
        if n_added > 0:
            own = state_of(statistics, block, n_blocks)
            bits = reference * n_added
            if len(related) > 0 and n_related > 0:
                bits += mean_of_first(slopes, constants, totals) * n_related
            own.log_likelihood[0] += log_likelihood[0] + LN2 * bits
            for i in range(n_sums):
                totals[i] += others[i]
            add_totals(totals, n_components, m, widest, own)
    if n_left == 0 and block_rows % group == 0 and n_rows % group == 0:
        merge_states(statistics, n_blocks)
    return n_left


@part
def is_hopeless(n_failed: int, n_batches: int) -> bool:
    """Return whether so many of the batches until now were in vain that no more are tried."""
    return n_failed > FEW_LEFT and 2 * n_failed > n_batches


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


def products_in(d: int, m: int) -> list[list[tuple[int, int]]]:
    """Return the features behind the columns: each is a sum of products x_i x_j.

    None, |x|^2, the squares or all products: how many there are tells which.
    """
    squares = [(j, j) for j in range(d)]
    return {
        0: [],
        1: [squares],
        d: [[square] for square in squares],
        d * (d + 1) // 2: [[(i, j)] for i in range(d) for j in range(i + 1)],
    }[m - d]


@intrinsic
def add_groups(
    typingctx: Any,
    rows: Any,
    start: Any,
    n_groups: Any,
    together: Any,
    known: Any,
    related: Any,
    columns: Any,
    features: Any,
    n_components: Any,
    first: Any,
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
    ``products_in`` these. ``slopes`` (k, m) are flat, of logarithms to base two; ``farthest`` (1,)
    is how far from the centre columns may be, or their squares where these are features. ``joint``
    and ``weighted`` have room for densities, and for shares and these times the features, of
    ``together`` groups.

    Components that are ``known`` need no room. How many of these there are, of the columns and of
    the features tuples tell by their types; and whether densities may be ``related`` to the first
    component's. They are if ``first``, the first component whose density is computed, is 1: slopes
    and constants are those of differences then, which lie behind the others (``differences.py``).
    """
    vector_type = vector_of(rows.dtype)
    d, m, n_known = len(columns), len(features), len(known)
    ways, products = groups_for(n_known, d, m), products_in(d, m)

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        pointers = [
            data_of(context, signature.args[i], arguments[i], builder)
            for i in (0, *range(10, len(arguments)))
        ]
        numbers = [*arguments[1:4], arguments[8]]
        vector = llvm_vector(vector_type)

        def add(way: type[Groups]) -> Any:
            return way(builder, vector, pointers, numbers, d, products, n_known).add()

        if len(ways) == 1:
            return add(ways[0])
        is_related = builder.icmp_signed("!=", arguments[9], index(0))
        return either(builder, is_related, lambda: add(ways[1]), lambda: add(ways[0]))

    size = types.intp
    tuples = (known, related, columns, features)
    parameters = (centre, slopes, constants, farthest, joint, weighted, sums, log_likelihood)
    return types.boolean(rows, size, size, size, *tuples, size, size, *parameters), codegen
