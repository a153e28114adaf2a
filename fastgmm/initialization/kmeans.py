"""k-means on the start rows: greedy k-means++ seeds, then Lloyd's iterations.

The draws are scikit-learn's: from the same RandomState the same rows become seeds, and on
well-separated data the same partition in the same order comes out.
"""

from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import numpy as np
from numpy.typing import NDArray

from fastgmm import kernels
from fastgmm._typing import Float64Array, FloatArray
from fastgmm.executors.threads import ThreadPlacement
from fastgmm.initialization.first_pass import StartRows
from fastgmm.initialization.partition import Hard, labels_partition, rows_partition
from fastgmm.initialization.seeding import placed, seed_rows, sketched
from fastgmm.sources import NO_WEIGHTS, ArraySource, Chunk

if TYPE_CHECKING:
    from fastgmm.kernels.clustering.assignment import Clustering

MAX_ITER = 300
TOLERANCE = 1e-4
"""scikit-learn's KMeans defaults; the tolerance is relative to the mean variance of a column."""


@dataclass
class ClusterSums:
    """What the rows of each cluster weigh and add up to."""

    counts: Float64Array
    """(k,)."""
    sums: Float64Array
    """(k, d)."""

    def means(self) -> Float64Array:
        """Return (k, d) means; zeros for clusters without rows."""
        counts = np.where(self.counts > 0, self.counts, 1.0)
        means: Float64Array = self.sums / counts[:, np.newaxis]
        return means

    def add(self, other: "ClusterSums") -> "ClusterSums":
        """Add the rows of another run."""
        self.counts += other.counts
        self.sums += other.sums
        return self


def kmeans_plus_plus(
    start: StartRows, n_components: int, random_state: np.random.RandomState, n_threads: int
) -> Hard:
    """Begin each component with one row, spread out by k-means++."""
    sketch = sketched(start, n_threads)
    return rows_partition(seed_rows(start, sketch, n_components, random_state, n_threads))


@np.errstate(over="ignore", invalid="ignore")  # rows whose squares are no numbers: EM will tell
def kmeans(
    start: StartRows, n_components: int, random_state: np.random.RandomState, n_threads: int
) -> Hard:
    """Begin each component with a cluster of k-means."""
    labels, _ = clusters(start, n_components, random_state, n_threads)
    return labels_partition(labels, n_components)


def clusters(
    start: StartRows, n_components: int, random_state: np.random.RandomState, n_threads: int
) -> tuple[NDArray[np.int32], FloatArray]:
    """Return labels (m,) and the centres (k, d) they are nearest to."""
    sketch = sketched(start, n_threads)
    away = sketch.sums.sum(axis=0) / len(start.rows)
    variances = sketch.squares.sum(axis=0) / len(start.rows) - away**2
    seeds = start.rows[seed_rows(start, sketch, n_components, random_state, n_threads)]
    shift = (sketch.shift + away).astype(seeds.dtype)
    tolerance = TOLERANCE * float(np.maximum(variances, 0.0).mean())
    placement, block_rows = placed(start, n_components, n_threads)
    with closing(placement):
        labels, centres = _lloyd(start, placement, block_rows, shift, seeds - shift, tolerance)
    return labels, centres + shift


def _lloyd(
    start: StartRows,
    placement: ThreadPlacement,
    block_rows: int,
    shift: FloatArray,
    centres: FloatArray,
    tolerance: float,
) -> tuple[NDArray[np.int32], FloatArray]:
    """Iterate until no label changes or the centres' movement is within the tolerance.

    Rows and centres are taken about the mean of the rows: sums far from the origin lose digits.
    """
    rows, n_blocks = start.rows, placement.grid.n_blocks
    weights = NO_WEIGHTS if start.weights is None else start.weights
    state = kernels.assignment.unassigned(len(rows), len(centres), n_blocks, rows.shape[1])
    drift = np.zeros(len(centres))

    def assign(centres: FloatArray) -> int:
        targets = kernels.assignment.centres_of(centres, shift, drift)

        def update(first: int, last: int) -> None:
            kernels.assignment.assign(rows, weights, targets, state, block_rows, first, last)

        placement.share(update, n_blocks)
        return int(state.changed.sum())

    for _ in range(MAX_ITER):
        if assign(centres) == 0:
            return state.labels, centres
        sums = _merged(state)
        _fill_empty_clusters(sums, placement, shift, centres, state.labels)
        moved = sums.means().astype(centres.dtype)
        ways = np.linalg.norm(moved.astype(np.float64) - centres, axis=1)
        drift += ways + _longest_of_others(ways)
        centres = moved
        if (ways**2).sum() <= tolerance:
            break
    assign(centres)
    return state.labels, centres


def _merged(state: "Clustering") -> ClusterSums:
    """Return the sums of all blocks, merged in pairs as along a tree."""
    counts, sums = state.counts.copy(), state.sums.copy()
    step = 1
    while step < len(counts):
        for part in (counts, sums):
            right = part[step :: 2 * step]
            part[:: 2 * step][: len(right)] += right
        step *= 2
    return ClusterSums(counts[0], sums[0])


def _longest_of_others(ways: Float64Array) -> Float64Array:
    """Return for each centre the longest way that any other has gone."""
    farthest = int(ways.argmax())
    others = np.full(len(ways), ways[farthest])
    but_that = ways.copy()
    but_that[farthest] = 0.0
    others[farthest] = but_that.max()
    return others


def _fill_empty_clusters(
    sums: ClusterSums,
    placement: ThreadPlacement,
    shift: FloatArray,
    centres: FloatArray,
    labels: NDArray[np.int32],
) -> None:
    """Move each empty cluster to one of the rows that are farthest from their centres."""
    empty = np.flatnonzero(sums.counts == 0)
    if len(empty) == 0:
        return

    def distances(chunk: Chunk) -> FloatArray:
        mine = labels[chunk.first_row : chunk.first_row + len(chunk.rows)]
        away = chunk.rows - shift - centres[mine]
        found: FloatArray = np.einsum("nd,nd->n", away, away)
        return np.where(chunk.weights > 0, found, -1.0) if chunk.weights.size else found

    apart = np.concatenate(list(placement.map(distances)))
    farthest = np.argsort(-apart, kind="stable")[: len(empty)]
    source = cast(ArraySource, placement.source)
    for k, n in zip(empty, farthest, strict=True):
        weight = 1.0 if source.weights is None else source.weights[n]
        row = source.array[n] - shift
        sums.sums[labels[n]] -= weight * row
        sums.counts[labels[n]] -= weight
        sums.sums[k] = weight * row
        sums.counts[k] = weight
