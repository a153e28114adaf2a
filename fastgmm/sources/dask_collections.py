"""Dask arrays and data frames: their partitions are the blocks.

The optimised graph of a collection is cut once into one small graph per partition. Each is computed
by itself, wherever it is wanted, with Dask's synchronous scheduler: on a thread of this process
without any cluster, or inside one task that streams a whole range of partitions.
"""

import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, NamedTuple, TypeAlias

import dask.array as da
import numpy as np
from dask._task_spec import DataNode  # what marks a value in a graph as "not a task"
from dask.base import optimize
from dask.core import flatten, get_dependencies, istask
from dask.local import get_sync
from numpy.typing import NDArray

from fastgmm._typing import Float64Array, FloatArray
from fastgmm.exceptions import DataError
from fastgmm.sources.arrays import writeable_view
from fastgmm.sources.base import NO_WEIGHTS, Chunk
from fastgmm.sources.grid import Grid, lengths_grid

Key: TypeAlias = Any
Graph: TypeAlias = dict[Key, Any]

# Partitions that repeat no more than half of the graph's tasks are computed one by one; a shuffle
# or `X - X.mean(axis=0)` repeats nearly all of it in every partition.
SHARED_WORK = 1.5

# An array in the graph that several partitions slice (a memory map under da.from_array) is an
# input, sent once; smaller ones travel with each partition.
SHARED_ARRAY_BYTES = 2**20

_SHARES_WORK = (
    "the partitions of X share work, so that computing one computes most of the others: call "
    "X.persist() first, write X to files, or compute what they share (such as X.mean(axis=0)) "
    "beforehand"
)


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
    """A computed partition."""

    rows: FloatArray
    weights: Float64Array


@dataclass(frozen=True, eq=False)
class Blocks:
    """Neighbouring blocks in memory, the ``first_block``-th of the grid and on."""

    first_block: int
    blocks: Sequence[Block]

    def lengths(self) -> list[int]:
        """Return the number of rows of every block."""
        return [len(block.rows) for block in self.blocks]

    def chunks(self, grid: Grid, first: int, last: int) -> Iterator[Chunk]:
        """Yield blocks of the grid."""
        own = self.blocks[first - self.first_block : last - self.first_block]
        for number, block in enumerate(own, first):
            start, stop = grid.rows(number)
            if len(block.rows) != stop - start:
                raise DataError(
                    f"partition {number} of X has {len(block.rows):,} rows where {stop - start:,} "
                    "were announced or counted: persist X, or correct its chunks with "
                    "compute_chunk_sizes()"
                )
            # what came over the wire may be read-only
            yield Chunk(start, writeable_view(block.rows), block.weights)


@dataclass(frozen=True, eq=False)
class Partitions:
    """Neighbouring partitions, computed whenever they are read."""

    first_block: int
    parts: Sequence[Partition]
    layout: Layout
    inputs: Mapping[Key, Any] = field(default_factory=dict)
    """Values, or futures of values, of the inputs."""

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
        return Blocks(self.first_block, [self._compute(i) for i in range(len(self.parts))])

    def chunks(self, grid: Grid, first: int, last: int) -> Iterator[Chunk]:
        """Compute partition after partition; none is kept."""
        for number in range(first, last):
            block = self._compute(number - self.first_block)
            yield from Blocks(number, [block]).chunks(grid, number, number + 1)

    def _compute(self, number: int) -> Block:
        part = self.parts[number]
        graph = dict(part.graph)
        for key in part.inputs:
            graph[key] = DataNode(key, _value(self.inputs[key]))
        keys = [part.rows] if part.weights is None else [part.rows, part.weights]
        values = get_sync(graph, keys)
        return _block(self.first_block + number, self.layout, *values)


