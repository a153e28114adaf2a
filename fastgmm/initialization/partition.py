"""What a start method returns: which rows a component begins with, wholly or in part."""

import itertools
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from fastgmm import kernels
from fastgmm._typing import Float64Array, FloatArray, IntArray
from fastgmm.covariance import FAMILIES, Density
from fastgmm.executors import ThreadExecutor
from fastgmm.executors.tree import Node, Tree
from fastgmm.expectation import ExpectationStep
from fastgmm.initialization.first_pass import StartRows
from fastgmm.maximization import cancels, maximum_likelihood
from fastgmm.parameters import Parameters
from fastgmm.sources import NO_WEIGHTS, ArraySource, Chunk
from fastgmm.statistics import Statistics, merge, zeros


@dataclass(frozen=True)
class Hard:
    """Every component begins with rows of its own; rows may belong to none."""

    rows_of: Sequence[IntArray]
    """For each component, the indices of its rows, rising."""


@dataclass(frozen=True)
class Soft:
    """Every row belongs to every component by a responsibility."""

    draw: Callable[[], Callable[[int], Float64Array]]
    """Returns a fresh source of responsibilities: called with t, it gives those of the next t
    rows, (t, k). It may be asked again from the beginning."""


Partition: TypeAlias = Hard | Soft


def labels_partition(labels: NDArray[np.integer[Any]], n_components: int) -> Hard:
    """Return the partition of rows by their labels 0 ... k - 1."""
    # NumPy sorts 8 and 16 bits by radix, a tenth of the time of 64; -1, in no component, goes last
    small = labels
    if n_components < 2**16:
        small = labels.astype(np.uint8 if n_components < 2**8 else np.uint16)
    order = np.argsort(small, kind="stable")
    cuts = np.searchsorted(small[order], np.arange(n_components + 1))
    return Hard([order[a:b] for a, b in pairwise(cuts)])


def rows_partition(indices: IntArray) -> Hard:
    """Return the partition in which each component begins with one row."""
    return Hard([np.array([index]) for index in indices])


def first_parameters(
    partition: Partition,
    start: StartRows,
    n_components: int,
    covariance_type: str,
    ridge: Float64Array,
    floor: float,
    n_threads: int = 1,
) -> Parameters:
    """Return the M-step of a partition of the start rows.

    The moments are taken about the components' own means, so nothing cancels far from the origin.
    As in scikit-learn the weights are counts over the rows' weight; they sum to less than 1 where
    rows belong to no component.
    """
    family = FAMILIES[covariance_type]
    if isinstance(partition, Hard):
        statistics, origins = _hard_statistics(partition, start, covariance_type, n_threads)
    else:
        statistics, origins = _soft_statistics(
            partition, start, n_components, covariance_type, ridge, floor
        )
    parameters = maximum_likelihood(family, statistics, origins, ridge, floor)
    total = float(len(start.rows) if start.weights is None else start.weights.sum())
    return parameters._replace(weights=(statistics.counts + floor) / total)


def density_about(
    origins: Float64Array, covariance_type: str, dtype: np.dtype[np.floating]
) -> Density:
    """Return a density whose statistics are about the given origins; covariances are the unit.

    Alone, a component has responsibility 1 exactly, whatever its density.
    """
    k, d = origins.shape
    family = FAMILIES[covariance_type]
    unit = family.estimate(np.zeros(family.second_shape(k, d)), np.ones(k), np.zeros((k, d)))
    family.regularise(unit, np.ones((k, d)))
    density = family.prepare(Parameters(np.full(k, 1 / k), origins, unit), dtype)
    return family.about(density, origins.astype(dtype))


@lru_cache(maxsize=1)  # of every start of a fit the same: 0.1 ms in few columns
def _unit_density(covariance_type: str, d: int, dtype: np.dtype[np.floating]) -> Density:
    """Return the density of one component of unit covariance about zero."""
    return density_about(np.zeros((1, d)), covariance_type, dtype)


def _mean(rows: FloatArray, weights: Float64Array | None) -> Float64Array:
    if weights is None or not weights.any():
        plain: Float64Array = np.mean(rows, axis=0, dtype=np.float64)
        return plain
    scaled: Float64Array = (rows * weights[:, np.newaxis]).sum(axis=0) / weights.sum()
    return scaled


PIECE_ELEMENTS = 2**17
"""A component's rows are added up in pieces of so many numbers, which may go to several threads."""

MEAN_ROWS = 64
"""Moments are taken about the mean of so many of a component's rows: 1/8 of a standard deviation
from that of all costs no digits."""

WORTH_SHARING = 2**22
"""Products of the rows' numbers from which their pieces are shared out over threads: some
milliseconds. Below, threads wait for each other's interpreter: the 110 components of 1797 rows took
17 ms on two, 7 on one."""

NUMBER_PRODUCTS = 8
"""What else is done with a number costs as much as so many products."""


