"""A Dask cluster: one task per shard of neighbouring blocks, whatever happens to its workers.

Cost on a cluster is per task, so tasks are bounded, not partitions: every shard is 2^m blocks, one
node of the tree, and one task per pass streams it and sends back one state per work. What all tasks
of a pass need (the works, the grid, a file source) travels as the result of a task: as cheap as
scattered data, but recomputed from the scheduler's own copy when its holder dies. Nothing is pinned
to a worker. Dask is imported when it is used.
"""

import sys
import uuid
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import ExitStack, closing, suppress
from itertools import chain, islice
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, Protocol, TypeAlias, TypeVar

from fastgmm.exceptions import ClusterError, FastGMMError
from fastgmm.executors.base import Report, Work, reduce_range
from fastgmm.executors.threads import read_ahead
from fastgmm.executors.tree import Node, Tree
from fastgmm.sources import ArraySource, Chunk, Grid, Source

if TYPE_CHECKING:
    from fastgmm.sources.dask_collections import Blocks, DaskSource, Partitions

R = TypeVar("R")
T = TypeVar("T")
Future: TypeAlias = Any
Client: TypeAlias = Any
Range: TypeAlias = tuple[int, int]
"""Neighbouring blocks, the last excluded."""

SHARDS_PER_THREAD = 8
"""At most; at least half as many, since shards are powers of two of blocks."""

MOST_SHARDS = 512
"""In a pass; at 4,096 partitions a task for each took 7.0 s a pass, 16 shards 0.09 s."""

SHARD_BYTES = 2**31
"""A shard of a long file is no larger, while there are fewer than MOST_SHARDS: seconds of work, so
that passes report progress and a lost worker loses little."""

MAP_BYTES = 2**26
"""Input of one task of a map, whose results are all held by the task until it ends."""

RETRIES = 2
"""Times a task that raised is run again by Dask: passing faults of a file system."""

ROUNDS = 3
"""Times that shards lost with the scheduler or with all workers are submitted again."""

GATHERED = 8
"""Results fetched together (16 small ones: 5 ms, one by one 30); more would fill the memory with
large statistics before they are merged."""

PATIENCE = 10.0
"""Seconds without a result after which to look whether there are workers at all."""

RECOVERY = 60.0
"""Seconds to wait for a worker when there is none."""


def active_client() -> Client | None:
    """Return the client in use, or None; inside a task its worker's.

    Does not import Dask: a program that has not imported ``distributed`` has no client.
    """
    distributed: Any = sys.modules.get("distributed")
    if distributed is None:
        return None
    with suppress(ValueError):
        return distributed.get_client() if _inside_task() else distributed.Client.current()
    return None


def _inside_task() -> bool:
    from distributed import get_worker

    try:
        get_worker()
    except ValueError:
        return False
    return True


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

    def place(self, source: Source, chunk_size: int | None = None) -> "DaskPlacement":
        """Place a source; a collection with unknown numbers of rows is counted first."""
        placing = _Placing(self.client, self.persist)
        try:
            return placing.place(source, chunk_size)
        except BaseException:
            placing.cluster.close()
            raise


