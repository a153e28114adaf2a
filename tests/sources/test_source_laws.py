"""What every source promises, whatever its rows come from."""

import itertools
import os
import pickle
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import h5py
import numpy as np
import pyarrow as pa
import pytest
import zarr
from pyarrow import parquet as pq

from fastgmm.sources import (
    BUFFERS,
    NO_WEIGHTS,
    ArraySource,
    Chunk,
    Source,
    as_source,
    open_dataset,
    row_grid,
)
from fastgmm.sources.missing import drop_missing

N, D = 1003, 3
NAMES = ["a", "b", "c"]
CHUNK_SIZES = (1, 7, 128, 500, 5000, None)

Table = np.ndarray


def array_c(rows: Table, weights: Table, folder: Path) -> Source:
    return ArraySource(rows)


def array_fortran(rows: Table, weights: Table, folder: Path) -> Source:
    return ArraySource(np.asfortranarray(rows), weights)


def memory_map(rows: Table, weights: Table, folder: Path) -> Source:
    np.save(folder / "rows.npy", rows)
    return ArraySource(np.load(folder / "rows.npy", mmap_mode="r"))


def npy_c(rows: Table, weights: Table, folder: Path) -> Source:
    np.save(folder / "rows.npy", rows)
    return open_dataset(folder / "rows.npy")


def npy_fortran(rows: Table, weights: Table, folder: Path) -> Source:
    np.save(folder / "rows.npy", np.asfortranarray(rows))
    return open_dataset(folder / "rows.npy")


def npy_files(rows: Table, weights: Table, folder: Path) -> Source:
    """Both orders, a single row, and files without rows at both ends and between."""
    for i, part in enumerate(np.split(rows, [0, 1, 400, 400, 403, N])):
        np.save(folder / f"part-{i * 3}.npy", np.asfortranarray(part) if i % 2 else part)
    return open_dataset(folder)


def npy_weighted(rows: Table, weights: Table, folder: Path) -> Source:
    """Features in another order than in the file, beside a column nobody wants."""
    table = np.column_stack([rows[:, 2], weights.astype(rows.dtype), rows[:, 1], rows[:, 0]])
    np.save(folder / "part-1.npy", np.column_stack([table, table])[:300])
    np.save(folder / "part-2.npy", np.asfortranarray(np.column_stack([table, table])[300:]))
    return open_dataset(folder / "*.npy", columns=["3", "6", "0"], weight="5")


def parquet_table(rows: Table, weights: Table) -> pa.Table:
    columns = dict(zip(NAMES, rows.T, strict=True))
    return pa.table({"c": columns["c"], "w": weights, "b": columns["b"], "a": columns["a"]})


def parquet_one_group(rows: Table, weights: Table, folder: Path) -> Source:
    pq.write_table(parquet_table(rows, weights), folder / "rows.parquet")
    return open_dataset(folder / "rows.parquet", columns=NAMES)


def parquet_small_groups(rows: Table, weights: Table, folder: Path) -> Source:
    pq.write_table(parquet_table(rows, weights), folder / "rows.parquet", row_group_size=13)
    return open_dataset(folder / "rows.parquet", columns=NAMES, weight="w")


def parquet_files(rows: Table, weights: Table, folder: Path) -> Source:
    """Row groups of several sizes, files without rows, and columns in another order."""
    table = parquet_table(rows, weights)
    cuts = [0, 0, 1, 400, 400, 403, N]
    for i, (start, stop) in enumerate(itertools.pairwise(cuts)):
        part = table.slice(start, stop - start)
        part = part.select(part.column_names[::-1]) if i % 2 else part
        pq.write_table(part, folder / f"part-{i * 3}.pq", row_group_size=40 + 30 * i)
    return open_dataset(folder, columns=NAMES, weight="w")


def zarr_of_format_2(rows: Table, weights: Table, folder: Path) -> Source:
    zarr.create_array(folder / "rows.zarr", data=rows, chunks=(97, D), zarr_format=2)
    return open_dataset(folder / "rows.zarr")


def zarr_object(rows: Table, weights: Table, folder: Path) -> Source:
    array = zarr.create_array(folder / "rows", data=rows, chunks=(97, D))
    return as_source(array, sample_weight=weights)


def zarr_column_chunks(rows: Table, weights: Table, folder: Path) -> Source:
    """Sharded, features in other column chunks and another order than in the array, in a group."""
    table = np.column_stack([rows[:, 2], weights, weights, rows[:, 1], weights, rows[:, 0]])
    group = zarr.open_group(folder / "store.zarr", mode="w")
    group.create_array("a/b", data=table.astype(rows.dtype), chunks=(150, 2), shards=(450, 2))
    return open_dataset(folder / "store.zarr" / "a" / "b", columns=["5", "3", "0"], weight="4")