@dataclass(frozen=True, eq=False)
class DaskSource:
    """The rows of a Dask array or data frame."""

    collections: tuple[Any, ...]
    """X, and the weights if there are any."""
    partitions: Partitions | None
    """None if the partitions share work: only :meth:`recut` persisted collections can be read."""
    layout: Layout
    columns: Sequence[str] | None
    known_lengths: tuple[int, ...] | None
    """Number of rows of every partition, or None while only a pass could tell."""

    @property
    def n_samples(self) -> int | None:
        """Number of rows, or None while only a pass could tell."""
        return None if self.known_lengths is None else sum(self.known_lengths)

    @property
    def n_features(self) -> int:
        """Number of columns."""
        return self.layout.n_features

    @property
    def dtype(self) -> np.dtype[np.floating]:
        """float32 if everything is float32, else float64."""
        return self.layout.dtype

    @property
    def weighted(self) -> bool:
        """Whether there are weights."""
        return self.layout.weighted

    @property
    def reads_files(self) -> bool:
        """Partitions mostly come from files: computing one while the kernel runs pays."""
        return True

    @property
    def independent(self) -> Partitions:
        """The partitions; raises DataError if they share work."""
        if self.partitions is None:
            raise DataError(_SHARES_WORK)
        return self.partitions

    def grid(self, chunk_size: int | None) -> Grid:
        """Return the grid whose blocks are the partitions; the numbers of rows must be known."""
        if chunk_size is not None:
            raise DataError(
                "chunk_size cannot be given for a Dask collection, whose partitions are the "
                "blocks: use X.rechunk or X.repartition instead"
            )
        if self.known_lengths is None:
            raise DataError("the partitions of X have unknown numbers of rows: count them first")
        return lengths_grid(list(self.known_lengths))

    def chunks(self, grid: Grid, first: int, last: int) -> Iterator[Chunk]:
        """Compute partition after partition; none is kept."""
        return self.independent.chunks(grid, first, last)

    def counted(
        self, map_blocks: Callable[[Callable[[int], int], Iterable[int]], Iterable[int]] = map
    ) -> "DaskSource":
        """Return a copy that knows its number of rows, which may take one pass.

        ``map_blocks`` is ``map``, or the same on a pool of threads.
        """
        if self.known_lengths is not None:
            return self
        parts = self.independent
        return self.with_lengths(list(map_blocks(parts.length, range(len(parts.parts)))))

    def with_lengths(self, lengths: Sequence[int]) -> "DaskSource":
        """Return a copy that knows the number of rows of every partition."""
        return replace(self, known_lengths=tuple(lengths))

    def recut(self, collections: Sequence[Any]) -> "DaskSource":
        """Return the same rows from other collections, such as the persisted ones."""
        X, *weights = collections
        partitions = _cut(X, weights[0] if weights else None, self.layout)
        return replace(self, collections=tuple(collections), partitions=partitions)


def collection_source(X: Any, sample_weight: Any, missing: str) -> DaskSource:
    """Turn a Dask array or data frame into a source; nothing is computed.

    Parameters
    ----------
    X : dask array (n, d) or dask data frame
        Partitions may be empty and of unknown length.
    sample_weight : dask array or series, array, or None
        A collection must have the partitions of X; an array is cut like X, whose lengths must
        be known.
    missing : {"raise", "drop"}
        Whether rows with NaN are left out.

    Raises
    ------
    DataError
        Not a table of real numbers, or weights that do not fit.
    """
    X = _checked_rows(X)
    lengths = _lengths(X)
    weights = None if sample_weight is None else _checked_weights(sample_weight, X, lengths)
    drop = missing == "drop"
    layout = _layout(X, weights is not None, drop)
    return DaskSource(
        collections=(X,) if weights is None else (X, weights),
        partitions=_cut(X, weights, layout),
        layout=layout,
        columns=None if isinstance(X, da.Array) else [str(name) for name in X.columns],
        known_lengths=None if lengths is None or drop else tuple(lengths),
    )


def _layout(X: Any, weighted: bool, drop_missing: bool) -> Layout:
    dtypes = [X.dtype] if isinstance(X, da.Array) else list(X.dtypes)
    single = all(dtype == np.float32 for dtype in dtypes)
    return Layout(
        n_features=int(X.shape[1]) if isinstance(X, da.Array) else len(X.columns),
        dtype=np.dtype(np.float32 if single else np.float64),
        weighted=weighted,
        drop_missing=drop_missing,
        nullable=not all(isinstance(dtype, np.dtype) for dtype in dtypes),
    )


