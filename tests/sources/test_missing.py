"""Rows with missing values are left out, counted and told."""

import pickle
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import dask.array as da
import numpy as np
import pandas as pd
import pytest

from fastgmm.exceptions import DataError
from fastgmm.sources import ArraySource, Chunk, Grid, Source, as_source, open_dataset, row_grid
from fastgmm.sources.missing import CompleteRows, drop_missing


def read(source: Source, chunk_size: int | None = 50) -> np.ndarray:
    grid = source.grid(chunk_size)
    return np.concatenate([c.rows.copy() for c in source.chunks(grid, 0, grid.n_blocks)])


@pytest.fixture
def rows() -> np.ndarray:
    rows = np.random.default_rng(0).normal(size=(1000, 3))
    rows[10:19, 0] = np.nan
    rows[18:21, 2] = np.nan
    return rows


def test_what_was_dropped_is_told(rows: np.ndarray) -> None:
    source = drop_missing(ArraySource(rows, columns=["a", "b", "c"]))
    assert isinstance(source, CompleteRows)
    assert source.n_dropped == 11
    assert source.n_samples == 989
    assert source.missing_per_column == {"a": 9, "c": 3}
    assert source.describe() == "dropped 11 of 1,000 rows with missing values (a: 9, c: 3)"
    assert source.describe() in repr(source)


def test_columns_without_names_are_told_by_index(rows: np.ndarray) -> None:
    source = drop_missing(ArraySource(rows))
    assert source.missing_per_column == {0: 9, 2: 3}
    assert source.describe().endswith("(column 0: 9, column 2: 3)")


def test_missing_weights_are_told(rows: np.ndarray) -> None:
    weights = np.ones(1000)
    weights[[5, 15, 30]] = np.nan
    source = drop_missing(ArraySource(rows, weights, ["a", "b", "c"]))
    assert source.n_dropped == 13
    assert source.missing_per_column == {"a": 9, "c": 3, "weight": 3}
    for chunk in source.chunks(source.grid(10), 0, 99):
        assert (chunk.weights == 1).all()
        assert len(chunk.weights) == len(chunk.rows)


def test_a_feature_may_be_called_weight(rows: np.ndarray) -> None:
    weights = np.r_[np.nan, np.ones(999)]
    source = drop_missing(ArraySource(rows, weights, ["weight", "b", "c"]))
    assert source.missing_per_column == {"weight": 9, "c": 3, "row weight": 1}


def test_infinite_values_are_not_missing(rows: np.ndarray) -> None:
    rows[0, 0], rows[1, 1], rows[2] = np.inf, -np.inf, [np.inf, -np.inf, 0]
    weights = np.r_[np.inf, np.ones(999)]
    source = drop_missing(ArraySource(rows, weights))
    assert source.n_dropped == 11
    assert (read(source)[:3] == rows[:3]).all()


def test_nothing_missing_leaves_the_source_as_it_is(rows: np.ndarray) -> None:
    base = ArraySource(rows[100:])
    source = drop_missing(base)
    assert source.n_dropped == 0
    assert source.missing_per_column == {}
    assert source.describe() == "none of 900 rows has missing values"
    grid = source.grid(100)
    for ours, theirs in zip(source.chunks(grid, 0, 9), base.chunks(grid, 0, 9), strict=True):
        assert np.shares_memory(ours.rows, theirs.rows)


def test_dropping_twice_is_dropping_once(rows: np.ndarray) -> None:
    source = drop_missing(ArraySource(rows))
    assert drop_missing(source) is source


def test_nothing_left_is_refused() -> None:
    rows = np.array([[1, np.nan], [np.nan, 1], [2, np.nan]])
    with pytest.raises(DataError, match=r"^none of 3 rows is left .* \(b: 2, a: 1\): choose"):
        drop_missing(ArraySource(rows, columns=["a", "b"]))


def test_no_rows_are_refused() -> None:
    with pytest.raises(DataError, match="none of 0 rows is left"):
        drop_missing(ArraySource(np.empty((0, 2))))


