"""Dask collections as sources: partitions are blocks, whatever the graph and the columns are."""

import pickle
import sys
import tracemalloc
from pathlib import Path
from subprocess import run
from typing import Any

import dask.array as da
import dask.dataframe as dd
import numpy as np
import pandas as pd
import pytest
from dask.base import is_dask_collection
from dask.delayed import delayed

from fastgmm.exceptions import DataError
from fastgmm.sources import Chunk, Source, as_source
from fastgmm.sources.dask_collections import DaskSource, map_rows

ROWS = np.random.default_rng(0).normal(size=(11, 3))
WEIGHTS = np.random.default_rng(1).uniform(1, 2, size=11)
LENGTHS = [4, 0, 5, 2]
CHUNKS = (tuple(LENGTHS), 3)


def collection(rows: np.ndarray = ROWS) -> Any:
    return da.from_array(rows, chunks=CHUNKS)


def frame(table: pd.DataFrame) -> Any:
    return dd.from_pandas(table, npartitions=3)


def counted(X: Any, **options: Any) -> DaskSource:
    source = as_source(X, **options)
    assert isinstance(source, Source)
    return source.counted()


def read(X: Any, **options: Any) -> tuple[np.ndarray, np.ndarray, list[int]]:
    """Return all rows and weights, and the number of rows of every block."""
    source = counted(X, **options)
    grid = source.grid(None)
    chunks = list(source.chunks(grid, 0, grid.n_blocks))
    assert [chunk.first_row for chunk in chunks] == grid.boundaries[:-1].tolist()
    for chunk in chunks:
        assert chunk.rows.dtype == source.dtype
        assert chunk.rows.flags.c_contiguous
        assert chunk.rows.flags.writeable
    rows = np.concatenate([chunk.rows for chunk in chunks])
    weights = np.concatenate([chunk.weights for chunk in chunks])
    assert source.n_samples == len(rows)
    return rows, weights, [len(chunk.rows) for chunk in chunks]


def test_partitions_are_the_blocks() -> None:
    rows, weights, lengths = read(collection())
    np.testing.assert_array_equal(rows, ROWS)
    assert len(weights) == 0
    assert lengths == LENGTHS


def test_any_range_of_blocks_can_be_read() -> None:
    source = counted(collection() * 2)
    grid = source.grid(None)
    (first, second) = source.chunks(grid, 1, 3)
    assert len(first.rows) == 0
    np.testing.assert_array_equal(second.rows, ROWS[4:9] * 2)


def test_known_lengths_need_no_pass() -> None:
    def fail(block: np.ndarray) -> np.ndarray:
        raise AssertionError("computed")

    source = as_source(collection().map_blocks(fail, dtype=float))
    assert source.n_samples == 11
    assert source.grid(None).n_blocks == 4


def test_unknown_lengths_are_counted() -> None:
    X = collection()
    X = X[X[:, 0] > -10]
    assert as_source(X).n_samples is None
    rows, _, lengths = read(X)
    np.testing.assert_array_equal(rows, ROWS)
    assert lengths == LENGTHS
    with pytest.raises(DataError, match="count them first"):
        as_source(X).grid(None)


@pytest.mark.parametrize("known", [True, False])
def test_column_chunks_are_joined_with_a_warning(known: bool) -> None:
    X = da.from_array(ROWS, chunks=(4, 2))
    if not known:
        X = X[da.from_array(np.ones(11, bool), chunks=4)]
    with pytest.warns(UserWarning, match="chunked along its columns"):
        rows, _, lengths = read(X)
    np.testing.assert_array_equal(rows, ROWS)
    assert lengths == [4, 4, 3]


@pytest.mark.parametrize(
    ("given", "computed"),
    [
        ("f4", "f4"),
        ("f8", "f8"),
        ("f2", "f8"),
        ("i8", "f8"),
        ("u1", "f8"),
        ("?", "f8"),
        (">f8", "f8"),
    ],
)
def test_dtypes_of_arrays(given: str, computed: str) -> None:
    whole = (np.abs(ROWS) * 3).astype(given)
    rows, _, _ = read(collection(whole))
    assert rows.dtype == np.dtype(computed)
    np.testing.assert_array_equal(rows, whole)


def test_dtypes_of_frames() -> None:
    single = pd.DataFrame(ROWS.astype("f4"), columns=list("abc"))
    assert counted(frame(single)).dtype == np.float32
    rows, _, _ = read(frame(single.astype({"b": "f8"})))
    np.testing.assert_array_equal(rows, ROWS.astype("f4"))
    nullable = pd.DataFrame({"a": pd.array([1, None, 3], dtype="Int64"), "b": [True, False, True]})
    rows, _, _ = read(frame(nullable))
    np.testing.assert_array_equal(rows, [[1, 1], [np.nan, 0], [3, 1]])


def test_a_frame_has_names() -> None:
    assert as_source(frame(pd.DataFrame(ROWS, columns=list("xyz")))).columns == list("xyz")
    assert as_source(frame(pd.DataFrame(ROWS))).columns is None  # numbers, as in memory
    assert as_source(collection()).columns is None
    with pytest.raises(DataError, match="Feature names are only supported"):
        as_source(frame(pd.DataFrame(ROWS, columns=["x", "y", 3])))


