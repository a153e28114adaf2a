"""A source on a cluster: passes over it, one task a shard."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from itertools import islice
from typing import Any, TypeVar

from fastgmm.executors.base import Ledger, Report, Work
from fastgmm.executors.dask.holding import Cluster
from fastgmm.executors.dask.passes import Pass
from fastgmm.executors.dask.shards import Shards, cut, n_bytes_of
from fastgmm.executors.dask.tasks import map_shard, reduce_shard
from fastgmm.executors.forest import Forest
from fastgmm.executors.threads import available_memory, available_threads, share
from fastgmm.sources import Chunk, Source

R = TypeVar("R")

MAP_BYTES = 2**26
"""Input of one task of a map, whose results are all held by the task until it ends."""


class DaskPlacement:
    """A source on a cluster."""

    ledger: Ledger | None = None

    def __init__(self, cluster: Cluster, source: Source, shards: Shards, level: int) -> None:
        self.source = source
        self.grid = shards.grid
        self._cluster = cluster
        self._shards = shards
        self._level = level
        self._n_threads = available_threads()
        self._pool = ThreadPoolExecutor(self._n_threads, thread_name_prefix="fastgmm")
        shards.submit()

    @property
    def n_threads(self) -> int:
        """The workers' threads: the driver may hold what all of them have sent."""
        return self._cluster.n_threads()

    @property
    def memory(self) -> int:
        """The workers' memory or the driver's, whichever is less."""
        return min(self._cluster.memory() or available_memory(), available_memory())

    def reduce(self, works: Sequence[Work[Any]], report: Report | None = None) -> list[Any]:
        """Run one pass; on an exception or Ctrl-C the tasks that wait are cancelled."""
        forest = Forest(works, self, report)
        leaf = max(work.level for work in works)
        level = max(self._level, leaf)
        with closing(self._tasks("reduce", reduce_shard, tuple(works), leaf)) as tasks:
            tasks.submit(forest.missing(cut(self.grid.n_blocks, level)))
            for _, (rows, nodes) in tasks.arrivals():
                forest.add(rows, nodes)
        return forest.results()

    def map(self, function: Callable[[Chunk], R]) -> Iterator[R]:
        """Yield ``function(chunk)`` block by block, in order, with a bounded number under way."""
        block_bytes = n_bytes_of(self.source) // max(self.grid.n_blocks, 1)
        level = 0
        while level < self._level and block_bytes << level + 1 <= MAP_BYTES:
            level += 1
        waiting = iter(cut(self.grid.n_blocks, level))
        arrived: dict[int, list[R]] = {}
        next_block = 0
        with closing(self._tasks("map", map_shard, function, 0)) as tasks:
            tasks.submit(list(islice(waiting, 2 * self._cluster.n_threads())))
            for (first, _), results in tasks.arrivals():
                arrived[first] = results
                while next_block in arrived:
                    results = arrived.pop(next_block)
                    next_block += len(results)
                    tasks.submit(list(islice(waiting, 1)))
                    yield from results

    def _tasks(self, what: str, function: Callable[..., Any], load: Any, leaf: int) -> Pass:
        return Pass(self._cluster, self._shards, what, function, load, leaf)

    def share(self, function: Callable[[int, int], R], n: int) -> list[R]:
        """Return ``function(first, last)`` of ranges, computed by threads of the driver."""
        return share(self._pool, self._n_threads, function, n)

    def close(self) -> None:
        """Let go of everything on the cluster."""
        self._pool.shutdown()
        self._cluster.close()
