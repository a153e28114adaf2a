"""The E-step as work for an executor: sufficient statistics of chunks."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fastgmm import kernels
from fastgmm.covariance import FAMILIES, Density
from fastgmm.executors.tree import Node, Tree
from fastgmm.sources import BUFFERS, Chunk, Grid, Source
from fastgmm.statistics import Statistics, first_block, merge, of_block, zeros

# A leaf's statistics are zeroed once and merged about once: that is 3 times their size in memory
# traffic, so leaves of 8 times as many elements of data keep it under a third of reading the rows.
LEAF_ELEMENTS_PER_STATISTIC = 8
# However large the statistics, the rows still give this many leaves: threads need work.
FEWEST_LEAVES = 8

SCRATCH = 2**23
"""Bytes that a thread works in during a pass, at most: half for tiles, half for sums and for the
states of the blocks of a call; larger models sum in more than that."""


CALL_OPERATIONS = 2**28
"""Of a kernel's call that is worth it, about 8 ms: blocks of less are added several at a time."""

CALL_NUMBERS = 2**16
"""Of the states of a call's blocks (512 kB), at most: they stay in L2, and within SCRATCH."""

EXP_OPERATIONS = 20
"""What an exponential counts for."""


def leaf_level(grid: Grid, n_features: int, state_size: int) -> int:
    """Return j: a leaf is 2^j blocks, more of them for larger states (in numbers).

    A function of the grid and of the model's own size only, so that a model has the same leaves
    in any company, on any executor.
    """
    if grid.n_blocks == 0:
        return 0
    block_elements = max(grid.n_samples * n_features // grid.n_blocks, 1)
    wanted = max(LEAF_ELEMENTS_PER_STATISTIC * state_size // block_elements, 1)
    allowed = max(grid.n_blocks // FEWEST_LEAVES, 1)
    return min(wanted.bit_length(), allowed.bit_length()) - 1


@dataclass(frozen=True)
class ExpectationStep:
    """Sufficient statistics of all rows under one density."""

    covariance_type: str
    density: Density
    level: int
    run_level: int = 0

    def start(self) -> Statistics:
        """Return statistics of no rows."""
        return self._zeros(1)

    def accumulate(self, state: Statistics, chunk: Chunk) -> Statistics:
        """Add a chunk."""
        return self._add(state, chunk, max(len(chunk.rows), 1))

    def reduce(self, chunk: Chunk, block_rows: int) -> Statistics:
        """Return the statistics of a run of 2^j blocks, of which the last may be a short one."""
        return self._add(self._zeros(-(-len(chunk.rows) // block_rows)), chunk, block_rows)

    def _zeros(self, n_blocks: int) -> Statistics:
        k, d = self.density.means.shape
        return zeros(k, d, summed_shape(self.covariance_type, self.density), n_blocks)

    def _add(self, states: Statistics, chunk: Chunk, block_rows: int) -> Statistics:
        """Add blocks to their states; return these, merged.

        Rows of few columns go in whole groups, other rows tile by tile.
        """
        add, rows, weights = kernels.expectation.expectation, chunk.rows, chunk.weights
        n_blocks = len(states.log_likelihood)
        if weights.size or not kernels.narrow.takes(self.density):
            add(rows, weights, self.density, states, block_rows)
            return first_block(states, n_blocks)
        left = kernels.narrow.add_whole_groups(rows, self.density, states, block_rows)
        for part in left:
            own = of_block(states, part.start // block_rows, n_blocks)
            add(rows[part], weights, self.density, own, part.stop - part.start)
        if left and n_blocks > 1:
            tree = Tree(merge)
            for block in range(n_blocks):
                tree.push(Node(0, block, of_block(states, block, n_blocks)))
        return first_block(states, n_blocks)  # into which all are merged

    def warm_up(self, weighted: bool) -> None:
        """Add a few rows to nothing: whole vectors and one row more, which goes by tiles.

        Once in a process for every kind of density: 110 components in 41 columns take 3 ms.
        """
        way = kernels.narrow.way_of(self.density)
        kind = (type(self.density), weighted, way, *map(_kind_of, self.density))
        if kind in _WARM:
            return
        n = kernels.narrow.enough_rows(self.density.means.dtype)
        rows = np.repeat(self.density.means[:1], n, axis=0)
        self.accumulate(self.start(), Chunk(0, rows, np.ones(n if weighted else 0)))
        _WARM.add(kind)

    def merge(self, left: Statistics, right: Statistics) -> Statistics:
        """Add."""
        return merge(left, right)


_WARM: set[tuple[Any, ...]] = set()
"""Kinds of densities whose kernels this process has used."""


def _kind_of(field: Any) -> Any:
    """Return what of a density's field decides which machine code takes it."""
    if isinstance(field, np.ndarray):
        return field.dtype, field.ndim
    return tuple(map(_kind_of, field)) if isinstance(field, tuple) else type(field)


def summed_shape(covariance_type: str, density: Density) -> tuple[int, ...]:
    """Return the shape of the second moments that a pass sums.

    It sums none where a family takes them from the total scatter of the data: of 768 columns they
    would be 2.4 MB to make and to merge for each leaf, a quarter of a pass over 4000 rows.
    """
    family = FAMILIES[covariance_type]
    n_seconds, *size = family.second_shape(*density.means.shape)
    if family.needs_scatter and isinstance(density, kernels.linear.LinearDensity):
        return n_seconds, 0
    return n_seconds, *size


def expectation_step(covariance_type: str, density: Density, grid: Grid) -> ExpectationStep:
    """Return the E-step of one model over the rows of a grid."""
    k, d = density.means.shape
    size = math.prod(summed_shape(covariance_type, density)) + k * d + k
    level = leaf_level(grid, d, size)
    return ExpectationStep(covariance_type, density, level, _run_level(grid, k, size, level))


def _run_level(grid: Grid, k: int, state_size: int, level: int) -> int:
    """Return j: a call of a kernel takes up to 2^j blocks, if each is a leaf."""
    if level > 0 or grid.n_blocks == 0:
        return 0
    rows = max(grid.n_samples // grid.n_blocks, 1)
    by_time = CALL_OPERATIONS // (rows * (state_size + EXP_OPERATIONS * k))
    return max(min(by_time, CALL_NUMBERS // state_size).bit_length() - 1, 0)


def state_bytes(step: ExpectationStep, grid: Grid, n_threads: int) -> int:
    """Return the bytes of statistics that one model's E-step may hold at once.

    Every thread fills a leaf, and of the leaves behind it waits one node on each level of the tree,
    here or where the threads' nodes come together, and one more that is about to be merged.
    """
    n_leaves = -(-grid.n_blocks // (1 << step.level))
    return one_state_bytes(step) * n_threads * (2 + n_leaves.bit_length())


def one_state_bytes(step: ExpectationStep) -> int:
    """Return the bytes of one model's statistics."""
    k, d = step.density.means.shape
    return 8 * (math.prod(summed_shape(step.covariance_type, step.density)) + k * d + k + 1)


MOST_LANES = 16
"""Numbers of a vector: float32 with AVX-512."""


def kernel_bytes(step: ExpectationStep) -> int:
    """Return the bytes that a kernel sums in besides, at most: products, and scatter.

    The former lie in whole vectors of components and panels of features.
    """
    size = one_state_bytes(step)
    k = len(step.density.means)
    whole = -(-k // MOST_LANES) * MOST_LANES
    return size + whole * (size // k + 8 * 2 * MOST_LANES)


def reading_bytes(
    source: Source, grid: Grid, n_threads: int, steps: Sequence[ExpectationStep]
) -> int:
    """Return the bytes that a pass takes whatever the number of models: scratch and buffers.

    Kernels work for one model at a time; what they sum in is as large as the largest one asks for.
    """
    more = max(max(map(kernel_bytes, steps), default=0) - SCRATCH // 2, 0)
    block_rows = int(np.diff(grid.boundaries).max(initial=0))
    block_bytes = block_rows * (source.n_features * source.dtype.itemsize + 8 * source.weighted)
    return n_threads * (SCRATCH + more + BUFFERS * block_bytes * source.reads_files)