def test_a_projected_frame_keeps_its_projection() -> None:
    table = pd.DataFrame(ROWS, columns=list("abc"))
    rows, weights, _ = read(frame(table)[["c", "a"]], sample_weight=frame(table)["b"])
    np.testing.assert_array_equal(rows, ROWS[:, [2, 0]])
    np.testing.assert_array_equal(weights, ROWS[:, 1])


def test_a_frame_as_an_array() -> None:
    rows, _, _ = read(frame(pd.DataFrame(ROWS, columns=list("abc")))[["b", "c"]].to_dask_array())
    np.testing.assert_array_equal(rows, ROWS[:, 1:])


@pytest.mark.parametrize(
    "weights",
    [
        WEIGHTS,
        WEIGHTS.tolist(),
        da.from_array(WEIGHTS, chunks=(tuple(LENGTHS),)),
        (da.from_array(np.column_stack([ROWS, WEIGHTS]), chunks=(tuple(LENGTHS), 4)))[:, 3],
    ],
)
def test_weights_go_with_their_rows(weights: Any) -> None:
    rows, read_weights, lengths = read(collection(), sample_weight=weights)
    np.testing.assert_array_equal(rows, ROWS)
    np.testing.assert_array_equal(read_weights, WEIGHTS)
    assert lengths == LENGTHS


def test_one_weight_is_everyones() -> None:
    np.testing.assert_array_equal(read(collection(), sample_weight=2)[1], np.full(11, 2.0))


def test_rows_with_missing_values_are_dropped_with_their_weights() -> None:
    damaged, weights = ROWS.copy(), WEIGHTS.copy()
    damaged[[0, 4, 5], [0, 1, 2]] = np.nan
    weights[10] = np.nan
    keep = [1, 2, 3, 6, 7, 8, 9]
    source = as_source(collection(damaged), sample_weight=weights, missing="drop")
    assert source.n_samples is None
    rows, read_weights, lengths = read(collection(damaged), sample_weight=weights, missing="drop")
    np.testing.assert_array_equal(rows, ROWS[keep])
    np.testing.assert_array_equal(read_weights, WEIGHTS[keep])
    assert lengths == [3, 0, 3, 1]


def unknown() -> Any:
    return collection()[da.from_array(np.ones(11, bool), chunks=(tuple(LENGTHS),))]


@pytest.mark.parametrize(
    ("X", "weights", "message"),
    [
        (da.ones(5), None, "Expected 2D array, got 1D"),
        (collection().astype(complex), None, "Complex data"),
        (collection().astype(object), None, "X holds object, not numbers"),
        (frame(pd.DataFrame({"a": [1.0, 2], "town": ["x", "y"]})), None, "column 'town' holds"),
        (frame(pd.DataFrame({"a": [1.0], "day": pd.to_datetime(["2020"])})), None, "column 'day'"),
        (frame(pd.DataFrame({"a": pd.Categorical([1, 2])})), None, "column 'a' holds category"),
        (frame(pd.DataFrame({"a": [1.0, 2]}))["a"], None, "is a Dask Series, not a table"),
        (delayed(ROWS), None, r"is a Dask Delayed.*, not a table"),
        (collection(), WEIGHTS[:-1], r"sample_weight.shape == \(10,\), expected \(11,\)"),
        (collection(), 1j * WEIGHTS, "sample_weight must be real numbers"),
        (collection(), da.from_array(1j * WEIGHTS, chunks=(CHUNKS[0],)), "not numbers"),
        (collection(), ["a"] * 11, "sample_weight is not an array of numbers"),
        (collection(), da.from_array(WEIGHTS, chunks=4), "has 3 partitions but X has 4"),
        (collection(), da.from_array(WEIGHTS, chunks=((4, 1, 4, 2),)), "have other lengths"),
        (collection(), collection(), "one-dimensional Dask array or a series, not a 2-dim"),
        (collection(), delayed(WEIGHTS), "not a 0-dimensional Delayed"),
        (collection(), da.from_array(WEIGHTS, chunks=(CHUNKS[0],)).astype(str), "not numbers"),
        (unknown(), WEIGHTS, "compute_chunk_sizes"),
    ],
)
def test_what_is_not_a_table_of_numbers(X: Any, weights: Any, message: str) -> None:
    assert is_dask_collection(X)
    with pytest.raises(DataError, match=message):
        as_source(X, sample_weight=weights)


def test_partitions_that_are_not_what_they_say() -> None:
    short = collection().map_blocks(lambda x: x[1:], dtype=float)
    with pytest.raises(DataError, match="partition 0 of X has 3 rows where 4 were announced"):
        read(short)
    narrow = collection().map_blocks(lambda x: x[:, 1:], dtype=float)
    with pytest.raises(DataError, match=r"partition 0 of X has the shape \(4, 2\)"):
        read(narrow)
    words = collection().map_blocks(lambda x: x.astype(str).astype(object) + "?", dtype=float)
    with pytest.raises(DataError, match="partition 0 of X is not a table of numbers"):
        read(words)
    with pytest.raises(DataError, match="partition 0 has 4 rows but weights of shape"):
        read(unknown(), sample_weight=unknown()[:, 0].map_blocks(lambda w: w[:1], dtype=float))