def zarr_files(rows: Table, weights: Table, folder: Path) -> Source:
    """Both formats, chunks of all sizes, and arrays without rows between."""
    for i, part in enumerate(np.split(rows, [0, 1, 400, 400, 403])):
        chunks = (7 + 100 * i, 1 + i % D)
        zarr.create_array(
            folder / f"part-{i * 3}.zarr", data=part, chunks=chunks, zarr_format=2 + i % 2
        )
    return open_dataset(folder)


def hdf5_weighted(rows: Table, weights: Table, folder: Path) -> Source:
    with h5py.File(folder / "rows.h5", "w") as file:
        table = np.column_stack([rows, weights.astype(rows.dtype)])
        file.create_dataset("a/rows", data=table, chunks=(50, 2), compression="gzip")
        return open_dataset(file["a/rows"], weight="3")


def hdf5_files(rows: Table, weights: Table, folder: Path) -> Source:
    for i, part in enumerate(np.split(rows, [400])):
        with h5py.File(folder / f"part-{i}.hdf5", "w") as file:
            file["rows"] = part
    return open_dataset(folder / "part-*.hdf5")


def complete_array(rows: Table, weights: Table, folder: Path) -> Source:
    """Rows with missing values between the others; whole blocks of them at both ends."""
    rng = np.random.default_rng(3)
    where = np.sort(rng.integers(0, N, 200))
    gone = where + np.arange(200)
    rows, weights = (np.insert(data, where, 1, axis=0) for data in (rows, weights))
    rows[gone[:150], rng.integers(0, D, 150)] = np.nan
    weights[gone[150:]] = np.nan
    rows = np.pad(rows, [(700, 700), (0, 0)], constant_values=np.nan)
    return drop_missing(ArraySource(rows, np.pad(weights, 700, constant_values=1)))


def complete_parquet(rows: Table, weights: Table, folder: Path) -> Source:
    table = parquet_table(rows, weights).to_pydict()
    for column, where in zip(table, (0, 500, 501, 1010), strict=True):
        for name in table:
            table[name].insert(where, None if name == column else 1.0)
    schema = parquet_table(rows, weights).schema
    pq.write_table(pa.table(table, schema=schema), folder / "rows.parquet", row_group_size=100)
    return open_dataset(folder / "rows.parquet", columns=NAMES, weight="w", missing="drop")


def complete_already(rows: Table, weights: Table, folder: Path) -> Source:
    return drop_missing(npy_c(rows, weights, folder))


Make = Callable[[Table, Table, Path], Source]
SOURCES: list[Make] = [
    array_c,
    array_fortran,
    memory_map,
    npy_c,
    npy_fortran,
    npy_files,
    npy_weighted,
    parquet_one_group,
    parquet_small_groups,
    parquet_files,
    zarr_of_format_2,
    zarr_object,
    zarr_column_chunks,
    zarr_files,
    hdf5_weighted,
    hdf5_files,
    complete_array,
    complete_parquet,
    complete_already,
]


@pytest.fixture(scope="module", params=[np.float64, np.float32], ids=["float64", "float32"])
def rows(request: pytest.FixtureRequest) -> Table:
    return np.random.default_rng(1).normal(size=(N, D)).astype(request.param)


@pytest.fixture(scope="module")
def weights() -> Table:
    # exact in float32 too: one .npy file has one dtype
    return np.random.default_rng(2).integers(0, 1000, N) / 64


@pytest.fixture(scope="module", params=SOURCES, ids=lambda make: make.__name__)
def source(
    request: pytest.FixtureRequest,
    rows: Table,
    weights: Table,
    tmp_path_factory: pytest.TempPathFactory,
) -> Source:
    """One for all tests: none of them changes what it reads."""
    return request.param(rows, weights, tmp_path_factory.mktemp("rows"))


def same_chunk(chunk: Chunk, source: Source, rows: Table, weights: Table, start: int, stop: int):
    assert chunk.first_row == start
    assert chunk.rows.dtype == rows.dtype
    assert chunk.rows.shape == (stop - start, D)
    assert chunk.rows.flags.c_contiguous
    assert chunk.rows.flags.writeable  # or Numba compiles every kernel twice
    assert chunk.rows.tobytes() == rows[start:stop].tobytes()
    expected = weights[start:stop] if source.weighted else NO_WEIGHTS
    assert chunk.weights.dtype == np.float64
    assert chunk.weights.tobytes() == expected.tobytes()