def _hard_statistics(
    partition: Hard, start: StartRows, covariance_type: str, n_threads: int
) -> tuple[Statistics, Float64Array]:
    """One pass over each component's own rows: n d^2 operations, not n k d^2."""
    second_shape = FAMILIES[covariance_type].second_shape
    rows, weights, d = start.rows, start.weights, start.rows.shape[1]
    k = len(partition.rows_of)
    origins = _origins(partition, start)
    # rows less their origins: one density serves all
    step = ExpectationStep(covariance_type, _unit_density(covariance_type, d, rows.dtype), 0)
    pieces = list(_pieces(partition, max(PIECE_ELEMENTS // d, 1)))

    def add_up(first: int, last: int) -> list[Statistics]:
        return [piece_of(c, mine) for c, _, mine in pieces[first:last]]

    def piece_of(c: int, mine: IntArray) -> Statistics:
        away = rows.take(mine, axis=0)
        away -= origins[c]
        chunk = Chunk(0, away, NO_WEIGHTS if weights is None else weights[mine])
        return step.accumulate(step.start(), chunk)

    trees: list[Tree[Statistics]] = [Tree(merge) for _ in range(k)]
    products = rows.size * (d + NUMBER_PRODUCTS)
    n_threads = n_threads if products >= WORTH_SHARING else 1
    with closing(ThreadExecutor(n_threads).place(ArraySource(rows, weights))) as placement:
        found = itertools.chain(*placement.share(add_up, len(pieces)))
    for (c, position, _), statistics in zip(pieces, found, strict=True):
        trees[c].push(Node(0, position, statistics))
    nobody = zeros(1, d, second_shape(1, d))
    parts = [tree.finish() if tree.nodes() else nobody for tree in trees]
    return joined(parts, covariance_type), origins.astype(np.float64)


def _origins(partition: Hard, start: StartRows) -> FloatArray:
    """Return (k, d) what each component's moments are taken about; zeros for those without rows."""
    origins = np.zeros((len(partition.rows_of), start.rows.shape[1]), start.rows.dtype)
    few = [mine[:: -(-len(mine) // MEAN_ROWS)] for mine in partition.rows_of if len(mine)]
    if not few:
        return origins
    chosen, begins = np.concatenate(few), np.cumsum([0, *map(len, few[:-1])])
    rows = start.rows[chosen]
    weights = np.ones(len(rows)) if start.weights is None else start.weights[chosen]
    totals = np.add.reduceat(weights, begins)
    # a component whose rows weigh nothing has no moments, wherever it lies
    weights[np.repeat(totals == 0, np.diff(begins, append=len(rows)))] = 1.0
    sums = np.add.reduceat(rows * weights[:, np.newaxis], begins, axis=0)
    filled = [len(mine) > 0 for mine in partition.rows_of]
    origins[filled] = sums / np.add.reduceat(weights, begins)[:, np.newaxis]
    return origins


def _pieces(partition: Hard, n_rows: int) -> Iterator[tuple[int, int, IntArray]]:
    """Yield the components' rows, at most so many at a time, with their places."""
    for c, mine in enumerate(partition.rows_of):
        for position, first in enumerate(range(0, len(mine), n_rows)):
            yield c, position, mine[first : first + n_rows]


def joined(parts: Sequence[Statistics], covariance_type: str) -> Statistics:
    """Return the statistics of components of which each has its own."""
    return Statistics(
        np.zeros(1),
        np.concatenate([part.counts for part in parts]),
        np.concatenate([part.first for part in parts]),
        FAMILIES[covariance_type].join([part.second for part in parts]),
    )


@dataclass(frozen=True)
class _GivenStep:
    """Moments of all rows for responsibilities drawn row after row: for one thread only."""

    covariance_type: str
    density: Density
    draw: Callable[[int], Float64Array]
    level: int = 0

    def start(self) -> Statistics:
        k, d = self.density.origins.shape
        return zeros(k, d, FAMILIES[self.covariance_type].second_shape(k, d))

    def accumulate(self, state: Statistics, chunk: Chunk) -> Statistics:
        responsibilities = self.draw(len(chunk.rows))
        kernels.expectation.accumulate_given(
            chunk.rows, chunk.weights, responsibilities, self.density, state
        )
        return state

    def merge(self, left: Statistics, right: Statistics) -> Statistics:
        return merge(left, right)


def _soft_statistics(
    partition: Soft,
    start: StartRows,
    n_components: int,
    covariance_type: str,
    ridge: Float64Array,
    floor: float,
) -> tuple[Statistics, Float64Array]:
    """One pass about the centre of all rows; another about the means where that costs digits."""
    family, rows, weights = FAMILIES[covariance_type], start.rows, start.weights
    few = slice(None, None, -(-len(rows) // MEAN_ROWS))
    centre = _mean(rows[few], None if weights is None else weights[few])
    about = np.repeat(centre[np.newaxis], n_components, axis=0)
    with closing(ThreadExecutor(1).place(ArraySource(rows, weights))) as placement:

        def gathered() -> tuple[Statistics, Float64Array]:
            density = density_about(about, covariance_type, rows.dtype)
            step = _GivenStep(covariance_type, density, partition.draw())
            (statistics,) = placement.reduce([step])
            return statistics, density.origins.astype(np.float64)

        statistics, about = gathered()
        found = maximum_likelihood(family, statistics, about, ridge, floor)
        if cancels(family, found, about):
            about = about + statistics.first / statistics.counts[:, np.newaxis]
            statistics, about = gathered()
    return statistics, about
