"""k-means on the start rows: greedy k-means++ seeds, then Lloyd's iterations.

The draws are scikit-learn's: from the same RandomState the same rows become seeds, and on
well-separated data the same partition in the same order comes out.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import cast

import numpy as np
from numpy.typing import NDArray

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


BLOCK_PRODUCTS = 2**21
"""Products of a row's and a centre's number that a block is worth: about 0.2 ms."""


def _place(start: StartRows, n_centres: int, n_threads: int) -> ThreadPlacement:
    """Place the rows in blocks that are worth handing out when so many centres meet them."""
    source = ArraySource(start.rows, start.weights)
    n_samples, d = start.rows.shape
    wanted = max(n_samples * d * n_centres // BLOCK_PRODUCTS, 1)
    if source.grid(None).n_blocks <= wanted:
        return ThreadExecutor(n_threads).place(source)
    # whole vectors in every block
    chunk_size = -(-n_samples // (128 * wanted)) * 128
    return ThreadExecutor(min(n_threads, wanted)).place(source, chunk_size)


@dataclass(frozen=True)
class _Potentials:
    """The inertia that each candidate would leave, given the distances to the centres so far."""

    candidates: FloatArray
    closest: FloatArray
    nearer: NDArray[np.uint16]
    level: int = 0

    def start(self) -> Float64Array:
        return np.zeros(len(self.candidates))

    def accumulate(self, state: Float64Array, chunk: Chunk) -> Float64Array:
        rows, first = chunk.rows, chunk.first_row
        closest = self.closest[first : first + len(rows)]
        kernels.kmeans.candidate_potentials(
            rows, chunk.weights, self.candidates, closest, self.nearer, first, state
        )
        return state

    def merge(self, left: Float64Array, right: Float64Array) -> Float64Array:
        left += right
        return left


@dataclass
class ClusterSums:
    """What the rows of each cluster weigh and add up to."""

    counts: Float64Array
    """(k,)."""
    sums: Float64Array
    """(k, d)."""
    changed: int
    """How many rows have changed their cluster."""

    def means(self) -> Float64Array:
        """Return (k, d) means; zeros for clusters without rows."""
        counts = np.where(self.counts > 0, self.counts, 1.0)
        means: Float64Array = self.sums / counts[:, np.newaxis]
        return means


@dataclass(frozen=True)
class Assignment:
    """Assign the rows, less ``shift``, to their nearest centres; add them up."""

    shift: FloatArray
    centres: FloatArray
    """(k, d), less the shift, too."""
    labels: NDArray[np.int32] | None = None
    """(n,) where the labels go; None: nobody keeps them."""
    level: int = 0

    @cached_property
    def _searched(self) -> tuple[FloatArray, FloatArray]:
        return kernels.kmeans.searched(self.centres)

    def start(self) -> ClusterSums:
        """Return no rows."""
        return ClusterSums(np.zeros(len(self.centres)), np.zeros(self.centres.shape), 0)

    def accumulate(self, state: ClusterSums, chunk: Chunk) -> ClusterSums:
        """Add a chunk."""
        k, d = self.centres.shape
        at_once = kernels.kmeans.adds_up_at_once(k, d, chunk.weights)
        counts, sums = (state.counts, state.sums) if at_once else _NOTHING
        if self.labels is None:
            labels = np.full(len(chunk.rows), -1, np.int32)
        else:
            labels = self.labels[chunk.first_row : chunk.first_row + len(chunk.rows)]
        state.changed += kernels.kmeans.label_rows(
            chunk.rows, self.shift, *self._searched, labels, counts, sums
        )
        if not at_once:
            kernels.kmeans.add_up(
                chunk.rows, chunk.weights, self.shift, labels, state.counts, state.sums
            )
        return state

    def nearest(self, chunk: Chunk) -> NDArray[np.int32]:
        """Return (t,) the nearest centre of each row of a chunk."""
        labels = np.full(len(chunk.rows), -1, np.int32)
        kernels.kmeans.label_rows(chunk.rows, self.shift, *self._searched, labels, *_NOTHING)
        return labels

    def merge(self, left: ClusterSums, right: ClusterSums) -> ClusterSums:
        """Add."""
        left.counts += right.counts
        left.sums += right.sums
        left.changed += right.changed
        return left


_NOTHING = np.empty(0), np.empty((0, 0))


def seed_rows(
    start: StartRows, n_components: int, random_state: np.random.RandomState, n_threads: int
) -> IntArray:
    """Choose rows as seeds: each the best of 2 + log k candidates drawn by squared distance.

    Greedy k-means++ (Arthur and Vassilvitskii 2007), with the draws that scikit-learn makes.
    """
    rows, n_samples = start.rows, len(start.rows)
    n_candidates = 2 + int(np.log(n_components))
    closest = np.full(n_samples, np.inf, rows.dtype)
    nearer = kernels.kmeans.nearer_bits(n_candidates, n_samples, rows.dtype)
    n_chunks = kernels.kmeans.chunks_of(n_samples, rows.dtype)
    mass = np.empty(n_samples)
    seeds = np.empty(n_components, np.int64)
    placement = _place(start, n_candidates, n_threads)

    def choose(k: int, candidates: IntArray) -> float:
        (potentials,) = placement.reduce([_Potentials(rows[candidates], closest, nearer)])
        best = int(np.argmin(potentials))
        seeds[k] = candidates[best]

        def lower(first: int, last: int) -> None:
            kernels.kmeans.lower_closest(rows, rows[seeds[k]], nearer[best], first, last, closest)

        placement.share(lower, n_chunks)
        return float(potentials[best])

    try:
        # as random_state.choice draws with chances, without its checks (50 ms a million rows)
        mass[:] = 1.0 if start.weights is None else start.weights
        np.cumsum(np.divide(mass, mass.sum(), out=mass), out=mass)
        mass /= mass[-1]
        potential = choose(0, mass.searchsorted(random_state.random_sample(1), side="right"))
        for k in range(1, n_components):
            drawn = random_state.uniform(size=n_candidates) * potential
            np.multiply(closest, 1.0 if start.weights is None else start.weights, out=mass)
            candidates = np.searchsorted(np.cumsum(mass, out=mass), drawn)
            potential = choose(k, np.minimum(candidates, n_samples - 1))
    finally:
        placement.close()
    return seeds


def kmeans_plus_plus(
    start: StartRows, n_components: int, random_state: np.random.RandomState, n_threads: int
) -> Hard:
    """Begin each component with one row, spread out by k-means++."""
    return rows_partition(seed_rows(start, n_components, random_state, n_threads))


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
    shift, variance = _centre(start, n_threads)
    seeds = start.rows[seed_rows(start, n_components, random_state, n_threads)]
    placement = _place(start, n_components, n_threads)
    try:
        labels, centres = _lloyd(placement, shift, seeds - shift, TOLERANCE * variance)
    finally:
        placement.close()
    return labels, centres + shift


def _centre(start: StartRows, n_threads: int) -> tuple[FloatArray, float]:
    """Return the mean of the rows, whatever their weights, and the mean variance of a column."""
    rows, (n_samples, d) = start.rows, start.rows.shape
    placement = _place(StartRows(rows, None), 1, n_threads)
    nobody = np.full(n_samples, np.inf, rows.dtype)
    bits = kernels.kmeans.nearer_bits(1, n_samples, rows.dtype)
    try:
        # about one of them, so that nothing cancels far from the origin
        labels = np.zeros(n_samples, np.int32)
        (sums,) = placement.reduce([Assignment(rows[0], np.zeros_like(rows[:1]), labels)])
        mean = (rows[0] + sums.sums[0] / n_samples).astype(rows.dtype)
        (inertia,) = placement.reduce([_Potentials(mean[np.newaxis], nobody, bits)])
    finally:
        placement.close()
    return mean, float(inertia[0]) / (n_samples * d)


def _lloyd(
    placement: ThreadPlacement, shift: FloatArray, centres: FloatArray, tolerance: float
) -> tuple[NDArray[np.int32], FloatArray]:
    """Iterate until no label changes or the centres' movement is within the tolerance.

    Rows and centres are taken about the mean of the rows: sums far from the origin lose digits.
    """
    labels = np.full(placement.grid.n_samples, -1, np.int32)
    for _ in range(MAX_ITER):
        (sums,) = placement.reduce([Assignment(shift, centres, labels)])
        if sums.changed == 0:
            return labels, centres
        _fill_empty_clusters(sums, placement, shift, centres, labels)
        moved = sums.means().astype(centres.dtype)
        distance = float(((moved - centres) ** 2).sum())
        centres = moved
        if distance <= tolerance:
            break
    placement.reduce([Assignment(shift, centres, labels)])
    return labels, centres


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