def test_a_source_knows_its_shape(source: Source, rows: Table) -> None:
    assert isinstance(source, Source)
    assert (source.n_samples, source.n_features, source.dtype) == (N, D, rows.dtype)
    assert source.columns is None or len(source.columns) == D


@pytest.mark.parametrize("chunk_size", CHUNK_SIZES)
def test_the_grid_is_the_row_grid(source: Source, chunk_size: int | None) -> None:
    expected = row_grid(N, D, chunk_size)
    assert source.grid(chunk_size).boundaries.tolist() == expected.boundaries.tolist()


@pytest.mark.parametrize("chunk_size", CHUNK_SIZES)
def test_chunks_are_the_rows_bit_by_bit(
    source: Source, rows: Table, weights: Table, chunk_size: int | None
) -> None:
    grid = source.grid(chunk_size)
    for block, chunk in enumerate(source.chunks(grid, 0, grid.n_blocks)):
        same_chunk(chunk, source, rows, weights, *grid.rows(block))
    assert block == grid.n_blocks - 1


def test_a_widened_source_has_the_same_rows_in_float64(
    source: Source, rows: Table, weights: Table
) -> None:
    wide = source.widened()
    assert wide.dtype == np.float64
    grid = wide.grid(None)
    for number, chunk in enumerate(wide.chunks(grid, 0, grid.n_blocks)):
        start, stop = grid.boundaries[number : number + 2]
        same_chunk(chunk, wide, rows.astype(np.float64), weights, int(start), int(stop))
    assert source.dtype == rows.dtype


def test_any_range_of_blocks_can_be_read_alone(source: Source, rows: Table, weights: Table) -> None:
    rng = np.random.default_rng(4)
    for chunk_size in (1, 13, 64, 777):
        grid = source.grid(chunk_size)
        for _ in range(5):
            first, last = np.sort(rng.integers(0, grid.n_blocks + 1, 2)).tolist()
            chunks = source.chunks(grid, first, last)
            for block in range(first, last):
                same_chunk(next(chunks), source, rows, weights, *grid.rows(block))
            assert next(chunks, None) is None


def test_a_source_can_be_read_twice_at_once(source: Source, rows: Table, weights: Table) -> None:
    grid = source.grid(100)
    both = zip(*(source.chunks(grid, 0, grid.n_blocks) for _ in range(2)), strict=True)
    for block, chunks in enumerate(both):
        for chunk in chunks:
            same_chunk(chunk, source, rows, weights, *grid.rows(block))


def test_a_chunk_is_intact_until_enough_later_ones_were_taken(
    source: Source, rows: Table, weights: Table
) -> None:
    grid = source.grid(30)
    held: deque[Chunk] = deque(maxlen=BUFFERS)
    for last, chunk in enumerate(source.chunks(grid, 0, grid.n_blocks), 1):
        held.append(chunk)
        for block, old in enumerate(held, last - len(held)):
            same_chunk(old, source, rows, weights, *grid.rows(block))


def test_a_pickled_source_reads_the_same(source: Source, rows: Table, weights: Table) -> None:
    grid = source.grid(100)
    assert next(source.chunks(grid, 0, 1)).first_row == 0
    copy = pickle.loads(pickle.dumps(source))
    for block, chunk in enumerate(copy.chunks(grid, 0, grid.n_blocks)):
        same_chunk(chunk, copy, rows, weights, *grid.rows(block))


def test_reading_closes_its_files(source: Source) -> None:
    def open_files() -> int:
        """Return how many are on a disk: connections to clusters of other tests come and go."""
        n_files = 0
        for descriptor in Path("/proc/self/fd").iterdir():
            with suppress(OSError):
                n_files += os.readlink(descriptor).startswith("/")
        return n_files

    def are_closed() -> bool:
        """Ask for some seconds: what other threads of the process have open is counted, too."""
        return any(open_files() <= before or time.sleep(0.1) for _ in range(100))

    before = open_files()
    grid = source.grid(10)
    chunks = source.chunks(grid, 0, grid.n_blocks)
    next(chunks)
    chunks.close()
    assert are_closed()  # fewer are open where an earlier test's are collected
    list(source.chunks(grid, 0, grid.n_blocks))
    assert are_closed()


@pytest.mark.parametrize("make", [npy_files, parquet_files, zarr_files, hdf5_files])
def test_file_sources_describe_themselves(
    make: Make, rows: Table, weights: Table, tmp_path: Path
) -> None:
    text = repr(make(rows, weights, tmp_path))
    assert "1,003 rows x 3 columns" in text
    assert str(rows.dtype) in text
    assert str(tmp_path) in text