def map_rows(
    function: Callable[[Chunk], NDArray[Any]],
    X: Any,
    width: int | None,
    dtype: np.dtype[Any],
) -> Any:
    """Return lazily what ``function`` makes of the rows of a Dask array or data frame.

    Parameters
    ----------
    function : callable
        From a chunk of t rows to an array (t,), or (t, width) if there is a width.
    width : int or None
        Number of columns of the result.

    Returns
    -------
    dask array for an array; series or data frame with the index of X for a data frame
        Partitions are those of X; nothing is computed yet.
    """
    X = _checked_rows(X)
    mapped = partial(_mapped, function, _layout(X, False, False), width, dtype)
    if isinstance(X, da.Array):
        chunks = (X.chunks[0],) if width is None else (X.chunks[0], (width,))
        return da.map_blocks(
            mapped,
            X,
            dtype=dtype,
            chunks=chunks,
            drop_axis=1 if width is None else None,
            meta=np.empty((0,) * len(chunks), dtype),
        )
    return X.map_partitions(mapped, meta=mapped(X._meta))


def _mapped(
    function: Callable[[Chunk], NDArray[Any]],
    layout: Layout,
    width: int | None,
    dtype: np.dtype[Any],
    rows: Any,
) -> Any:
    block = _block(0, layout, rows)
    if len(block.rows):
        result = function(Chunk(0, writeable_view(block.rows), block.weights))
    else:
        result = np.empty((0,) if width is None else (0, width), dtype)
    if not hasattr(rows, "index"):
        return result
    import pandas

    make = pandas.Series if width is None else pandas.DataFrame
    return make(result, index=rows.index)


def _checked_rows(X: Any) -> Any:
    """Return X in row chunks; raise DataError unless it is a table of real numbers."""
    if not isinstance(X, da.Array):
        if _ndim(X) != 2:
            raise DataError(
                f"X is a Dask {type(X).__name__}, not a table: pass a two-dimensional array or a "
                "data frame"
            )
        _check_frame(X)
        return X
    if X.ndim != 2:
        raise DataError(
            f"Expected 2D array, got {X.ndim}D array instead: use X.reshape(-1, 1) if your data "
            "has a single feature"
        )
    if X.dtype.kind == "c":
        raise DataError("Complex data not supported: X must be real numbers")
    if X.dtype.kind not in "fiub":
        raise DataError(f"X holds {X.dtype}, not numbers: use X.astype(float)")
    if np.isnan(X.shape[1]):
        raise DataError("X has an unknown number of columns: call X.compute_chunk_sizes() first")
    if X.numblocks[1] > 1:
        warnings.warn(
            f"X is chunked along its columns ({X.numblocks[1]} chunks) and is rechunked to whole "
            "rows: chunk it by rows, as X.rechunk({1: -1}) does, to avoid moving the data",
            UserWarning,
            stacklevel=4,
        )
        X = X.rechunk({1: -1})
    return X


def _ndim(collection: Any) -> int:
    """Return the number of dimensions, 0 of what is not made of partitions of a table."""
    # a Delayed has every attribute
    ndim = getattr(collection, "ndim", 0)
    return ndim if isinstance(ndim, int) else 0


def _check_frame(X: Any) -> None:
    for name, dtype in X.dtypes.items():
        # kind is also what pandas' nullable and Arrow types have; categories are "O"
        if getattr(dtype, "kind", "O") not in "fiub":
            raise DataError(
                f"column {str(name)!r} holds {dtype}, not numbers: choose other columns"
            )


def _lengths(X: Any) -> list[int] | None:
    """Return the number of rows of every partition, or None."""
    chunks = X.chunks[0] if isinstance(X, da.Array) else [np.nan]
    return None if np.isnan(chunks).any() else [int(length) for length in chunks]


def _checked_weights(sample_weight: Any, X: Any, lengths: list[int] | None) -> Any:
    if not hasattr(sample_weight, "__dask_graph__"):
        return _cut_weights(sample_weight, lengths)
    if _ndim(sample_weight) != 1:
        raise DataError(
            "sample_weight must be a one-dimensional Dask array or a series, not a "
            f"{_ndim(sample_weight)}-dimensional {type(sample_weight).__name__}"
        )
    kind = getattr(sample_weight.dtype, "kind", "O")
    if kind not in "fiub":
        raise DataError(f"sample_weight holds {sample_weight.dtype}, not numbers")
    known = _lengths(sample_weight)
    counts = _n_partitions(sample_weight), _n_partitions(X)
    if counts[0] != counts[1]:
        raise DataError(
            f"sample_weight has {counts[0]} partitions but X has {counts[1]}: rechunk or "
            "repartition it like X"
        )
    if known and lengths and known != lengths:
        raise DataError(
            "the partitions of sample_weight have other lengths than those of X: use "
            "sample_weight.rechunk((X.chunks[0],))"
        )
    return sample_weight