@dataclass(frozen=True)
class Counting(ArraySource):
    """Counts the blocks that were read; its own grid is uneven, with empty blocks."""

    passes: list[tuple[int, int]] = field(default_factory=list)

    def grid(self, chunk_size: int | None) -> Grid:
        return Grid(np.array([0, 0, 5, 5, 400, 401, 1000]))

    def chunks(self, grid: Grid, first: int, last: int) -> Iterator[Chunk]:
        self.passes.append((first, last))
        return super().chunks(grid, first, last)


def test_the_scan_is_made_once_and_travels_along(rows: np.ndarray) -> None:
    base = Counting(rows)
    source = drop_missing(base)
    assert base.passes == [(0, 6)]
    copy = pickle.loads(pickle.dumps(source))
    assert copy.describe() == source.describe()
    assert copy.base.passes == [(0, 6)]
    grid = copy.grid(100)
    assert grid.boundaries.tolist() == row_grid(989, 3, 100).boundaries.tolist()
    assert (read(copy, 100) == rows[~np.isnan(rows).any(axis=1)]).all()


def test_only_the_blocks_that_are_needed_are_read(rows: np.ndarray) -> None:
    base = Counting(rows)
    source = drop_missing(base)
    grid = row_grid(989, 3, 10)
    [chunk] = source.chunks(grid, 39, 40)
    assert base.passes[1:] == [(5, 6)]
    assert chunk.first_row == 390
    assert (chunk.rows == rows[~np.isnan(rows).any(axis=1)][390:400]).all()


@dataclass(frozen=True)
class Uncounted(ArraySource):
    """Does not know its number of rows until it is counted."""

    @property
    def n_samples(self) -> int | None:
        return None

    def grid(self, chunk_size: int | None) -> Grid:
        raise AssertionError("the rows were not counted")

    def counted(
        self, map_blocks: Callable[[Callable[[int], int], Iterable[int]], Iterable[int]]
    ) -> Source:
        return ArraySource(self.array)


def test_a_source_of_unknown_length_is_counted_first(rows: np.ndarray) -> None:
    assert drop_missing(Uncounted(rows)).describe().startswith("dropped 11 of 1,000 rows")


def test_data_that_change_after_the_scan_are_an_error(rows: np.ndarray) -> None:
    source = drop_missing(ArraySource(rows))
    rows[500] = np.nan
    with pytest.raises(DataError, match="have changed since they were searched"):
        read(source)


def test_frames_and_files_drop_the_same_rows(rows: np.ndarray, tmp_path: Path) -> None:
    frame = pd.DataFrame(rows, columns=["a", "b", "c"])
    frame.to_parquet(tmp_path / "x.parquet", row_group_size=77)
    np.save(tmp_path / "x.npy", rows)
    sources = [
        as_source(rows, missing="drop"),
        as_source(frame, missing="drop"),
        as_source(tmp_path / "x.npy", missing="drop"),
        open_dataset(tmp_path / "x.npy", missing="drop"),
        open_dataset(tmp_path / "x.parquet", missing="drop"),
        as_source(open_dataset(tmp_path / "x.parquet"), missing="drop"),
    ]
    expected = frame.dropna().to_numpy()
    for source in sources:
        assert (read(source) == expected).all()
        assert source.grid(None).n_samples == 989


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.int64])
def test_masked_values_are_missing(dtype: type) -> None:
    rows = np.random.default_rng(0).integers(0, 50, size=(1000, 3)).astype(dtype)
    masked = np.ma.masked_equal(rows, 7)
    complete = rows[(rows != 7).all(axis=1)]
    source = as_source(masked, missing="drop")
    assert np.array_equal(read(source), complete)
    assert source.dtype == (np.float32 if dtype == np.float32 else np.float64)
    assert np.array_equal(read(as_source(np.ma.array(rows))), rows)
    lazy = da.ma.masked_equal(da.from_array(rows, chunks=(300, 3)), 7)
    dropped = as_source(lazy, missing="drop").counted()
    grid = dropped.grid(None)
    chunks = dropped.chunks(grid, 0, grid.n_blocks)
    assert np.array_equal(np.concatenate([chunk.rows for chunk in chunks]), complete)
    weights = np.ma.masked_equal(rows[:, 0], 7)
    weighted = as_source(rows, sample_weight=weights, missing="drop")
    assert np.array_equal(read(weighted), rows[rows[:, 0] != 7])
