"""The cluster as an executor: from a source to shards."""

from collections.abc import Callable
from itertools import chain
from typing import TYPE_CHECKING, Any

from fastgmm.executors.base import Range
from fastgmm.executors.dask.clients import Client
from fastgmm.executors.dask.holding import Cluster, Held
from fastgmm.executors.dask.placement import DaskPlacement
from fastgmm.executors.dask.shards import (
    MOST_SHARDS,
    SHARDS_PER_THREAD,
    Shard,
    Shards,
    cut,
    n_bytes_of,
)
from fastgmm.executors.dask.tasks import (
    Parcel,
    count_rows,
    fill_inputs,
    join_blocks,
    load_blocks,
    unwrap,
)
from fastgmm.sources import ArraySource, Grid, Source

if TYPE_CHECKING:
    from fastgmm.sources.dask_collections import DaskSource, Partitions


SHARD_BYTES = 2**31
"""A shard of a long file is no larger, while there are fewer than MOST_SHARDS: seconds of work, so
that passes report progress and a lost worker loses little."""


class DaskExecutor:
    """Compute on the workers of a ``distributed.Client``.

    Parameters
    ----------
    client : distributed.Client
        Stays open; the executor leaves nothing behind on it.
    persist : "auto", True or False
        Whether a Dask collection is kept in the workers' memory between passes instead of being
        computed in each; by default if it fills less than half of it, as far as workers have a
        memory limit.
    """

    def __init__(self, client: Client, persist: bool | str = "auto") -> None:
        self.client = client
        self.persist = persist

    def place(self, source: Source, chunk_size: int | None = None) -> DaskPlacement:
        """Place a source; a collection with unknown numbers of rows is counted first."""
        placing = _Placing(self.client, self.persist)
        try:
            return placing.place(source, chunk_size)
        except BaseException:
            placing.cluster.close()
            raise


class _Placing:
    """From a source to shards."""

    def __init__(self, client: Client, persist: bool | str) -> None:
        self.cluster = Cluster(client)
        self._persist = persist

    def place(self, source: Source, chunk_size: int | None) -> DaskPlacement:
        from fastgmm.sources.dask_collections import DaskSource

        if isinstance(source, DaskSource):
            return self._place_collection(source, chunk_size)
        grid = source.grid(chunk_size)
        level = self._level(grid.n_blocks, n_bytes_of(source))
        if isinstance(source, ArraySource):
            shards = self._array_shards(source, grid, level)
        else:
            sent = self.cluster.send("source", source, MOST_SHARDS)
            shards = [Shard(0, grid.n_blocks, sent, sent)]
        return self._placement(source, grid, shards, level)

    def _placement(
        self, source: Source, grid: Grid, shards: list[Shard], level: int
    ) -> DaskPlacement:
        shared_grid = self.cluster.send("grid", grid, MOST_SHARDS)
        return DaskPlacement(self.cluster, source, Shards(grid, shared_grid, shards), level)

    def _level(self, n_blocks: int, n_bytes: int = 0) -> int:
        """Return m: shards are 2^m blocks."""
        most = max(SHARDS_PER_THREAD * self.cluster.n_threads(), n_bytes // SHARD_BYTES)
        return (max(n_blocks - 1, 0) // min(most, MOST_SHARDS)).bit_length()

    def _array_shards(self, source: ArraySource, grid: Grid, level: int) -> list[Shard]:
        """Send every shard its own rows only."""
        from fastgmm.sources.dask_collections import Block, Blocks

        shards = []
        for first, last in cut(grid.n_blocks, level):
            chunks = source.chunks(grid, first, last)
            blocks = Blocks(first, [Block(chunk.rows, chunk.weights) for chunk in chunks])
            held = self.cluster.hold("rows", unwrap, Parcel(blocks))
            shards.append(Shard(first, last, held, held))
        return shards

    def _place_collection(self, source: "DaskSource", chunk_size: int | None) -> DaskPlacement:
        if source.partitions is None and self._persist is not False:
            source = source.recut(self.cluster.persist(source.collections))
        partitions = source.independent
        level = self._level(len(partitions.parts))
        ranges = cut(len(partitions.parts), level)
        rows = lazy = self._partition_shards(partitions, ranges)
        if source.n_samples is None and self._persist is not True:
            source = self._counted(source, rows, ranges)
        keeps = self._keeps(source)
        if keeps:
            rows = self._instead("load", load_blocks, rows)
        if source.n_samples is None:
            source = self._counted(source, rows, ranges)
        grid = source.grid(chunk_size)
        if keeps and grid.level:
            rows = self._instead("join", join_blocks, rows, grid.level)
        shards = [
            Shard(first >> grid.level, -(-last >> grid.level), *held)
            for (first, last), *held in zip(ranges, rows, lazy, strict=True)
        ]
        return self._placement(source, grid, shards, level - grid.level)

    def _keeps(self, source: "DaskSource") -> bool:
        if self._persist != "auto":
            return bool(self._persist)
        return n_bytes_of(source) < self.cluster.memory() / 2

    def _partition_shards(self, partitions: "Partitions", ranges: list[Range]) -> list[Held]:
        """Send every shard its own graphs, and make it wait for the data they start from."""
        from fastgmm.sources.dask_collections import is_future

        inputs = {
            key: value if is_future(value) else self.cluster.hold("array", unwrap, Parcel(value))
            for key, value in partitions.inputs.items()
        }
        held = []
        for first, last in ranges:
            share = partitions.share(first, last)
            needed = sorted({key for part in share.parts for key in part.inputs}, key=str)
            values = [inputs[key] for key in needed]
            held.append(
                self.cluster.hold("partitions", fill_inputs, Parcel(share), Parcel(needed), values)
            )
        return held

    def _instead(
        self, what: str, function: Callable[..., Any], rows: list[Held], *args: Any
    ) -> list[Held]:
        """Hold what a function makes of what is held, and let go of that."""
        made = [self.cluster.hold(what, function, one, *args) for one in rows]
        for one in made:
            one.future()
        for one in rows:
            one.release()
        return made

    def _counted(self, source: "DaskSource", rows: list[Held], ranges: list[Range]) -> "DaskSource":
        counts = [self.cluster.hold("count", count_rows, one) for one in rows]
        names = [f"partitions {first} to {last - 1} of X" for first, last in ranges]
        lengths = list(chain.from_iterable(self.cluster.results(counts, names)))
        self.cluster.drop(counts)
        return source.with_lengths(lengths)
