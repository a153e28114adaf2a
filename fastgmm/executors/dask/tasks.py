"""What runs on the workers: a range of blocks streamed through a pass or a map."""

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from copy import deepcopy
from time import perf_counter
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, Protocol, TypeAlias, TypeVar

from distributed import get_worker
from distributed.protocol import pickle

from fastgmm.exceptions import FastGMMError, UnreadableError
from fastgmm.executors.base import Costs, Range, Work, reduce_range, runs_of
from fastgmm.executors.dask.warming import live_within_limit
from fastgmm.executors.reading_ahead import read_ahead
from fastgmm.executors.tree import Node, Tree
from fastgmm.sources import Chunk, Grid

if TYPE_CHECKING:
    from fastgmm.sources.dask_collections import Blocks, Partitions

R = TypeVar("R")
T = TypeVar("T")


class Parcel(Generic[T]):
    """Something that Dask must neither look into nor take for a task."""

    def __init__(self, content: T) -> None:
        self.content = content

    def n_bytes(self) -> int:
        """Return how long it is on its way."""
        arrays: list[Any] = []  # which are not copied for this
        rest = pickle.dumps(self.content, buffer_callback=arrays.append)
        return len(rest) + sum(memoryview(array).nbytes for array in arrays)


class Rows(Protocol):
    """What a shard's rows are read from: a source, partitions or blocks."""

    def chunks(self, grid: Grid, first: int, last: int) -> Iterator[Chunk]:
        """Yield blocks of the grid."""
        ...


def unwrap(parcel: Parcel[T]) -> T:
    """Return what was sent: the result of this task is what others depend on."""
    return parcel.content


def opened(sent: Parcel[T] | T) -> T:
    """Return what was sent with a task, or what a task returned that it depends on."""
    return sent.content if isinstance(sent, Parcel) else sent


def fill_inputs(
    partitions: "Parcel[Partitions]", keys: Parcel[list[Any]], values: list[Any]
) -> "Partitions":
    """Return partitions with the data they start from."""
    return partitions.content.filled(dict(zip(keys.content, values, strict=True)))


class Failure(NamedTuple):
    """An error of the data: as a result, since Dask would run what raises again and again."""

    error: FastGMMError


def _failed(error: Exception, where: str) -> Failure:
    """Return an error of the data; raise what may pass, for Dask to try again, or is not ours."""
    if isinstance(error, FastGMMError) and not isinstance(error, UnreadableError):
        return Failure(error)
    error.add_note(f"This happened in {where}, on the worker {get_worker().address}")
    raise error


def raise_failure(result: Any) -> None:
    """Raise the error that a result may be."""
    if isinstance(result, Failure):
        raise result.error


def load_blocks(partitions: "Partitions") -> "Blocks | Failure":
    """Compute partitions once and for all."""
    try:
        return partitions.load()
    except Exception as error:
        return _failed(error, str(partitions))


def join_blocks(blocks: "Blocks | Failure", level: int) -> "Blocks | Failure":
    """Put every 2^level neighbours together."""
    return blocks if isinstance(blocks, Failure) else blocks.joined(level)


def count_rows(rows: "Partitions | Blocks | Failure") -> list[int] | Failure:
    """Return the number of rows of every partition."""
    if isinstance(rows, Failure):
        return rows
    try:
        return rows.lengths()
    except Exception as error:
        return _failed(error, str(rows))


def _while_wanted(chunks: Generator[Chunk, None, None]) -> Iterator[Chunk]:
    """Pass chunks on until the task is cancelled: Dask cannot stop one that runs.

    Raises InterruptedError then, never ends early: should the scheduler want the task after all,
    Dask runs it again.
    """
    worker = get_worker()
    live_within_limit(worker)
    key = worker.get_current_task()
    for chunk in chunks:
        task = worker.state.tasks.get(key)
        if task is None or task.state == "cancelled":
            raise InterruptedError("nobody waits for this task any more")
        yield chunk


class Reduced(NamedTuple):
    """What comes back from a run of neighbouring blocks."""

    rows: int
    nodes: list[list[Node[Any]]]
    """Of every work's tree."""
    costs: Costs


Works: TypeAlias = Sequence[Work[Any]]


def reduce_shard(
    works: Parcel[Works] | Works,
    grid: Parcel[Grid] | Grid,
    rows: list[Parcel[Rows] | Rows],
    spans: Parcel[list[Range]],
) -> Reduced | Failure:
    """Run the works over a shard."""
    works, grid = opened(works), opened(grid)
    first, last = spans.content[0][0], spans.content[-1][1]
    n_rows, n_blocks = 0, 0
    result: list[list[Node[Any]]] = []
    costs = Costs(workers=frozenset({get_worker().address}))
    try:
        with closing(_chunks(grid, rows, spans.content)) as chunks:
            wanted, runs = _while_wanted(chunks), runs_of(first, last)
            for n, nodes in reduce_range(wanted, works, runs, grid, costs):
                n_rows, n_blocks = n_rows + n, n_blocks + 1
                result = nodes or result
    except Exception as error:
        return _failed(error, grid.name(first + n_blocks))
    return Reduced(n_rows, result, costs)


def merge_shards(
    works: Parcel[Works] | Works, shards: list[Reduced | Failure]
) -> Reduced | Failure:
    """Complete the subtree of neighbouring shards as far as they go."""
    began = perf_counter()
    trees: list[Tree[Any]] = [Tree(work.merge) for work in opened(works)]
    n_rows, costs = 0, Costs()
    for shard in shards:
        if isinstance(shard, Failure):
            return shard
        n_rows += shard.rows
        costs.add(shard.costs)
        # merging works in place; should this task run twice, its input must be what it was
        for tree, nodes in zip(trees, deepcopy(shard.nodes), strict=True):
            for node in nodes:
                tree.push(node)
    costs.merge += perf_counter() - began
    return Reduced(n_rows, [tree.nodes() for tree in trees], costs)


def map_shard(
    function: Parcel[Callable[[Chunk], R]] | Callable[[Chunk], R],
    grid: Parcel[Grid] | Grid,
    rows: list[Parcel[Rows] | Rows],
    spans: Parcel[list[Range]],
) -> list[R] | Failure:
    """Return ``function(chunk)`` for every block."""
    function, grid = opened(function), opened(grid)
    results: list[R] = []
    try:
        with closing(_chunks(grid, rows, spans.content)) as chunks:
            results.extend(map(function, _while_wanted(chunks)))
    except Exception as error:
        return _failed(error, grid.name(spans.content[0][0] + len(results)))
    return results


def _chunks(
    grid: Grid, rows: list[Parcel[Rows] | Rows], spans: list[Range]
) -> Generator[Chunk, None, None]:
    for one, (first, last) in zip(map(opened, rows), spans, strict=True):
        raise_failure(one)
        chunks = one.chunks(grid, first, last)
        # files on a cluster mostly lie across a network, so waiting is worth a thread; partitions
        # are computed by this one
        if getattr(one, "reads_files", False):
            with closing(read_ahead(chunks)) as ahead:
                yield from ahead
        else:
            yield from chunks
