"""Shards: neighbouring blocks, one node of the tree, that one task reads."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from typing import NamedTuple

from fastgmm.executors.base import Range
from fastgmm.executors.dask.holding import Sent, resolve
from fastgmm.sources import BLOCKS_OF_PARTITIONS, Grid, Source

SHARDS_PER_THREAD = 8
"""At most; at least half as many, since shards are powers of two of blocks."""

MOST_SHARDS = BLOCKS_OF_PARTITIONS
"""In a pass; at 4,096 partitions a task for each took 7.0 s a pass, 16 shards 0.09 s. No more than
collections always have blocks, so that shards can be cut before their rows are counted."""


class Shard(NamedTuple):
    """Where the blocks ``first`` to ``last`` are read from."""

    first: int
    last: int
    rows: Sent
    origin: Sent
    """The same, block by block, where ``rows`` are kept in memory all together."""


class Shards(NamedTuple):
    """All the blocks of a source, and where each is read from."""

    grid: Grid
    shared_grid: Sent
    """The grid for tasks."""
    shards: list[Shard]

    def submit(self) -> None:
        """Have everything that is not there computed."""
        resolve(self.sent())

    def sent(self) -> list[Sent]:
        """Return all that tasks depend on."""
        return [self.shared_grid, *(shard.rows for shard in self.shards)]

    def between(self, first: int, last: int) -> list[Shard]:
        """Return the shards that hold the blocks ``first`` to ``last``."""
        left = bisect_right(self.shards, first, key=lambda shard: shard.first) - 1
        right = bisect_left(self.shards, last, key=lambda shard: shard.first)
        return self.shards[left:right]

    def describe(self, ranges: Iterable[Range]) -> str:
        """Name the blocks and rows from the first of some ranges to the last."""
        firsts, lasts = zip(*ranges, strict=True)
        return self.grid.name(min(firsts), max(lasts))


def cut(n_blocks: int, level: int) -> list[Range]:
    """Cut the blocks into runs of 2^level, each one node of the tree."""
    size = 1 << level
    return [(first, min(first + size, n_blocks)) for first in range(0, n_blocks, size)]


def n_bytes_of(source: Source) -> int:
    """Return the bytes of a source's rows and weights in memory, 0 if it may have any number."""
    n_numbers = source.n_features * source.dtype.itemsize + 8 * source.weighted
    return (source.n_samples or 0) * n_numbers