def _cut_weights(sample_weight: Any, lengths: list[int] | None) -> Any:
    """Cut weights in memory like the rows."""
    if lengths is None:
        raise DataError(
            "sample_weight is in memory but the partitions of X have unknown numbers of rows: "
            "pass weights as a Dask collection with the partitions of X, or call "
            "X.compute_chunk_sizes() first"
        )
    try:
        weights = np.ascontiguousarray(sample_weight, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise DataError(f"sample_weight is not an array of numbers: {error}") from error
    n_samples = sum(lengths)
    if np.ndim(sample_weight) == 0:
        weights = np.full(n_samples, weights)
    if weights.shape != (n_samples,):
        raise DataError(f"sample_weight.shape == {weights.shape}, expected {(n_samples,)}!")
    return da.from_array(weights, chunks=(tuple(lengths),))


def _n_partitions(collection: Any) -> int:
    if isinstance(collection, da.Array):
        return int(collection.numblocks[0])
    return int(collection.npartitions)


def _cut(X: Any, weights: Any, layout: Layout) -> Partitions | None:
    """Cut the graph into one graph per partition; None if that would repeat too much work."""
    collections = [X] if weights is None else [X, weights]
    optimised = _optimised(collections)
    graph: Graph = {}
    for collection in optimised:
        graph.update(collection.__dask_graph__())
    futures = futures_of(collections)
    graph.update(futures)  # optimising arrays drops them
    inputs = futures | _large_arrays(graph)
    row_keys = list(flatten(optimised[0].__dask_keys__()))
    weight_keys: list[Key | None] = [None] * len(row_keys)
    if weights is not None:
        weight_keys = list(flatten(optimised[1].__dask_keys__()))
    n_tasks = sum(map(istask, graph.values()))
    budget = SHARED_WORK * n_tasks
    parts = []
    for rows, weight in zip(row_keys, weight_keys, strict=True):
        part = _share(graph, inputs, rows, weight)
        budget -= sum(map(istask, part.graph.values()))
        if budget < 0:
            return None
        parts.append(part)
    return Partitions(0, parts, layout, inputs)


def _optimised(collections: Sequence[Any]) -> list[Any]:
    """Return the collections with optimised graphs."""
    # dask.optimize(frame) of 2026.8 forgets the projection in `frame[columns]`
    frames = [c.optimize() for c in collections if not isinstance(c, da.Array)]
    arrays = optimize(*(c for c in collections if isinstance(c, da.Array)))
    done = {True: iter(arrays), False: iter(frames)}
    return [next(done[isinstance(c, da.Array)]) for c in collections]


def _share(graph: Graph, inputs: Mapping[Key, Any], rows: Key, weights: Key | None) -> Partition:
    """Return the part of the graph that two keys need."""
    share: Graph = {}
    needed = set()
    waiting = [rows] if weights is None else [rows, weights]
    while waiting:
        key = waiting.pop()
        if key in inputs:
            needed.add(key)
        elif key not in share:
            share[key] = graph[key]
            waiting.extend(get_dependencies(graph, key))
    return Partition(share, rows, weights, tuple(needed))


def futures_of(collections: Iterable[Any]) -> dict[Key, Any]:
    """Return the persisted data in the graphs."""
    return {
        key: value
        for collection in collections
        for key, value in dict(collection.__dask_graph__()).items()
        if is_future(value)
    }


def is_future(value: Any) -> bool:
    """Return whether a value in a graph stands for data on a cluster; does not import one."""
    return hasattr(value, "key") and hasattr(value, "add_done_callback")


def _large_arrays(graph: Graph) -> dict[Key, Any]:
    """Return the large arrays in a graph that more than one task slices."""
    large = {}
    for key, node in graph.items():
        value = getattr(node, "value", node)
        if isinstance(value, np.ndarray) and value.nbytes > SHARED_ARRAY_BYTES:
            large[key] = value
    users = dict.fromkeys(large, 0)
    if large:
        for key in graph:
            for used in get_dependencies(graph, key) & large.keys():
                users[used] += 1
    return {key: value for key, value in large.items() if users[key] > 1}


def _value(value: Any) -> Any:
    return value.result() if is_future(value) else value


def _block(number: int, layout: Layout, rows: Any, weights: Any = None) -> Block:
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
    return np.ascontiguousarray(value, dtype=dtype)
