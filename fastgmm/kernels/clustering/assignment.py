"""A pass of Lloyd's iteration: rows go to their nearest centres, the sums of clusters follow."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastgmm._jit import kernel, maker, part
from fastgmm._typing import Float64Array, FloatArray, IntArray
from fastgmm.kernels.clustering.bits import BITS, EVERY, count_bits, first_bit
from fastgmm.kernels.clustering.bounds import any_below, label_chunk, unsure_rows
from fastgmm.kernels.clustering.chunks import columns_for, load_chosen, weight_of
from fastgmm.kernels.clustering.distances import DIFFERENCES
from fastgmm.kernels.clustering.nearest import (
    CENTRES,
    find_nearest,
    nearest_by_differences,
    tell_apart,
)
from fastgmm.kernels.columns import chunk_rows, load_about
from fastgmm.kernels.memory import aligned, flattened


class Centres(NamedTuple):
    """What rows are assigned to: centres in whole blocks, and how far they have ever moved."""

    shift: FloatArray
    """(d,) what rows and centres are taken about: somewhere among the rows, so that products keep
    their digits."""
    numbers: FloatArray
    """(blocks d,), less the shift."""
    starts: FloatArray
    """(blocks,) of each score; infinite behind the last centre."""
    margin: np.floating[Any]
    """What rounding can make of a score, as ``tell_apart`` takes it."""
    drift: NDArray[np.float32]
    """(k,) what a row's slack shrinks by: the sum of all movements of its own centre, and of the
    longest of any other centre."""
    limits: NDArray[np.float32]
    """(k + 1,) the same, rounded up; rows in no cluster yet, the last, are always looked at."""
    highest: np.float32
    """The highest limit of a cluster."""


def centres_of(centres: FloatArray, shift: FloatArray, drift: Float64Array) -> Centres:
    """Return centres (k, d), less the shift, as ``assign`` takes them."""
    (k, d), dtype = centres.shape, centres.dtype
    blocks = np.zeros((-(-k // CENTRES) * CENTRES, d), dtype)
    starts = np.full(len(blocks), np.inf, dtype)
    blocks[:k] = centres
    starts[:k] = 0.0 if d <= DIFFERENCES else 0.5 * (centres.astype(np.float64) ** 2).sum(axis=1)
    margin = dtype.type(12 * (d + 2) * np.finfo(dtype).eps)
    limits = np.full(k + 1, np.inf, np.float32)
    # a slack and the drift in it are rounded, too
    limits[:k] = np.nextafter((drift * (1 + 2.0**-21)).astype(np.float32), np.float32(np.inf))
    return Centres(
        shift, blocks.ravel(), starts, margin, drift.astype(np.float32), limits, limits[:k].max()
    )


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


class Chunk(NamedTuple):
    """A chunk of rows and what is found of them, on the way to their labels."""

    columns: Any
    """(d, rows)."""
    nearest: Any
    """(rows,) the lowest score."""
    second: Any
    """(rows,) the second lowest."""
    which: Any
    """(rows,) whose the lowest is."""
    gaps: Any
    """(rows,) how much farther the second nearest centre is, at least."""
    old: Any
    """(rows,) the labels up to now."""
    row: Any
    """(d,) one of them."""


@maker
def chunk_of(d: int, like: Any, clusters: Any) -> Chunk:
    """Return room for a chunk."""
    run = chunk_rows(like)
    return Chunk(
        columns_for(d, like),
        aligned(run, like),
        aligned(run, like),
        aligned(run, like),
        aligned(run, clusters.slack),
        aligned(run, clusters.labels),
        aligned(d, like),
    )


@part
def unsure_of(rows: Any, clusters: Any, centres: Any, first: int, size: int) -> Any:
    """Return a bit for each of a chunk's rows that is to be looked at: all at the end of a block.

    A row is looked at again when its own centre and any other may have come as near to each other
    as it lay between them.
    """
    if size < chunk_rows(rows):
        return EVERY >> np.uint64(BITS - size)
    if any_below(rows, clusters.slack, centres.highest, first):
        return unsure_rows(
            rows, clusters.slack, clusters.labels, centres.limits, centres.limits.size, first
        )
    return np.uint64(0)


@part
def search(chunk: Any, d: int, run: int, centres: Any) -> None:
    """Find the nearest centre of each row of a chunk, of equal ones the first, and the gap."""
    columns, nearest, second, which, gaps, _, row = chunk
    numbers, starts = centres.numbers, centres.starts
    n_blocks = starts.size // CENTRES
    if d <= DIFFERENCES:
        find_nearest(columns, run, d, numbers, starts, n_blocks, True, nearest, second, which)
        tell_apart(columns, run, d, centres.margin, True, nearest, second, gaps)
        return
    find_nearest(columns, run, d, numbers, starts, n_blocks, False, nearest, second, which)
    close = tell_apart(columns, run, d, centres.margin, False, nearest, second, gaps)
    while close != 0:
        i = first_bit(close)
        close &= close - np.uint64(1)
        for j in range(d):
            row[j] = columns[j * run + i]
        which[i] = nearest_by_differences(row, numbers, starts)


@part
def move(
    clusters: Any, block: int, chunk: Any, i: int, run: int, n_sums: int, weight: float
) -> None:
    """Take row i of a chunk from the sums of its old cluster to those of its new one."""
    members, counts = flattened(clusters.members), flattened(clusters.counts)
    sums, columns = flattened(clusters.sums), chunk.columns
    n_centres = clusters.counts.shape[1]
    weighs = 1 if weight > 0 else 0
    at = block * n_centres + np.int64(chunk.which[i])
    members[at] += weighs
    counts[at] += weight
    at *= n_sums
    for j in range(n_sums):
        sums[at + j] += weight * columns[j * run + i]
    if chunk.old[i] < n_centres:
        at = block * n_centres + chunk.old[i]
        members[at] -= weighs
        kept = 1.0 if members[at] > 0 else 0.0
        counts[at] = kept * (counts[at] - weight)
        at *= n_sums
        for j in range(n_sums):
            less = sums[at + j] - weight * columns[j * run + i]
            sums[at + j] = kept * less


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

    Ties go to the lower index. Chunks of which many rows are unsure are searched as they are; of
    others the unsure rows are gathered, until they fill a chunk.
    """
    n_rows, d = rows.shape
    labels, slack, drift = clusters.labels, clusters.slack, centres.drift
    n_centres, n_sums = drift.size, clusters.sums.shape[2]
    flat = flattened(rows)
    run = chunk_rows(flat)
    chunk = chunk_of(d, flat, clusters)
    new, sure = aligned(run, labels), aligned(run, slack)
    chosen = aligned(2 * run, clusters.changed)
    # of few columns a row alone costs as much as four in vectors
    alone = 4 if d <= DIFFERENCES else 1
    for block in range(first, last):
        t, end = block * block_rows, min((block + 1) * block_rows, n_rows)
        n_chosen = n_changed = 0
        while t < end or n_chosen > 0:
            whole, start = False, t
            if t < end:
                unsure = unsure_of(flat, clusters, centres, t, end - t)
                whole = t + run <= end and count_bits(unsure) * alone >= run
                while unsure != 0 and not whole:
                    chosen[n_chosen] = t + first_bit(unsure)
                    n_chosen += 1
                    unsure &= unsure - np.uint64(1)
            t += run
            if not whole and (n_chosen == 0 or (n_chosen < run and t < end)):
                continue
            size = run if whole else min(run, n_chosen)
            if whole:
                load_about(flat, d, start, run, run, centres.shift, chunk.columns, 0, run)
            else:
                load_chosen(flat, d, chosen, size, centres.shift, chunk.columns)
            search(chunk, d, run, centres)
            if whole:
                moved = label_chunk(
                    chunk.which, chunk.gaps, drift, n_centres, labels, slack, start, chunk.old
                )
            else:
                for i in range(size):
                    new[i] = labels[chosen[i]]
                moved = label_chunk(
                    chunk.which, chunk.gaps, drift, n_centres, new, sure, 0, chunk.old
                )
                for i in range(size):
                    labels[chosen[i]] = new[i]
                    slack[chosen[i]] = sure[i]
                moved &= EVERY >> np.uint64(BITS - size)
            n_changed += count_bits(moved)
            while moved != 0:
                i = first_bit(moved)
                moved &= moved - np.uint64(1)
                n = start + i if whole else chosen[i]
                move(clusters, block, chunk, i, run, n_sums, weight_of(weights, n))
            if not whole:
                n_chosen -= size
                for i in range(run):
                    chosen[i] = chosen[run + i]
        clusters.changed[block] = n_changed
