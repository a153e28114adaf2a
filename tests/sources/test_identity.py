"""Fingerprints tell other data from the same data; stamps show that a file has changed."""

import os
import shutil

import dask.array as da
import numpy as np
import pytest

from fastgmm import open_dataset
from fastgmm.exceptions import DataError
from fastgmm.sources import ArraySource, Source, as_source, check_unchanged, identity

ROWS = np.random.default_rng(0).normal(size=(500, 3))


def in_npy(folder, rows):
    np.save(folder / "rows.npy", rows)
    return open_dataset(folder / "rows.npy")


def in_parquet(folder, rows):
    pa = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    columns = {f"x{i}": column for i, column in enumerate(rows.T)}
    parquet.write_table(pa.table(columns), folder / "rows.parquet")
    return open_dataset(folder / "rows.parquet")


def in_hdf5(folder, rows):
    h5py = pytest.importorskip("h5py")
    with h5py.File(folder / "rows.h5", "w") as file:
        file["x"] = rows
    return open_dataset(folder / "rows.h5")


def in_zarr(folder, rows):
    zarr = pytest.importorskip("zarr")
    zarr.create_array(folder / "rows.zarr", data=rows, chunks=(200, 3), overwrite=True)
    return open_dataset(folder / "rows.zarr")


KINDS = {
    "array": lambda folder, rows: ArraySource(rows.copy()),
    "npy": in_npy,
    "parquet": in_parquet,
    "hdf5": in_hdf5,
    "zarr": in_zarr,
    "dask": lambda folder, rows: as_source(da.from_array(rows.copy(), chunks=(200, -1))),
    "complete rows": lambda folder, rows: as_source(rows.copy(), missing="drop"),
}
every_kind = pytest.mark.parametrize("kind", KINDS)


@every_kind
def test_the_same_data_have_the_same_fingerprint_and_others_have_not(kind, tmp_path):
    folders = [tmp_path / name for name in "abcd"]
    for folder in folders:
        folder.mkdir()
    changed = ROWS.copy()
    changed[250, 1] += 1e-3
    kinds = zip(folders, (ROWS, ROWS, changed, ROWS.astype(np.float32)), strict=True)
    sources = [KINDS[kind](folder, rows) for folder, rows in kinds]
    assert all(isinstance(source, Source) for source in sources)
    same, again, *others = [source.fingerprint for source in sources]
    assert same == again
    assert all(other != same for other in others)


def test_chosen_columns_weights_and_dropped_rows_tell(tmp_path):
    source = in_parquet(tmp_path, ROWS)
    path = tmp_path / "rows.parquet"
    holes = ROWS.copy()
    holes[3] = np.nan
    prints = [
        source.fingerprint,
        open_dataset(path, columns=["x0", "x1"]).fingerprint,
        open_dataset(path, columns=["x1", "x0"]).fingerprint,
        open_dataset(path, columns=["x1", "x0"], weight="x2").fingerprint,
        ArraySource(ROWS).fingerprint,
        ArraySource(ROWS, np.ones(500)).fingerprint,
        ArraySource(ROWS, np.full(500, 2.0)).fingerprint,
        ArraySource(holes).fingerprint,
        as_source(holes, missing="drop").fingerprint,
        as_source(da.from_array(ROWS, chunks=(200, -1))).fingerprint,
        as_source(da.from_array(ROWS, chunks=(100, -1))).fingerprint,
    ]
    assert len({repr(one) for one in prints}) == len(prints)


def test_long_arrays_and_files_are_told_by_excerpts(tmp_path, monkeypatch):
    monkeypatch.setattr(identity, "WHOLE_BYTES", 1000)
    monkeypatch.setattr(identity, "EXCERPT_ROWS", 100)
    monkeypatch.setattr(identity, "EXCERPT_BYTES", 200)
    for change in (0, 499):  # the first and the last row are always read
        rows = ROWS.copy()
        rows[change] += 1.0
        assert ArraySource(rows).fingerprint != ArraySource(ROWS).fingerprint
        shutil.rmtree(tmp_path / "other", ignore_errors=True)
        (tmp_path / "other").mkdir()
        other = in_npy(tmp_path / "other", rows).fingerprint
        assert other != in_npy(tmp_path, ROWS).fingerprint


@pytest.mark.parametrize("kind", ["npy", "parquet", "hdf5", "zarr"])
def test_a_changed_file_is_named(kind, tmp_path):
    source = KINDS[kind](tmp_path, ROWS)
    check_unchanged(source)
    file = max(path for path in tmp_path.rglob("*") if path.is_file())
    status = os.stat(file)
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns + 1))
    with pytest.raises(DataError, match=rf"{file.name} has changed since it was opened"):
        check_unchanged(source)
    complete = as_source(KINDS[kind](tmp_path, ROWS), missing="drop")
    check_unchanged(complete)
    file.unlink()
    for gone in (source, complete):
        with pytest.raises(DataError, match=rf"{file.name} cannot be read any more"):
            check_unchanged(gone)


def test_of_a_store_with_many_chunks_some_are_watched(tmp_path, monkeypatch):
    zarr = pytest.importorskip("fastgmm.sources.stored.zarr")
    monkeypatch.setattr(zarr, "WATCHED", 2)
    source = in_zarr(tmp_path, ROWS)
    assert len(source.stamps) == 3  # of three chunks and the description two and this
    check_unchanged(source)
    in_memory = zarr.zarr.create_array(zarr.zarr.storage.MemoryStore(), data=ROWS)
    assert as_source(in_memory).stamps == ()
    zarr.zarr.create_array(tmp_path / "rows.zarr", data=ROWS + 1, chunks=(200, 3), overwrite=True)
    with pytest.raises(DataError, match="has changed since it was opened"):
        check_unchanged(source)