class DaskPlacement:
    """A source on a cluster."""

    def __init__(
        self, cluster: "_Cluster", source: Source, grid: Grid, shards: "list[_Shard]", level: int
    ) -> None:
        self.source = source
        self.grid = grid
        self._cluster = cluster
        self._shards = shards
        self._level = level
        self.shared_grid = cluster.hold("grid", _unwrap, _Parcel(grid))
        self.shared_grid.future()
        for shard in shards:
            shard.rows.future()

    def reduce(self, works: Sequence[Work[Any]], report: Report | None = None) -> list[Any]:
        """Run one pass; on an exception or Ctrl-C the tasks that wait are cancelled."""
        trees: list[Tree[Any]] = [Tree(work.merge) for work in works]
        leaf = max(work.level for work in works)
        level = max(self._level, leaf)
        with closing(_Pass(self, "reduce", _reduce_shard, tuple(works), leaf)) as tasks:
            tasks.submit(_cut(self.grid.n_blocks, level))
            for _, (rows, nodes) in tasks.arrivals():
                for tree, run in zip(trees, nodes, strict=True):
                    for node in run:
                        tree.push(node)
                if report is not None:
                    report(rows)
        return [tree.finish() for tree in trees]

    def map(self, function: Callable[[Chunk], R]) -> Iterator[R]:
        """Yield ``function(chunk)`` block by block, in order, with a bounded number under way."""
        block_bytes = _bytes(self.source) // max(self.grid.n_blocks, 1)
        level = 0
        while level < self._level and block_bytes << level + 1 <= MAP_BYTES:
            level += 1
        waiting = iter(_cut(self.grid.n_blocks, level))
        arrived: dict[int, list[R]] = {}
        next_block = 0
        with closing(_Pass(self, "map", _map_shard, function, 0)) as tasks:
            tasks.submit(list(islice(waiting, 2 * self._cluster.n_threads())))
            for (first, _), results in tasks.arrivals():
                arrived[first] = results
                while next_block in arrived:
                    results = arrived.pop(next_block)
                    next_block += len(results)
                    tasks.submit(list(islice(waiting, 1)))
                    yield from results

    def shards_between(self, first: int, last: int) -> "list[_Shard]":
        """Return the shards that hold the blocks ``first`` to ``last``."""
        left = bisect_right(self._shards, first, key=lambda shard: shard.first) - 1
        right = bisect_left(self._shards, last, key=lambda shard: shard.first)
        return self._shards[left:right]

    def close(self) -> None:
        """Let go of everything on the cluster."""
        self._cluster.close()


class _Parcel(Generic[T]):
    """Something that Dask must neither look into nor take for a task."""

    def __init__(self, content: T) -> None:
        self.content = content


class _Rows(Protocol):
    """What a shard's rows are read from: a source, partitions or blocks."""

    def chunks(self, grid: Grid, first: int, last: int) -> Iterator[Chunk]: ...


class _Shard(NamedTuple):
    """Where the blocks ``first`` to ``last`` are read from."""

    first: int
    last: int
    rows: "_Held"


