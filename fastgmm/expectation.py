"""The E-step as work for an executor: statistics, scores and predictions of chunks."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fastgmm import kernels
from fastgmm._typing import Float64Array, FloatArray, LabelArray
from fastgmm.covariance import FAMILIES, Density
from fastgmm.exceptions import DataError
from fastgmm.executors.tree import Node, Tree
from fastgmm.sources import BUFFERS, Chunk, Grid, Source
from fastgmm.sources.missing import incomplete_rows
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
        return zeros(k, d, FAMILIES[self.covariance_type].second_shape(k, d), n_blocks)

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
        way = (
            kernels.narrow.way_of(len(self.density.means)) if len(self.density.means) > 1 else None
        )
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


def expectation_step(covariance_type: str, density: Density, grid: Grid) -> ExpectationStep:
    """Return the E-step of one model over the rows of a grid."""
    k, d = density.means.shape
    second = FAMILIES[covariance_type].second_shape(k, d)
    size = math.prod(second) + k * d + k
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
    return 8 * (math.prod(FAMILIES[step.covariance_type].second_shape(k, d)) + k * d + k + 1)


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


@dataclass(frozen=True)
class Scoring:
    """The weighted log likelihood of all rows, the sum of their weights, and how many have any."""

    density: Density
    columns: tuple[str, ...] | None
    level: int = 0

    def start(self) -> Float64Array:
        """Return zeros, (3,)."""
        return np.zeros(3)

    def accumulate(self, state: Float64Array, chunk: Chunk) -> Float64Array:
        """Add a chunk's log likelihood, weight and rows."""
        log_density = log_densities(self.density, chunk, self.columns).astype(np.float64)
        weights = chunk.weights
        if weights.size:
            check_weights(chunk)
            log_density[weights == 0.0] = 0.0  # absent, however far away
            state += (weights * log_density).sum(), weights.sum(), np.count_nonzero(weights)
        else:
            state += log_density.sum(), len(log_density), len(log_density)
        return state

    def merge(self, left: Float64Array, right: Float64Array) -> Float64Array:
        """Add."""
        left += right
        return left


ENTROPY_ELEMENTS = 2**15
"""Responsibilities (256 kB) whose logarithms are taken at a time: they stay in L2."""


