"""k-means over all rows without a number kept for any of them: k-means|| on any executor.

Bahmani et al. 2012. Every pass draws a few rows, the farther from the centres so far the likelier,
by keys that are hashes of the global row index: the same rows on any executor. Weighed by the rows
nearest to them they are clustered by k-means; passes of Lloyd's iterations and one over the moments
of the clusters follow. All starts ride on the same passes.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from fastgmm import kernels
from fastgmm._typing import Float64Array, FloatArray
from fastgmm.covariance import FAMILIES, Density
from fastgmm.executors import Placement, Work
from fastgmm.expectation import ExpectationStep, leaf_level
from fastgmm.initialization.constants import ColumnMoments
from fastgmm.initialization.first_pass import StartRows
from fastgmm.initialization.gathering import Gathered, smallest
from fastgmm.initialization.kmeans import TOLERANCE, ClusterSums, clusters
from fastgmm.initialization.partition import density_about, joined
from fastgmm.maximization import maximum_likelihood
from fastgmm.parameters import Parameters
from fastgmm.sources import Chunk
from fastgmm.statistics import Statistics, merge, zeros

if TYPE_CHECKING:
    from fastgmm.kernels.clustering.assignment import Centres, Clustering

Read: TypeAlias = Callable[[Sequence[Work[Any]]], list[Any]]
"""Runs works over all rows and returns their merged states."""

ROUNDS = 5
"""Passes that draw rows, each as many as there are components: with five the paper's starts are as
good as k-means++'s."""

LLOYD_PASSES = 10
"""Lloyd's iterations at most: EM itself goes on from there, and a pass of it costs little more."""


@dataclass(frozen=True)
class Assignment:
    """Assign the rows, less ``shift``, to their nearest centres; add them up."""

    shift: FloatArray
    centres: FloatArray
    """(k, d), less the shift, too."""
    level: int = 0

    @cached_property
    def _targets(self) -> "Centres":
        return kernels.assignment.centres_of(self.centres, self.shift, np.zeros(len(self.centres)))

    def _assigned(self, chunk: Chunk, n_sums: int) -> "Clustering":
        """Return the clusters of a chunk's rows and the sums of so many columns."""
        found = kernels.assignment.unassigned(len(chunk.rows), len(self.centres), 1, n_sums)
        kernels.assignment.assign(
            chunk.rows, chunk.weights, self._targets, found, len(chunk.rows), 0, 1
        )
        return found

    def start(self) -> ClusterSums:
        """Return no rows."""
        return ClusterSums(np.zeros(len(self.centres)), np.zeros(self.centres.shape))

    def accumulate(self, state: ClusterSums, chunk: Chunk) -> ClusterSums:
        """Add a chunk."""
        found = self._assigned(chunk, self.centres.shape[1])
        return state.add(ClusterSums(found.counts[0], found.sums[0]))

    def nearest(self, chunk: Chunk) -> NDArray[np.int32]:
        """Return (t,) the nearest centre of each row of a chunk."""
        return self._assigned(chunk, 0).labels

    def merge(self, left: ClusterSums, right: ClusterSums) -> ClusterSums:
        """Add."""
        return left.add(right)


@dataclass(frozen=True)
class _Drawing:
    """Gather the rows with the smallest keys, drawn in proportion to weight times distance.

    A key is exponential, over the weight and the squared distance to the nearest centre (Efraimidis
    and Spirakis 2006). Without centres every row is equally far.
    """

    limit: int
    seed: int
    nearest: Assignment | None
    level: int = 0

    def start(self) -> Gathered:
        return Gathered()

    def accumulate(self, state: Gathered, chunk: Chunk) -> Gathered:
        keys = np.empty(len(chunk.rows))
        kernels.rows.sampling_keys(np.uint64(self.seed), chunk.first_row, chunk.weights, keys)
        if self.nearest is not None:
            away = chunk.rows - self.nearest.shift
            away -= self.nearest.centres[self.nearest.nearest(chunk)]
            # rows of weight zero have infinite keys, and may lie anywhere
            with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
                keys /= np.einsum("nd,nd->n", away, away)  # a centre itself: never again
        possible = np.flatnonzero(np.isfinite(keys))
        drawn = possible[smallest(keys[possible], self.limit)]
        state.rows.append(chunk.rows[drawn])
        state.keys.append(keys[drawn])
        return state.thinned(self.limit)

    def merge(self, left: Gathered, right: Gathered) -> Gathered:
        return left.extend(right).thinned(self.limit)


@dataclass(frozen=True)
class _Moments:
    """The statistics of each cluster's own rows about its centre: n d^2 operations, not n k d^2."""

    covariance_type: str
    nearest: Assignment
    densities: Sequence[Density]
    """One component each, about a centre."""
    level: int

    @cached_property
    def _steps(self) -> list[ExpectationStep]:
        return [ExpectationStep(self.covariance_type, one, 0) for one in self.densities]

    def start(self) -> list[Statistics]:
        d = self.nearest.centres.shape[1]
        second = FAMILIES[self.covariance_type].second_shape(1, d)
        return [zeros(1, d, second) for _ in self.densities]

    def accumulate(self, state: list[Statistics], chunk: Chunk) -> list[Statistics]:
        labels = self.nearest.nearest(chunk)
        order = np.argsort(labels, kind="stable")
        cuts = np.searchsorted(labels[order], np.arange(len(state) + 1))
        for k, step in enumerate(self._steps):
            mine = order[cuts[k] : cuts[k + 1]]
            if len(mine):
                weights = chunk.weights[mine] if chunk.weights.size else chunk.weights
                own = Chunk(chunk.first_row, chunk.rows[mine], weights)
                state[k] = step.accumulate(state[k], own)
        return state

    def merge(self, left: list[Statistics], right: list[Statistics]) -> list[Statistics]:
        return [merge(a, b) for a, b in zip(left, right, strict=True)]