class _Cluster:
    """A client, and all that is held on its cluster for one placement."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self._held: list[_Held] = []
        self._futures: list[Future] = []
        self._away = ExitStack()
        if _inside_task():
            from distributed import worker_client

            # a task that waits for tasks leaves its thread to them until close(): on a cluster of
            # one thread it would wait for ever
            self._away.enter_context(worker_client())

    def n_threads(self) -> int:
        """Return the workers' threads; waits for the first worker."""
        self.await_worker()
        return max(sum(self.client.nthreads().values()), 1)

    def memory(self) -> int:
        """Return the sum of the workers' memory limits, where they have one."""
        workers = self.client.scheduler_info(n_workers=-1)["workers"].values()
        return sum(int(worker["memory_limit"] or 0) for worker in workers)

    def await_worker(self, lost: str = "nothing was computed") -> None:
        """Raise ClusterError if no worker comes within a minute."""
        try:
            self.client.wait_for_workers(1, timeout=RECOVERY)
        except Exception as error:  # whatever a lost connection raises in this or that version
            raise ClusterError(
                f"the Dask cluster has no worker or cannot be reached ({lost}): start workers, "
                "or go on from the checkpoint on another cluster"
            ) from error

    def submit(self, what: str, function: Callable[..., Any], *args: Any) -> Future:
        """Submit a task under a name that no other has."""
        import dask

        key = f"fastgmm-{what}-{uuid.uuid4().hex}"
        # a large model is meant to travel in the graph: once
        with dask.config.set({"distributed.admin.large-graph-warning-threshold": "1 TiB"}):
            return self.client.submit(function, *args, key=key, pure=False, retries=RETRIES)

    def submit_all(
        self, what: str, function: Callable[..., Any], calls: Sequence[tuple[Any, ...]]
    ) -> list[Future]:
        """Submit tasks as one graph: 16 took 1 ms instead of 20."""
        if not calls:
            return []
        keys = [f"fastgmm-{what}-{uuid.uuid4().hex}" for _ in calls]
        columns = zip(*calls, strict=True)
        futures: list[Future] = self.client.map(
            function, *columns, key=keys, pure=False, retries=RETRIES
        )
        return futures

    def hold(self, what: str, function: Callable[..., Any], *args: Any) -> "_Held":
        """Compute something on the cluster and keep it there until :meth:`close`."""
        held = _Held(self, what, function, args)
        self._held.append(held)
        return held

    def persist(self, collections: Sequence[Any]) -> Sequence[Any]:
        """Compute collections on the cluster and keep them until :meth:`close`."""
        from fastgmm.sources.dask_collections import futures_of

        persisted: Sequence[Any] = self.client.persist(list(collections))
        self._futures += futures_of(persisted).values()
        return persisted

    def results(self, held: "Sequence[_Held]") -> Sequence[Any]:
        """Return the values of what is held."""
        from distributed import CancelledError, KilledWorker

        futures = [one.future() for one in held]
        try:
            results: Sequence[Any] = self.client.gather(futures)
        except BaseException as error:
            self.cancel(futures)
            if isinstance(error, CancelledError | KilledWorker):
                raise ClusterError(
                    "the Dask cluster was lost while it counted the rows of X: look into the "
                    "workers' logs, or start again on another cluster"
                ) from error
            raise
        for result in results:
            _raise_failure(result)
        return results

    def cancel(self, futures: Sequence[Future]) -> None:
        """Stop tasks that are not wanted any more; a lost cluster has stopped them itself."""
        with suppress(Exception):
            self.client.cancel(list(futures))
        for future in futures:
            future.release()

    def drop(self, held: "Sequence[_Held]") -> None:
        """Let go of what is held; what was computed from it stays recomputable."""
        for one in held:
            one.release()
            self._held.remove(one)

    def close(self) -> None:
        """Let go of everything."""
        for one in self._held:
            one.release()
        for future in self._futures:
            future.release()
        self._held, self._futures = [], []
        self._away.close()


class _Held:
    """The result of a task that stays on the cluster, and how to get it again."""

    def __init__(
        self, cluster: _Cluster, what: str, function: Callable[..., Any], args: Sequence[Any]
    ) -> None:
        self._cluster = cluster
        self._recipe = what, function, args
        self._future: Future | None = None

    def future(self) -> Future:
        """Return its future, submitted anew if the scheduler forgot it or gave it up."""
        if self._future is not None and self._future.status in ("cancelled", "lost", "error"):
            self.release()
        if self._future is None:
            what, function, args = self._recipe
            self._future = self._cluster.submit(what, function, *map(_resolve, args))
        return self._future

    def release(self) -> None:
        """Let go of it."""
        if self._future is not None:
            self._future.release()
            self._future = None


def _resolve(argument: Any) -> Any:
    if isinstance(argument, list):
        return [_resolve(one) for one in argument]
    return argument.future() if isinstance(argument, _Held) else argument


