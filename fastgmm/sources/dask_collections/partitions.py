"""Partitions: small graphs, each computed by itself wherever its rows are wanted."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from dask._task_spec import DataNode  # what marks a value in a graph as "not a task"
from dask.core import get

from fastgmm._typing import Float64Array, FloatArray
from fastgmm.exceptions import DataError
from fastgmm.sources.arrays import unmasked, writeable_view
from fastgmm.sources.base import NO_WEIGHTS, Chunk
from fastgmm.sources.grid import Grid

Key: TypeAlias = Any
Graph: TypeAlias = dict[Key, Any]


class Layout(NamedTuple):
    """What turns a partition into rows."""

    n_features: int
    dtype: np.dtype[np.floating]
    weighted: bool
    drop_missing: bool
    nullable: bool
    """Whether a data frame has columns whose missing values are not NaN."""


class Partition(NamedTuple):
    """One partition's share of the graph."""

    graph: Graph
    rows: Key
    weights: Key | None
    inputs: tuple[Key, ...]
    """Keys that the graph needs but does not hold: persisted data, large shared arrays."""


class Block(NamedTuple):
    """A computed partition, or several neighbours in one piece."""

    rows: FloatArray
    weights: Float64Array


def join(blocks: Sequence[Block]) -> Block:
    """Return neighbouring blocks in one piece."""
    if len(blocks) == 1:
        return blocks[0]
    rows, weights = zip(*blocks, strict=True)
    return Block(np.concatenate(rows), np.concatenate(weights))


@dataclass(frozen=True, eq=False)
class Blocks:
    """Neighbouring blocks in memory, the ``first_block``-th of the grid and on."""

    first_block: int
    blocks: Sequence[Block]

    def lengths(self) -> list[int]:
        """Return the number of rows of every block."""
        return [len(block.rows) for block in self.blocks]

    def joined(self, level: int) -> "Blocks":
        """Return the same rows in blocks of 2^level of these."""
        size = 1 << level
        starts = range(0, len(self.blocks), size)
        joined = [join(self.blocks[start : start + size]) for start in starts]
        return Blocks(self.first_block >> level, joined)

    def chunks(self, grid: Grid, first: int, last: int) -> Iterator[Chunk]:
        """Yield blocks of the grid."""
        own = self.blocks[first - self.first_block : last - self.first_block]
        starts = grid.boundaries[first : last + 1].tolist()
        for number, (block, (start, stop)) in enumerate(
            zip(own, pairwise(starts), strict=True), first
        ):
            rows, weights = block
            if len(rows) != stop - start:
                raise DataError(
                    f"{_name(number, grid.level)} of X has {len(rows):,} rows where "
                    f"{stop - start:,} were announced or counted: persist X, or correct its chunks "
                    "with compute_chunk_sizes()"
                )
            # what came over the wire may be read-only
            yield Chunk(start, writeable_view(rows), weights)


def _name(block: int, level: int) -> str:
    first = block << level
    return (
        f"partition {first}" if level == 0 else f"the run of {1 << level} partitions from {first}"
    )


@dataclass(frozen=True, eq=False)
class Partitions:
    """Neighbouring partitions, computed whenever they are read."""

    first_part: int
    parts: Sequence[Partition]
    layout: Layout
    inputs: Mapping[Key, Any] = field(default_factory=dict)
    """Values, or futures of values, of the inputs."""

    def __str__(self) -> str:
        return f"partitions {self.first_part} to {self.first_part + len(self.parts) - 1} of X"

    def share(self, first: int, last: int) -> "Partitions":
        """Return some of the partitions, without their inputs: ready to travel."""
        return Partitions(first, self.parts[first:last], self.layout)

    def filled(self, inputs: Mapping[Key, Any]) -> "Partitions":
        """Return the same partitions with the values of their inputs."""
        return replace(self, inputs=inputs)

    def lengths(self) -> list[int]:
        """Compute every partition for its number of rows."""
        return [self.length(number) for number in range(len(self.parts))]

    def length(self, number: int) -> int:
        """Compute the ``number``-th of these partitions for its number of rows."""
        return len(self._compute(number).rows)

    def load(self) -> Blocks:
        """Compute every partition and keep it."""
        return Blocks(self.first_part, [self._compute(i) for i in range(len(self.parts))])

    def chunks(self, grid: Grid, first: int, last: int) -> Iterator[Chunk]:
        """Compute partition after partition; none is kept."""
        for number in range(first, last):
            start = (number << grid.level) - self.first_part
            parts = range(len(self.parts))[start : start + (1 << grid.level)]
            block = join([self._compute(part) for part in parts])
            yield from Blocks(number, [block]).chunks(grid, number, number + 1)

    def _compute(self, number: int) -> Block:
        part = self.parts[number]
        graph = dict(part.graph)
        for key in part.inputs:
            graph[key] = DataNode(key, _value(self.inputs[key]))
        keys = [part.rows] if part.weights is None else [part.rows, part.weights]
        values = get(graph, keys)  # 0.13 ms a small graph; dask.local.get_sync 0.20
        return block_of(self.first_part + number, self.layout, *values)


def is_future(value: Any) -> bool:
    """Return whether a value in a graph stands for data on a cluster; does not import one."""
    return hasattr(value, "key") and hasattr(value, "add_done_callback")


def _value(value: Any) -> Any:
    return value.result() if is_future(value) else value


def block_of(number: int, layout: Layout, rows: Any, weights: Any = None) -> Block:
    """Turn a computed partition into arrays the kernels take."""
    try:
        x = _array(rows, layout.dtype, layout.nullable)
        w = NO_WEIGHTS
        if weights is not None:
            w = _array(weights, np.dtype(np.float64), True).astype(np.float64, copy=False)
    except (TypeError, ValueError) as error:
        raise DataError(f"partition {number} of X is not a table of numbers: {error}") from error
    if x.ndim != 2 or x.shape[1] != layout.n_features:
        raise DataError(
            f"partition {number} of X has the shape {x.shape}, expected {layout.n_features} columns"
        )
    if layout.weighted and w.shape != (len(x),):
        raise DataError(
            f"partition {number} has {len(x):,} rows but weights of shape {w.shape}: cut "
            "sample_weight like X"
        )
    if layout.drop_missing:
        complete = ~np.isnan(x).any(axis=1)
        if layout.weighted:
            complete &= ~np.isnan(w)
            w = w[complete]
        x = x[complete]
    return Block(x, w)


def _array(value: Any, dtype: np.dtype[np.floating], nullable: bool) -> FloatArray:
    if hasattr(value, "to_numpy"):
        if nullable:
            value = value.to_numpy(dtype=dtype, na_value=np.nan)
        else:
            value = value.to_numpy(dtype=dtype)
    return np.ascontiguousarray(unmasked(value), dtype=dtype)
