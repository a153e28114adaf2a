"""A pass of Lloyd's iteration: rows go to their nearest centres, the sums of clusters follow."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastgmm._jit import kernel
from fastgmm._typing import Float64Array, FloatArray, IntArray
from fastgmm.kernels.clustering.bits import count_bits, first_bit
from fastgmm.kernels.clustering.bounds import any_below, label_chunk, unsure_rows
from fastgmm.kernels.clustering.chunks import columns_for, load_chosen, padded
from fastgmm.kernels.clustering.distances import DIFFERENCES
from fastgmm.kernels.clustering.nearest import (
    CENTRES,
    find_nearest,
    nearest_by_differences,
    tell_apart,
)
from fastgmm.kernels.columns import chunk_rows, load_about
from fastgmm.kernels.memory import aligned, fill


class Centres(NamedTuple):
    """What rows are assigned to: centres in whole blocks, and how far they have ever moved."""

    shift: FloatArray
    """(d,) what rows and centres are taken about: somewhere among the rows, so that products keep
    their digits."""
    numbers: FloatArray
    """(blocks, d), less the shift."""
    starts: FloatArray
    """(blocks,) of each score; infinite behind the last centre."""
    drift: NDArray[np.float32]
    """(k,) what a row's slack shrinks by: the sum of all movements of its own centre, and of the
    longest of any other centre."""
    limits: NDArray[np.float32]
    """(k + 1,) the same, rounded up; rows in no cluster yet, the last, are always looked at."""


def centres_of(centres: FloatArray, shift: FloatArray, drift: Float64Array) -> Centres:
    """Return centres (k, d), less the shift, as ``assign`` takes them."""
    k, d = centres.shape
    blocks = np.zeros((-(-k // CENTRES) * CENTRES, d), centres.dtype)
    starts = np.full(len(blocks), np.inf, centres.dtype)
    blocks[:k] = centres
    starts[:k] = 0.0 if d <= DIFFERENCES else 0.5 * (centres.astype(np.float64) ** 2).sum(axis=1)
    limits = np.full(k + 1, np.inf, np.float32)
    # a slack and the drift in it are rounded, too
    limits[:k] = np.nextafter((drift * (1 + 2.0**-21)).astype(np.float32), np.float32(np.inf))
    return Centres(shift, blocks, starts, drift.astype(np.float32), limits)


class Clustering(NamedTuple):
    """Which cluster each row is in, how surely, and what those of each block add up to."""

    labels: NDArray[np.int32]
    """(n,); k where a row has none yet."""
    slack: NDArray[np.float32]
    """(n,) a row keeps its label while the drift of its cluster is less."""
    changed: IntArray
    """(blocks,) rows that have changed their cluster in the last pass."""
    members: IntArray
    """(blocks, k) rows that weigh anything: sums of none are zero, whatever was added and taken."""
    counts: Float64Array
    """(blocks, k)."""
    sums: Float64Array
    """(blocks, k, d) less the shift; or (blocks, k, 0): nobody asks."""


def unassigned(n_rows: int, n_centres: int, n_blocks: int, d: int) -> Clustering:
    """Return rows that are in no cluster."""
    return Clustering(
        np.full(n_rows, n_centres, np.int32),
        np.full(n_rows, -np.inf, np.float32),
        np.zeros(n_blocks, np.int64),
        np.zeros((n_blocks, n_centres), np.int64),
        np.zeros((n_blocks, n_centres)),
        np.zeros((n_blocks, n_centres, d)),
    )


@kernel
def assign(
    rows: Any,
    weights: Any,
    centres: Any,
    clusters: Any,
    block_rows: int,
    first: int,
    last: int,
) -> None:
    """Bring the labels and sums of the blocks ``first`` to ``last`` (excluded) up to date.

    Ties go to the lower index. A row is looked at again when its own centre and any other may have
    come as near to each other as it lay between them (Hamerly 2010, with one number a row: what
    there was between the two nearest centres and how far these had moved by then).
    """
    n_rows, d = rows.shape
    shift, numbers, starts, drift, limits = centres
    labels, slack, changed, members, counts, sums = clusters
    flat, targets = rows.reshape(rows.size), numbers.reshape(numbers.size)
    flat_members, flat_counts = members.reshape(members.size), counts.reshape(counts.size)
    flat_sums = sums.reshape(sums.size)
    run = chunk_rows(flat)
    n_blocks, n_centres, n_sums = starts.size // CENTRES, drift.size, sums.shape[2]
    columns, origin = columns_for(d, flat), padded(shift)
    nearest, second, which = aligned(run, flat), aligned(run, flat), aligned(run, flat)
    gaps, row = aligned(run, slack), np.zeros(d, rows.dtype)
    old, new, sure = aligned(run, labels), aligned(run, labels), aligned(run, slack)
    fill(old, 0, run, 0)
    chosen = np.zeros(2 * run, np.int64)
    margin = rows.dtype.type(12 * (d + 2) * np.finfo(rows.dtype).eps)
    highest = limits[0]
    for c in range(1, n_centres):
        highest = max(highest, limits[c])
    # of few columns a row alone costs as much as four in vectors
    alone = 4 if d <= DIFFERENCES else 1
    for block in range(first, last):
        t, end = block * block_rows, min((block + 1) * block_rows, n_rows)
        n_chosen = n_changed = 0
        while t < end or n_chosen > 0:
            whole, start = False, t
            if t + run <= end:
                if any_below(flat, slack, highest, t):
                    unsure = unsure_rows(flat, slack, labels, limits, n_centres + 1, t)
                    whole = count_bits(unsure) * alone >= run
                    while unsure != 0 and not whole:
                        chosen[n_chosen] = t + first_bit(unsure)
                        n_chosen += 1
                        unsure &= unsure - np.uint64(1)
            else:
                for n in range(t, end):
                    chosen[n_chosen] = n
                    n_chosen += 1
            t += run
            if not whole and (n_chosen == 0 or (n_chosen < run and t < end)):
                continue
            size = run if whole else min(run, n_chosen)
            if whole:
                load_about(flat, d, start, run, run, origin, columns, 0, run)
            else:
                load_chosen(flat, d, chosen, size, origin, columns)
            if d <= DIFFERENCES:
                find_nearest(
                    columns, run, d, targets, starts, n_blocks, True, nearest, second, which
                )
                tell_apart(columns, run, d, margin, True, nearest, second, gaps)
            else:
                find_nearest(
                    columns, run, d, targets, starts, n_blocks, False, nearest, second, which
                )
                close = tell_apart(columns, run, d, margin, False, nearest, second, gaps)
                while close != 0:
                    i = first_bit(close)
                    for j in range(d):
                        row[j] = columns[j * run + i]
                    which[i] = nearest_by_differences(row, targets, starts)
                    close &= close - np.uint64(1)
            if whole:
                moved = label_chunk(which, gaps, drift, n_centres, labels, slack, start, old)
            else:
                for i in range(size):
                    new[i] = labels[chosen[i]]
                moved = label_chunk(which, gaps, drift, n_centres, new, sure, 0, old)
                for i in range(size):
                    labels[chosen[i]] = new[i]
                    slack[chosen[i]] = sure[i]
                moved &= ~np.uint64(0) >> np.uint64(64 - size)
            while moved != 0:
                i = first_bit(moved)
                moved &= moved - np.uint64(1)
                n_changed += 1
                n = start + i if whole else chosen[i]
                weight = 1.0 if weights.size == 0 else weights[n]
                weighs = 1 if weight > 0 else 0
                at = block * n_centres + np.int64(which[i])
                flat_members[at] += weighs
                flat_counts[at] += weight
                at *= n_sums
                for j in range(n_sums):
                    flat_sums[at + j] += weight * columns[j * run + i]
                if old[i] < n_centres:
                    at = block * n_centres + old[i]
                    flat_members[at] -= weighs
                    kept = 1.0 if flat_members[at] > 0 else 0.0
                    flat_counts[at] = kept * (flat_counts[at] - weight)
                    at *= n_sums
                    for j in range(n_sums):
                        less = flat_sums[at + j] - weight * columns[j * run + i]
                        flat_sums[at + j] = kept * less
            if not whole:
                n_chosen -= size
                for i in range(run):
                    chosen[i] = chosen[run + i]
        changed[block] = n_changed