@dataclass
class _Start:
    """One start on its way."""

    seed: int
    random_state: np.random.RandomState
    candidates: list[FloatArray] = field(default_factory=list)
    shift: FloatArray = field(default_factory=lambda: np.empty(0))
    """One of the rows: what products are about."""
    centres: FloatArray = field(default_factory=lambda: np.empty((0, 0)))
    moving: bool = True

    def drawing(self, limit: int) -> _Drawing:
        """Return the next round's work; every round has keys of its own."""
        seed = self.seed + len(self.candidates)
        if not self.candidates:
            return _Drawing(1, seed, None)
        return _Drawing(limit, seed, Assignment(self.shift, self.so_far() - self.shift))

    def so_far(self) -> FloatArray:
        return np.concatenate(self.candidates)

    def take(self, drawn: Gathered) -> None:
        rows = np.concatenate(drawn.rows)
        if not self.candidates:
            self.shift = rows[0]
        self.candidates.append(rows)

    def weigh(self, sums: ClusterSums, n_components: int) -> None:
        """Cluster the candidates by the weight of the rows nearest to them."""
        rows = self.so_far()
        usable = sums.counts > 0
        rows, weights = rows[usable], sums.counts[usable]
        if len(rows) <= n_components:  # fewer distinct rows than components
            self.centres = np.resize(rows, (n_components, rows.shape[1]))
            return
        # small, and the start must not depend on what computes it: one thread
        _, self.centres = clusters(StartRows(rows, weights), n_components, self.random_state, 1)

    def assignment(self, level: int) -> Assignment:
        return Assignment(self.shift, self.centres - self.shift, level)

    def move(self, sums: ClusterSums, tolerance: float) -> None:
        means = sums.means().astype(self.centres.dtype) + self.shift
        moved = np.where(sums.counts[:, np.newaxis] > 0, means, self.centres)
        self.moving = float(((moved - self.centres) ** 2).sum()) > tolerance
        self.centres = moved


def kmeans_parallel(
    placement: Placement,
    read: Read,
    n_components: int,
    random_state: np.random.RandomState,
    n_init: int,
    covariance_type: str,
    ridge: Float64Array,
    floor: float,
) -> list[Parameters]:
    """Return the parameters of ``n_init`` starts by k-means||, made in shared passes.

    ``read`` runs works over the rows of the placement. Each start has two draws: start i is the
    same for any number of starts.
    """
    d = placement.source.n_features
    most = np.iinfo(np.int32).max
    drawn = [random_state.randint(most, size=2) for _ in range(n_init)]
    starts = [_Start(int(seed), np.random.RandomState(other)) for seed, other in drawn]
    moments, *first = read([ColumnMoments(d), *(one.drawing(n_components) for one in starts)])
    tolerance = TOLERANCE * float(moments.variances.mean())
    for start, rows in zip(starts, first, strict=True):
        start.take(rows)
    for _ in range(ROUNDS):
        works = [start.drawing(n_components) for start in starts]
        for start, rows in zip(starts, read(works), strict=True):
            start.take(rows)
    weighing = [Assignment(start.shift, start.so_far() - start.shift) for start in starts]
    for start, sums in zip(starts, read(weighing), strict=True):
        start.weigh(sums, n_components)
    level = leaf_level(placement.grid, d, n_components * (d + 1))
    for _ in range(LLOYD_PASSES):
        moving = [start for start in starts if start.moving]
        if not moving:
            break
        passes = [start.assignment(level) for start in moving]
        for start, sums in zip(moving, read(passes), strict=True):
            start.move(sums, tolerance)
    return _parameters(placement, read, starts, covariance_type, ridge, floor)


def _parameters(
    placement: Placement,
    read: Read,
    starts: Sequence[_Start],
    covariance_type: str,
    ridge: Float64Array,
    floor: float,
) -> list[Parameters]:
    """Return the M-steps of all rows' clusters."""
    family, dtype = FAMILIES[covariance_type], placement.source.dtype
    works = []
    for start in starts:
        k, d = start.centres.shape
        origins = start.centres.astype(np.float64)
        densities = [density_about(origins[c : c + 1], covariance_type, dtype) for c in range(k)]
        size = k * (d + 1) + int(np.prod(family.second_shape(k, d)))
        level = leaf_level(placement.grid, d, size)
        works.append(_Moments(covariance_type, start.assignment(level), densities, level))
    found = []
    for start, parts in zip(starts, read(works), strict=True):
        statistics = joined(parts, covariance_type)
        origins = start.centres.astype(np.float64)
        parameters = maximum_likelihood(family, statistics, origins, ridge, floor)
        total = statistics.counts.sum()
        found.append(parameters._replace(weights=(statistics.counts + floor) / total))
    return found
