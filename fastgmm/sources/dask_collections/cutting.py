"""Cutting: from the graph of a collection to one small graph per partition."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import dask.array as da
import numpy as np
from dask.base import optimize
from dask.core import flatten, get_dependencies, istask

from fastgmm.sources.dask_collections.partitions import (
    Graph,
    Key,
    Layout,
    Partition,
    Partitions,
    is_future,
)

# Partitions that repeat no more than half of the graph's tasks are computed one by one; a shuffle
# or `X - X.mean(axis=0)` repeats nearly all of it in every partition.
SHARED_WORK = 1.5

# An array in the graph that several partitions slice (a memory map under da.from_array) is an
# input, sent once; smaller ones travel with each partition.
SHARED_ARRAY_BYTES = 2**20


def cut(X: Any, weights: Any, layout: Layout) -> Partitions | None:
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
