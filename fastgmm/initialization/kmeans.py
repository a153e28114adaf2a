"""k-means on the start rows: greedy k-means++ seeds, then Lloyd's iterations.

The draws are scikit-learn's: from the same RandomState the same rows become seeds, and on
well-separated data the same partition in the same order comes out.
"""

from dataclasses import dataclass

import numpy as np

from fastgmm import kernels
from fastgmm._typing import Float64Array, FloatArray, IntArray
from fastgmm.executors import ThreadExecutor
from fastgmm.executors.threads import ThreadPlacement
from fastgmm.initialization.first_pass import StartRows
from fastgmm.initialization.partition import Hard, labels_partition, rows_partition
from fastgmm.sources import ArraySource, Chunk

MAX_ITER = 300
TOLERANCE = 1e-4
"""scikit-learn's KMeans defaults; the tolerance is relative to the mean variance of a column."""


@dataclass(frozen=True)
class _Potentials:
    """The inertia that each candidate would leave, given the distances to the centres so far."""

    candidates: FloatArray
    closest: Float64Array
    level: int = 0

    def start(self) -> Float64Array:
        return np.zeros(len(self.candidates))

    def accumulate(self, state: Float64Array, chunk: Chunk) -> Float64Array:
        closest = self.closest[chunk.first_row : chunk.first_row + len(chunk.rows)]
        kernels.kmeans.candidate_potentials(
            chunk.rows, chunk.weights, self.candidates, closest, state
        )
        return state

    def merge(self, left: Float64Array, right: Float64Array) -> Float64Array:
        left += right
        return left


@dataclass(frozen=True)
class _Closest:
    """Lower every row's distance to its nearest centre by one more centre; sum the weighted."""

    centre: FloatArray
    closest: Float64Array
    level: int = 0

    def start(self) -> Float64Array:
        return np.zeros(1)

    def accumulate(self, state: Float64Array, chunk: Chunk) -> Float64Array:
        closest = self.closest[chunk.first_row : chunk.first_row + len(chunk.rows)]
        kernels.kmeans.update_closest(chunk.rows, self.centre, closest)
        state += (closest * chunk.weights).sum() if chunk.weights.size else closest.sum()
        return state

    def merge(self, left: Float64Array, right: Float64Array) -> Float64Array:
        left += right
        return left


@dataclass
class _Sums:
    counts: Float64Array
    sums: Float64Array
    changed: int


@dataclass(frozen=True)
class _Assignment:
    """Assign the rows to their nearest centres, into ``labels`` and ``distances``; sum them up."""

    centres: FloatArray
    labels: IntArray
    distances: Float64Array
    level: int = 0

    def start(self) -> _Sums:
        return _Sums(np.zeros(len(self.centres)), np.zeros(self.centres.shape), 0)

    def accumulate(self, state: _Sums, chunk: Chunk) -> _Sums:
        mine = slice(chunk.first_row, chunk.first_row + len(chunk.rows))
        state.changed += kernels.kmeans.assign(
            chunk.rows,
            chunk.weights,
            self.centres,
            self.labels[mine],
            self.distances[mine],
            state.counts,
            state.sums,
        )
        return state

    def merge(self, left: _Sums, right: _Sums) -> _Sums:
        left.counts += right.counts
        left.sums += right.sums
        left.changed += right.changed
        return left


def _seeds(
    placement: ThreadPlacement,
    start: StartRows,
    n_components: int,
    random_state: np.random.RandomState,
) -> IntArray:
    """Choose rows as seeds: each the best of 2 + log k candidates drawn by squared distance.

    Greedy k-means++ (Arthur and Vassilvitskii 2007), with the draws that scikit-learn makes.
    """
    n_samples = len(start.rows)
    weights = np.ones(n_samples) if start.weights is None else start.weights
    n_candidates = 2 + int(np.log(n_components))
    closest = np.full(n_samples, np.inf)
    seeds = np.empty(n_components, np.int64)
    seeds[0] = random_state.choice(n_samples, p=weights / weights.sum())
    for k in range(1, n_components):
        (potential,) = placement.reduce([_Closest(start.rows[seeds[k - 1]], closest)])
        drawn = random_state.uniform(size=n_candidates) * potential[0]
        candidates = np.searchsorted(np.cumsum(weights * closest), drawn)
        np.clip(candidates, None, n_samples - 1, out=candidates)
        (potentials,) = placement.reduce([_Potentials(start.rows[candidates], closest)])
        seeds[k] = candidates[np.argmin(potentials)]
    return seeds


def _centred(start: StartRows) -> StartRows:
    """Move the rows to their mean: sums of rows far from the origin would lose digits."""
    return start._replace(rows=start.rows - start.rows.mean(axis=0))


def kmeans_plus_plus(
    start: StartRows, n_components: int, random_state: np.random.RandomState, n_threads: int
) -> Hard:
    """Begin each component with one row, spread out by k-means++."""
    placement = ThreadExecutor(n_threads).place(ArraySource(start.rows, start.weights))
    try:
        return rows_partition(_seeds(placement, start, n_components, random_state))
    finally:
        placement.close()


@np.errstate(over="ignore", invalid="ignore")  # rows whose squares are no numbers: EM will tell
def kmeans(
    start: StartRows, n_components: int, random_state: np.random.RandomState, n_threads: int
) -> Hard:
    """Begin each component with a cluster of k-means."""
    # column by column, as rows.var() would make another copy of them all
    tolerance = TOLERANCE * float(np.mean([column.var() for column in start.rows.T]))
    start = _centred(start)
    placement = ThreadExecutor(n_threads).place(ArraySource(start.rows, start.weights))
    try:
        centres = start.rows[_seeds(placement, start, n_components, random_state)]
        labels = _lloyd(placement, start, centres, tolerance)
    finally:
        placement.close()
    return labels_partition(labels, n_components)


def _lloyd(
    placement: ThreadPlacement, start: StartRows, centres: FloatArray, tolerance: float
) -> IntArray:
    """Iterate until no label changes or the centres' movement is within the tolerance."""
    labels = np.full(len(start.rows), -1, np.int64)
    distances = np.empty(len(start.rows))
    for _ in range(MAX_ITER):
        (sums,) = placement.reduce([_Assignment(centres, labels, distances)])
        if sums.changed == 0:
            return labels
        moved = _new_centres(sums, start, labels, distances)
        shift = float(((moved - centres) ** 2).sum())
        centres = moved
        if shift <= tolerance:
            break
    placement.reduce([_Assignment(centres, labels, distances)])
    return labels


def _new_centres(
    sums: _Sums, start: StartRows, labels: IntArray, distances: Float64Array
) -> FloatArray:
    """Return the clusters' means; an empty cluster moves to the row farthest from its centre."""
    empty = np.flatnonzero(sums.counts == 0)
    if len(empty):
        if start.weights is not None:
            distances = np.where(start.weights > 0, distances, -1.0)
        farthest = np.argsort(distances, kind="stable")[: -len(empty) - 1 : -1]
        for k, n in zip(empty, farthest, strict=True):
            weight = 1.0 if start.weights is None else start.weights[n]
            sums.sums[labels[n]] -= weight * start.rows[n]
            sums.counts[labels[n]] -= weight
            sums.sums[k] = weight * start.rows[n]
            sums.counts[k] = weight
    counts = np.where(sums.counts > 0, sums.counts, 1.0)
    means: FloatArray = (sums.sums / counts[:, np.newaxis]).astype(start.rows.dtype)
    return means