class _Placing:
    """From a source to shards."""

    def __init__(self, client: Client, persist: bool | str) -> None:
        self.cluster = _Cluster(client)
        self._persist = persist

    def place(self, source: Source, chunk_size: int | None) -> DaskPlacement:
        from fastgmm.sources.dask_collections import DaskSource

        if isinstance(source, DaskSource):
            return self._place_collection(source, chunk_size)
        grid = source.grid(chunk_size)
        level = self._level(grid.n_blocks, _bytes(source))
        if isinstance(source, ArraySource):
            shards = self._array_shards(source, grid, level)
        else:
            held = self.cluster.hold("source", _unwrap, _Parcel(source))
            shards = [_Shard(0, grid.n_blocks, held)]
        return DaskPlacement(self.cluster, source, grid, shards, level)

    def _level(self, n_blocks: int, n_bytes: int = 0) -> int:
        """Return m: shards are 2^m blocks."""
        most = max(SHARDS_PER_THREAD * self.cluster.n_threads(), n_bytes // SHARD_BYTES)
        return (max(n_blocks - 1, 0) // min(most, MOST_SHARDS)).bit_length()

    def _array_shards(self, source: ArraySource, grid: Grid, level: int) -> list[_Shard]:
        """Send every shard its own rows only."""
        from fastgmm.sources.dask_collections import Block, Blocks

        shards = []
        for first, last in _cut(grid.n_blocks, level):
            chunks = source.chunks(grid, first, last)
            blocks = Blocks(first, [Block(chunk.rows, chunk.weights) for chunk in chunks])
            shards.append(_Shard(first, last, self.cluster.hold("rows", _unwrap, _Parcel(blocks))))
        return shards

    def _place_collection(self, source: "DaskSource", chunk_size: int | None) -> DaskPlacement:
        if source.partitions is None and self._persist is not False:
            source = source.recut(self.cluster.persist(source.collections))
        partitions = source.independent
        level = self._level(len(partitions.parts))
        cut = _cut(len(partitions.parts), level)
        rows = self._partition_shards(partitions, cut)
        if source.n_samples is None and self._persist is not True:
            source = self._counted(source, rows)
        if self._keeps(source):
            rows = self._loaded(rows)
        if source.n_samples is None:
            source = self._counted(source, rows)
        grid = source.grid(chunk_size)
        shards = [_Shard(*range_, held) for range_, held in zip(cut, rows, strict=True)]
        return DaskPlacement(self.cluster, source, grid, shards, level)

    def _keeps(self, source: "DaskSource") -> bool:
        if self._persist != "auto":
            return bool(self._persist)
        return _bytes(source) < self.cluster.memory() / 2

    def _partition_shards(self, partitions: "Partitions", cut: list[Range]) -> "list[_Held]":
        """Send every shard its own graphs, and make it wait for the data they start from."""
        from fastgmm.sources.dask_collections import is_future

        inputs = {
            key: value if is_future(value) else self.cluster.hold("array", _unwrap, _Parcel(value))
            for key, value in partitions.inputs.items()
        }
        held = []
        for first, last in cut:
            share = partitions.share(first, last)
            needed = sorted({key for part in share.parts for key in part.inputs}, key=str)
            values = [inputs[key] for key in needed]
            held.append(
                self.cluster.hold("partitions", _fill, _Parcel(share), _Parcel(needed), values)
            )
        return held

    def _loaded(self, rows: "list[_Held]") -> "list[_Held]":
        loaded = [self.cluster.hold("load", _load, one) for one in rows]
        for one in loaded:
            one.future()
        for one in rows:
            one.release()
        return loaded

    def _counted(self, source: "DaskSource", rows: "list[_Held]") -> "DaskSource":
        counts = [self.cluster.hold("count", _lengths, one) for one in rows]
        lengths = list(chain.from_iterable(self.cluster.results(counts)))
        self.cluster.drop(counts)
        return source.with_lengths(lengths)


class _Pass:
    """One function over ranges of blocks, with losses made good."""

    def __init__(
        self,
        placement: DaskPlacement,
        what: str,
        function: Callable[..., Any],
        load: Any,
        leaf: int,
    ) -> None:
        self._placement = placement
        self._cluster = placement._cluster
        self._what = what
        self._function = function
        self._load = self._cluster.hold("works", _unwrap, _Parcel(load))
        self._ranges: dict[Future, Range] = {}
        self._leaf = leaf
        self._lost: list[Range] = []
        self._suspects: list[Range] = []
        self._alone: Range | None = None
        self._rounds = 0
        self._grew = False

    def submit(self, ranges: Sequence[Range]) -> None:
        """Submit ranges of blocks."""
        calls = [self._arguments(*range_) for range_ in ranges]
        futures = self._cluster.submit_all(self._what, self._function, calls)
        self._ranges.update(zip(futures, ranges, strict=True))
        self._grew = True

    def _arguments(self, first: int, last: int) -> tuple[Any, ...]:
        shards = self._placement.shards_between(first, last)
        spans = [(max(first, shard.first), min(last, shard.last)) for shard in shards]
        return (
            self._load.future(),
            self._placement.shared_grid.future(),
            [shard.rows.future() for shard in shards],
            _Parcel(spans),
        )

    def arrivals(self) -> Iterator[tuple[Range, Any]]:
        """Yield ranges and their results as they arrive; ranges may be submitted meanwhile."""
        while self._ranges or self._lost or self._suspects:
            if not self._ranges:
                self._resubmit()
            self._grew = False
            for futures in self._completed():
                for future, (arrived, result) in zip(futures, self._outcomes(futures), strict=True):
                    range_ = self._ranges.pop(future)
                    future.release()
                    if arrived:
                        yield range_, result
                if self._grew:
                    break

    def _completed(self) -> Iterator[list[Future]]:
        """Yield futures as they complete; ends early when nothing has arrived for a while."""
        from distributed import as_completed

        # the loop would be that of the default client; with_results=True would hide a lost
        # scheduler behind a TypeError
        loop = self._cluster.client.loop
        batches = as_completed(list(self._ranges), loop=loop, timeout=PATIENCE).batches()
        while self._ranges:
            try:
                batch = next(batches)
            except StopIteration:
                return
            except TimeoutError:
                self._cluster.await_worker(self._describe(self._ranges.values()))
                return
            for start in range(0, len(batch), GATHERED):
                yield batch[start : start + GATHERED]

    def _outcomes(self, futures: list[Future]) -> list[tuple[bool, Any]]:
        """Return for every future whether there is a result, and the result."""
        if all(future.status == "finished" for future in futures):
            with suppress(Exception):  # each is asked below which it was
                results = self._cluster.client.gather(futures)
                for result in results:
                    _raise_failure(result)
                return [(True, result) for result in results]
        return [self._outcome(future, self._ranges[future]) for future in futures]

    def _outcome(self, future: Future, range_: Range) -> tuple[bool, Any]:
        """Return whether there is a result, and the result; raise what the work raised."""
        from distributed import CancelledError, KilledWorker

        if future.status == "finished":
            with suppress(OSError, CancelledError):  # lost on its way to us
                result = future.result()
                _raise_failure(result)
                return True, result
        if future.status != "error":
            self._lost.append(range_)
            return False, None
        error = future.exception()
        if not isinstance(error, KilledWorker):
            raise error
        if range_ == self._alone:
            raise ClusterError(
                f"{self._describe([range_])} killed every worker that computed them: look into "
                "the workers' logs for a lack of memory or a crash in reading these rows"
            ) from error
        # whatever waited on the same workers is blamed as well: each leaf is tried alone
        first, last = range_
        self._suspects += [(first + a, first + b) for a, b in _cut(last - first, self._leaf)]
        return False, None

    def _resubmit(self) -> None:
        """Submit what was lost, or the next suspect by itself."""
        from distributed import CancelledError

        lost, self._lost = self._lost, []
        self._alone = None
        if not lost:
            self._alone = self._suspects.pop(0)
            lost = [self._alone]
        else:
            self._rounds += 1
        what = self._describe(lost)
        if self._rounds > ROUNDS:
            raise ClusterError(
                f"the Dask cluster lost {what} {self._rounds} times: go on from the checkpoint "
                "when it is stable"
            )
        self._cluster.await_worker(what)
        try:
            self.submit(lost)
        except CancelledError as error:
            raise ClusterError(
                "the persisted data of X were lost with the scheduler: persist X again, or pass "
                "X before it is persisted"
            ) from error

    def _describe(self, ranges: Any) -> str:
        first, last = min(first for first, _ in ranges), max(last for _, last in ranges)
        start, stop = self._placement.grid.boundaries[[first, last]]
        return f"blocks {first} to {last - 1} (rows {start:,} to {stop - 1:,})"

    def close(self) -> None:
        """Cancel what is still under way, let go of everything."""
        if self._ranges:
            self._cluster.cancel(list(self._ranges))
        self._ranges.clear()
        self._cluster.drop([self._load])


def _cut(n_blocks: int, level: int) -> list[Range]:
    """Cut the blocks into runs of 2^level, each one node of the tree."""
    size = 1 << level
    return [(first, min(first + size, n_blocks)) for first in range(0, n_blocks, size)]


def _bytes(source: Source) -> int:
    n_numbers = source.n_features * source.dtype.itemsize + 8 * source.weighted
    return (source.n_samples or 0) * n_numbers


# What runs on the workers.


def _unwrap(parcel: _Parcel[T]) -> T:
    return parcel.content


def _fill(
    partitions: "_Parcel[Partitions]", keys: _Parcel[list[Any]], values: list[Any]
) -> "Partitions":
    return partitions.content.filled(dict(zip(keys.content, values, strict=True)))


class _Failure(NamedTuple):
    """An error of the data: as a result, since Dask would run what raises again and again."""

    error: FastGMMError


def _raise_failure(result: Any) -> None:
    if isinstance(result, _Failure):
        raise result.error


def _load(partitions: "Partitions") -> "Blocks | _Failure":
    try:
        return partitions.load()
    except FastGMMError as error:
        return _Failure(error)


def _lengths(rows: "Partitions | Blocks | _Failure") -> list[int] | _Failure:
    try:
        return rows if isinstance(rows, _Failure) else rows.lengths()
    except FastGMMError as error:
        return _Failure(error)


def _while_wanted(chunks: Generator[Chunk, None, None]) -> Iterator[Chunk]:
    """Pass chunks on until the task is cancelled: Dask cannot stop one that runs.

    Raises InterruptedError then, never ends early: should the scheduler want the task after all,
    Dask runs it again.
    """
    from distributed import get_worker

    worker = get_worker()
    key = worker.get_current_task()
    for chunk in chunks:
        task = worker.state.tasks.get(key)
        if task is None or task.state == "cancelled":
            raise InterruptedError("nobody waits for this task any more")
        yield chunk


def _reduce_shard(
    works: Sequence[Work[Any]], grid: Grid, rows: list[_Rows], spans: _Parcel[list[Range]]
) -> tuple[int, list[list[Node[Any]]]] | _Failure:
    first = spans.content[0][0]
    n_rows = 0
    result: list[list[Node[Any]]] = []
    try:
        with closing(_chunks(grid, rows, spans.content)) as chunks:
            for n, nodes in reduce_range(_while_wanted(chunks), works, first, grid.n_blocks):
                n_rows += n
                result = nodes or result
    except FastGMMError as error:
        return _Failure(error)
    return n_rows, result


def _map_shard(
    function: Callable[[Chunk], R],
    grid: Grid,
    rows: list[_Rows],
    spans: _Parcel[list[Range]],
) -> list[R] | _Failure:
    try:
        with closing(_chunks(grid, rows, spans.content)) as chunks:
            return [function(chunk) for chunk in _while_wanted(chunks)]
    except FastGMMError as error:
        return _Failure(error)


def _chunks(grid: Grid, rows: list[_Rows], spans: list[Range]) -> Generator[Chunk, None, None]:
    for one, (first, last) in zip(rows, spans, strict=True):
        _raise_failure(one)
        chunks = one.chunks(grid, first, last)
        # files on a cluster mostly lie across a network, so waiting is worth a thread; partitions
        # are computed by this one
        if getattr(one, "reads_files", False):
            with closing(read_ahead(chunks)) as ahead:
                yield from ahead
        else:
            yield from chunks