def test_chunk_size_is_refused() -> None:
    with pytest.raises(DataError, match=r"use X\.rechunk or"):
        as_source(collection()).grid(100)


def test_shared_work_is_refused_with_advice() -> None:
    X = da.random.default_rng(0).normal(size=(100, 3), chunks=(10, 3))
    with pytest.raises(DataError, match=r"call X.persist\(\) first"):
        read(X - X.mean(axis=0))
    read(X - X.mean(axis=0).compute())
    read((X - X.mean(axis=0)).persist(scheduler="synchronous"))


def test_a_memory_map_is_sliced_not_copied(tmp_path: Path) -> None:
    rows = np.random.default_rng(0).normal(size=(200_000, 4))
    np.save(tmp_path / "rows.npy", rows)
    source = counted(da.from_array(np.load(tmp_path / "rows.npy", mmap_mode="r"), chunks=(1000, 4)))
    grid = source.grid(None)
    tracemalloc.start()
    total = sum(chunk.rows.sum() for chunk in source.chunks(grid, 0, grid.n_blocks))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert total == pytest.approx(rows.sum())
    assert peak < rows.nbytes / 2
    assert len(pickle.dumps(source.independent.share(0, 1))) < 10_000


def test_nothing_is_kept() -> None:
    X = da.random.default_rng(0).normal(size=(2_000_000, 1), chunks=(50_000, 1))
    source = counted(X)
    grid = source.grid(None)
    tracemalloc.start()
    for _ in source.chunks(grid, 0, grid.n_blocks):
        pass
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 16_000_000 / 4


def test_a_source_can_be_pickled() -> None:
    source = pickle.loads(pickle.dumps(as_source(collection() + 1)))
    grid = source.grid(None)
    rows = np.concatenate([chunk.rows for chunk in source.chunks(grid, 0, grid.n_blocks)])
    np.testing.assert_array_equal(rows, ROWS + 1)


def first_column(chunk: Chunk) -> np.ndarray:
    return chunk.rows[:, 0] > 0


def two_columns(chunk: Chunk) -> np.ndarray:
    return chunk.rows[:, 1:] * 2


@pytest.mark.parametrize("lengths_known", [True, False])
def test_rows_of_an_array_are_mapped_lazily(lengths_known: bool) -> None:
    X = collection() if lengths_known else unknown()
    labels = map_rows(first_column, as_source(X), ["a"], None, np.dtype(bool))
    assert isinstance(labels, da.Array)
    assert (labels.ndim, labels.dtype, labels.numblocks) == (1, bool, (4,))
    np.testing.assert_array_equal(labels.compute(scheduler="synchronous"), ROWS[:, 0] > 0)
    pairs = map_rows(two_columns, as_source(X), ["b", "c"], 2, np.dtype(float))
    assert pairs.shape[1] == 2
    np.testing.assert_array_equal(pairs.compute(scheduler="synchronous"), ROWS[:, 1:] * 2)


def test_rows_of_a_frame_keep_their_index() -> None:
    table = pd.DataFrame(ROWS, columns=list("abc"), index=np.arange(100, 111))
    labels = map_rows(first_column, as_source(frame(table)), ["a"], None, np.dtype(bool))
    assert (labels.dtype, labels.name) == (bool, "a")
    pd.testing.assert_series_equal(labels.compute(scheduler="synchronous"), table["a"] > 0)
    pairs = map_rows(two_columns, as_source(frame(table)), ["b", "c"], 2, np.dtype(float))
    assert list(pairs.columns) == ["b", "c"]
    pd.testing.assert_frame_equal(pairs.compute(scheduler="synchronous"), table[["b", "c"]] * 2)


def test_a_collection_does_not_import_distributed() -> None:
    program = (
        "import sys, dask.array as da\n"
        "from fastgmm.sources import as_source\n"
        "as_source(da.ones((4, 2), chunks=(2, 2))).counted()\n"
        "assert 'distributed' not in sys.modules"
    )
    assert run([sys.executable, "-c", program], check=False).returncode == 0


def test_a_widened_collection_has_the_same_rows_in_float64() -> None:
    single = ROWS.astype("f4")
    for X in (collection(single), frame(pd.DataFrame(single))):
        wide = as_source(X).widened().counted()
        assert wide.dtype == np.float64
        grid = wide.grid(None)
        chunks = [chunk.rows for chunk in wide.chunks(grid, 0, grid.n_blocks)]
        assert {chunk.dtype for chunk in chunks} == {np.dtype(np.float64)}
        np.testing.assert_array_equal(np.concatenate(chunks), single)


def test_tables_without_columns_are_refused():
    for X in (collection()[:, :0], frame(pd.DataFrame(ROWS, columns=["a", "b", "c"]))[[]]):
        with pytest.raises(DataError, match=r"0 feature\(s\)"):
            as_source(X)