@dataclass(frozen=True)
class EntropyScoring:
    """As :class:`Scoring`, and the weighted entropy of the responsibilities."""

    density: Density
    columns: tuple[str, ...] | None
    level: int = 0

    def start(self) -> Float64Array:
        """Return zeros, (4,)."""
        return np.zeros(4)

    def accumulate(self, state: Float64Array, chunk: Chunk) -> Float64Array:
        """Add a chunk's, some rows after the others."""
        check_finite(chunk, self.columns)
        if chunk.weights.size:
            check_weights(chunk)
        some = max(ENTROPY_ELEMENTS // len(self.density.means), 64)
        for first in range(0, len(chunk.rows), some):
            rows, weights = chunk.rows[first : first + some], chunk.weights[first : first + some]
            state += _totals(self.density, rows, weights)
        return state

    def merge(self, left: Float64Array, right: Float64Array) -> Float64Array:
        """Add."""
        left += right
        return left


def _totals(density: Density, rows: FloatArray, weights: Float64Array) -> Float64Array:
    log_density = np.empty(len(rows), rows.dtype)
    shares = np.empty((len(rows), len(density.means)), rows.dtype)
    kernels.expectation.score(rows, density, log_density, _NO_LABELS, shares)
    n_rows = len(rows)
    if weights.size:
        absent = weights == 0.0  # however far away
        log_density[absent], shares[absent] = 0.0, 0.0
        n_rows -= int(np.count_nonzero(absent))
    # of a share of zero it is zero, not zero times minus infinity
    surprise = shares + np.finfo(rows.dtype).tiny
    np.log(surprise, out=surprise)
    surprise *= shares
    # sums over all at once: over a few components of every row they take ten times as long
    if weights.size:
        surprise = surprise * weights[:, np.newaxis]
        likelihood, weight = weights @ log_density, weights.sum()
    else:
        likelihood, weight = log_density.sum(dtype=np.float64), n_rows
    return np.array([likelihood, weight, n_rows, -surprise.sum(dtype=np.float64)])


def check_finite(chunk: Chunk, columns: tuple[str, ...] | None) -> None:
    """Raise DataError naming row and column of the first entry that is not finite."""
    at = kernels.rows.first_not_finite(chunk.rows)
    if at < 0:
        return
    row, column = divmod(at, chunk.rows.shape[1])
    raise DataError(not_finite(chunk.rows[row, column], chunk.first_row + row, column, columns))


def check_weights(chunk: Chunk) -> None:
    """Raise DataError naming the row of the first weight that is negative or not finite."""
    good = np.isfinite(chunk.weights) & (chunk.weights >= 0.0)
    if not good.all():
        row = int(np.argmin(good))
        raise DataError(
            f"sample_weight is {chunk.weights[row]} in row {chunk.first_row + row}: weights must "
            "be finite and not negative"
        )


def not_finite(value: Any, row: int, column: int, columns: tuple[str, ...] | None) -> str:
    """Say where an entry is not finite, beginning as scikit-learn does, and what to do."""
    what = "NaN" if np.isnan(value) else "infinity or a value too large"
    name = f"{column} ({columns[column]!r})" if columns else str(column)
    cure = 'missing="drop" lets a fit leave such rows out; else ' if what == "NaN" else ""
    return (
        f"Input X contains {what}: row {row}, column {name}; {cure}remove such rows or fill them in"
    )


def log_densities(
    density: Density, chunk: Chunk, columns: tuple[str, ...] | None = None
) -> FloatArray:
    """Return (t,) the natural log density of each row of a chunk."""
    out = np.empty(len(chunk.rows), chunk.rows.dtype)
    _score(density, chunk, columns, out, _NO_LABELS, _nothing(chunk))
    return out


def labels(density: Density, chunk: Chunk, columns: tuple[str, ...] | None = None) -> LabelArray:
    """Return (t,) the component of the highest responsibility of each row of a chunk."""
    out = np.empty(len(chunk.rows), np.int64)
    _score(density, chunk, columns, np.empty(0, chunk.rows.dtype), out, _nothing(chunk))
    return out


def responsibilities(
    density: Density, chunk: Chunk, columns: tuple[str, ...] | None = None
) -> FloatArray:
    """Return (t, k) the responsibilities of a chunk's rows; each row sums to 1."""
    out = np.empty((len(chunk.rows), len(density.means)), chunk.rows.dtype)
    _score(density, chunk, columns, np.empty(0, chunk.rows.dtype), _NO_LABELS, out)
    return out


def component_log_densities(
    densities: Sequence[Density], chunk: Chunk, columns: tuple[str, ...] | None = None
) -> FloatArray:
    """Return (t, k) the natural log density of each row under k densities of one component each."""
    check_finite(chunk, columns)
    out = np.empty((len(chunk.rows), len(densities)), chunk.rows.dtype)
    one = np.empty(len(chunk.rows), chunk.rows.dtype)
    for k, density in enumerate(densities):
        if len(chunk.rows):
            kernels.expectation.score(chunk.rows, density, one, _NO_LABELS, _nothing(chunk))
        out[:, k] = one
    return out


def distances(
    densities: Sequence[Density], chunk: Chunk, columns: tuple[str, ...] | None = None
) -> FloatArray:
    """Return (t, k) the Mahalanobis distance of each row from k densities of one component each."""
    # without their log scales, as which small distances would lose their digits
    bare = [density._replace(log_scale=np.zeros_like(density.log_scale)) for density in densities]
    squares = -2 * component_log_densities(bare, chunk, columns)
    return np.sqrt(np.maximum(squares, 0))


def where_complete(
    function: Callable[..., Any], chunk: Chunk, columns: tuple[str, ...] | None = None
) -> Any:
    """Return what a function makes of a chunk's rows, -1 or NaN for those with missing values."""
    incomplete = incomplete_rows(chunk)
    if not incomplete.any():
        return function(chunk, columns=columns)
    rows = chunk.rows.copy()
    rows[incomplete] = 0  # so that the other rows keep their numbers in messages
    out = function(chunk._replace(rows=rows), columns=columns)
    out[incomplete] = -1 if out.dtype.kind == "i" else np.nan
    return out


def _score(
    density: Density,
    chunk: Chunk,
    columns: tuple[str, ...] | None,
    log_density: FloatArray,
    component: LabelArray,
    posterior: FloatArray,
) -> None:
    check_finite(chunk, columns)
    if len(chunk.rows):  # a partition of a collection may be empty
        kernels.expectation.score(chunk.rows, density, log_density, component, posterior)


_NO_LABELS = np.empty(0, np.int64)


def _nothing(chunk: Chunk) -> FloatArray:
    return np.empty((0, 0), chunk.rows.dtype)


PREDICTIONS: dict[str, Callable[..., Any]] = {
    "log_density": log_densities,
    "label": labels,
    "responsibility": responsibilities,
}
"""What a pass over the rows can write per row."""


def column_names(source: Source) -> tuple[str, ...] | None:
    """Return the names of a source's columns as a tuple, for messages made elsewhere."""
    return None if source.columns is None else tuple(source.columns)
