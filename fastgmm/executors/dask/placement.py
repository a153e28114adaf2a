"""A source on a cluster: passes over it, one task a shard."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from itertools import islice
from time import perf_counter
from typing import Any, TypeVar

from dask.sizeof import sizeof

from fastgmm.executors.base import Costs, Ledger, Range, Report, Work, ranges
from fastgmm.executors.dask.holding import Cluster, Held, Sent
from fastgmm.executors.dask.passes import MERGED, Pass
from fastgmm.executors.dask.shards import MOST_SHARDS, SHARDS_PER_THREAD, Shards, cut, n_bytes_of
from fastgmm.executors.dask.tasks import map_shard, reduce_shard
from fastgmm.executors.forest import Forest
from fastgmm.executors.limits import available_memory, available_threads
from fastgmm.executors.pool import Pool
from fastgmm.sources import Chunk, Source

R = TypeVar("R")

MAP_BYTES = 2**26
"""Input of one task of a map, whose results are all held by the task until it ends."""


RETURNED_BYTES = 2**27
"""States that come back from a pass; larger ones are merged on the workers first. 16 of 17 MB took
0.6 s to arrive, 512 of them would be 9 GB through one process."""


FEWEST_RANGES = 2
RANGE_BYTES = 2**27
"""Tasks per thread of a first pass over files: at least so few, and one for so much to read."""

RANGE_SECONDS = 0.5
"""What is worth a task in every thread, as the last pass went: one costs two processors 5 ms. With
one task instead of two a pass of 0.25 s becomes one of 0.23, with three instead of seven one of
1.56 s becomes one of 1.41 (threads: 0.2 and 1.37)."""

SPREAD_RANGES = 3
"""Tasks per thread from which Dask spreads those that depend on the same few results; all of fewer
go to the worker that has these."""

SMALL_STATES = 2**17
"""States of a pass so small that a task may send back a dozen of each."""


class DaskPlacement:
    """A source on a cluster."""

    ledger: Ledger | None = None

    def __init__(self, cluster: Cluster, source: Source, shards: Shards, level: int) -> None:
        self.source = source
        self.grid = shards.grid
        self._cluster = cluster
        self._shards = shards
        self._level = level
        self._workers_threads = cluster.n_threads()
        n_shards = -(-self.grid.n_blocks >> level)
        self._most_tasks = max(SHARDS_PER_THREAD * self._workers_threads, n_shards)
        self.costs = Costs()
        self._seconds = 0.0
        self._pool = Pool(available_threads())
        shards.submit()

    @property
    def n_threads(self) -> int:
        """The workers' threads: the driver may hold what all of them have sent."""
        return self._cluster.n_threads()

    @property
    def memory(self) -> int:
        """The workers' memory or the driver's, whichever is less."""
        return min(self._cluster.memory() or available_memory(), available_memory())

    def warm_up(self, works: Sequence[Work[Any]]) -> None:
        """Compile once a node: of its workers one does, the others wait for the file."""
        self._cluster.warm_up(works, self.source.weighted)

    def reduce(self, works: Sequence[Work[Any]], report: Report | None = None) -> list[Any]:
        """Run one pass; on an exception or Ctrl-C the tasks that wait are cancelled."""
        forest = Forest(works, self, report)
        leaf = max(work.level for work in works)
        load = self._cluster.send("works", tuple(works), self._most_tasks)
        level, shards = self._equal_ranges(works, load) or self._nodes(works)
        self.costs = Costs()
        began = perf_counter()
        with closing(self._tasks("reduce", reduce_shard, load, leaf, level)) as tasks:
            tasks.submit(forest.missing(shards))
            for _, (rows, nodes, costs) in tasks.arrivals():
                self.costs.add(costs)
                forest.add(rows, nodes)
            self.costs.retries = tasks.retries
        self._seconds = perf_counter() - began
        self._cluster.log_pass(self.grid.n_samples, self._seconds, self.costs)
        return forest.results()

    def _nodes(self, works: Sequence[Work[Any]]) -> tuple[int, list[Range]]:
        """Cut the blocks into nodes of the tree, so that one state a work comes back from each.

        Also returns the level of what one task computes.
        """
        level = max(self._level, *(work.level for work in works))
        return level, cut(self.grid.n_blocks, level + self._merged_levels(works, level))

    def _equal_ranges(
        self, works: Sequence[Work[Any]], load: Sent
    ) -> tuple[int, list[Range]] | None:
        """Cut the blocks of files into few equal ranges; None if that would not be better.

        With as few tasks as a short pass deserves, nodes of the tree would be too unequal. What
        comes back is a state of each node in a range.
        """
        n_threads = self._workers_threads
        by_bytes = n_bytes_of(self.source) // (n_threads * RANGE_BYTES)
        if (
            len(self._shards.shards) > 1
            or by_bytes >= SHARDS_PER_THREAD
            or _state_bytes(works) > SMALL_STATES
        ):
            return None
        wanted = max(by_bytes, FEWEST_RANGES)
        if self._seconds:
            wanted = int(min(max(self._seconds / RANGE_SECONDS, 1), SHARDS_PER_THREAD))
        if any(isinstance(one, Held) for one in (load, *self._shards.sent())):
            wanted = max(wanted, SPREAD_RANGES)
        cut_equally = ranges(self.grid.n_blocks, works, wanted * n_threads)
        return self.grid.n_blocks.bit_length(), cut_equally

    def _merged_levels(self, works: Sequence[Work[Any]], level: int) -> int:
        """Return how far up the tree the workers merge before states come back."""
        state_bytes = _state_bytes(works)
        n_shards = -(-self.grid.n_blocks >> level)
        up = 0
        while n_shards > 1 and n_shards * state_bytes > RETURNED_BYTES:
            n_shards = -(-n_shards // MERGED)
            up += MERGED.bit_length() - 1
        return up

    def map(self, function: Callable[[Chunk], R]) -> Iterator[R]:
        """Yield ``function(chunk)`` block by block, in order, with a bounded number under way."""
        block_bytes = n_bytes_of(self.source) // max(self.grid.n_blocks, 1)
        level = 0
        while level < self._level and block_bytes << level + 1 <= MAP_BYTES:
            level += 1
        waiting = iter(cut(self.grid.n_blocks, level))
        arrived: dict[int, list[R]] = {}
        next_block = 0
        load = self._cluster.send("function", function, MOST_SHARDS)
        with closing(self._tasks("map", map_shard, load, 0, level)) as tasks:
            tasks.submit(list(islice(waiting, 2 * self._cluster.n_threads())))
            for (first, _), results in tasks.arrivals():
                arrived[first] = results
                while next_block in arrived:
                    results = arrived.pop(next_block)
                    next_block += len(results)
                    tasks.submit(list(islice(waiting, 1)))
                    yield from results

    def _tasks(
        self, what: str, function: Callable[..., Any], load: Sent, leaf: int, level: int
    ) -> Pass:
        return Pass(self._cluster, self._shards, what, function, load, leaf, level)

    def share(self, function: Callable[[int, int], R], n: int) -> list[R]:
        """Return ``function(first, last)`` of ranges, computed by threads of the driver."""
        return self._pool.share(function, n)

    def close(self) -> None:
        """Let go of everything on the cluster."""
        self._pool.close()
        self._cluster.close()


def _state_bytes(works: Sequence[Work[Any]]) -> int:
    return sum(sizeof(work.start()) for work in works)
