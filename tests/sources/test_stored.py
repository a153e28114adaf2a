"""Arrays in stores: what is read of them, what is refused, and where they go as an X."""

import json
import pickle
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import zarr
from problems import blobs, fingerprint, fit

from fastgmm import GaussianMixture, open_dataset
from fastgmm.exceptions import DataError
from fastgmm.executors import ThreadExecutor
from fastgmm.sources import Source, as_source
from fastgmm.sources.stored import source as stored

X, _ = blobs(3000, 3, 3, seed=4)
WEIGHTS = np.random.default_rng(3).gamma(2.0, size=len(X))
SETTINGS = {"n_components": 3, "random_state": 0, "tol": 1e-2}


def read(source: Source) -> np.ndarray:
    grid = source.grid(None)
    return np.concatenate([c.rows.copy() for c in source.chunks(grid, 0, grid.n_blocks)])


def refuse(path: object, *words: str, **options: object) -> None:
    """Check that the path is refused in one sentence with the given words."""
    with pytest.raises(DataError) as caught:
        read(open_dataset(path, **options))  # type: ignore[arg-type]
    message = str(caught.value)
    for word in words:
        assert word in message
    assert "\n" not in message
    assert not message.endswith(".")


def hdf5(path: Path, **datasets: np.ndarray) -> Path:
    with h5py.File(path, "w") as file:
        for name, rows in datasets.items():
            file[name.replace("__", "/")] = rows
    return path


def test_what_is_not_written_yet_is_read(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "x.h5", "w") as file:
        rows = file.create_dataset("x", data=X)
        assert fingerprint(fit(rows, **SETTINGS)) == fingerprint(fit(X, **SETTINGS))
        rows[0] = 1.0
        assert (
            fit(rows, **SETTINGS).score_samples(rows)[0] != fit(X, **SETTINGS).score_samples(X)[0]
        )


def test_a_fit_has_the_bits_of_the_rows_in_memory(tmp_path: Path, two_workers: object) -> None:
    """Arrays and paths, on threads and a cluster, with weights beside the array or in a column."""
    array = zarr.create_array(tmp_path / "x.zarr", data=X, chunks=(700, 2))
    file = hdf5(tmp_path / "x.h5", g__x=X)
    plain = fingerprint(fit(X, n_threads=1, **SETTINGS))
    weighted = fingerprint(fit(X, WEIGHTS, n_threads=1, **SETTINGS))
    assert plain != weighted
    with h5py.File(file, "r") as opened:
        for rows in (array, opened["g/x"]):
            assert fingerprint(fit(rows, n_threads=2, **SETTINGS)) == plain
            model = GaussianMixture(**SETTINGS).set_client(two_workers)
            assert fingerprint(model.fit(rows, sample_weight=WEIGHTS)) == weighted
    table = np.column_stack([WEIGHTS, X])
    zarr.create_array(tmp_path / "w.zarr", data=table, chunks=(999, 4), zarr_format=2)
    assert fingerprint(fit(open_dataset(tmp_path / "w.zarr", weight="0"), **SETTINGS)) == weighted
    assert fingerprint(fit(str(file), **SETTINGS)) == plain


@pytest.mark.parametrize("elements", [1, 1000, 2500])
@pytest.mark.parametrize("columns", [None, ["4"], ["6", "0"], ["3", "2", "5"]])
def test_pieces_end_where_chunks_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, elements: int, columns: list[str] | None
) -> None:
    """No chunk is decoded twice by one reader, and none in which nobody asked for a column."""
    monkeypatch.setattr(stored, "PIECE_ELEMENTS", elements)
    table = np.random.default_rng(0).normal(size=(1003, 7))
    source = open_dataset(
        zarr.create_array(tmp_path / "x.zarr", data=table, chunks=(100, 3)), columns=columns
    )
    asked = []
    reads = type(source.tables[0].array).read
    monkeypatch.setattr(
        type(source.tables[0].array),
        "read",
        lambda self, start, stop, span: (
            asked.append((start, stop, span)) or reads(self, start, stop, span)
        ),
    )
    wanted = list(range(7)) if columns is None else [int(column) for column in columns]
    assert (read(source) == table[:, wanted]).all()
    chunks = [
        (row, column)
        for start, stop, span in asked
        for row in range(start // 100, -(-stop // 100))
        for column in range(span.start // 3, -(-span.stop // 3))
    ]
    expected = {(row, column // 3) for row in range(11) for column in wanted}
    assert sorted(chunks) == sorted(expected)


@pytest.mark.parametrize("dtype", ["f8", "f4", ">f8", "i8", "i2", "u8", "u1", "?"])
def test_numbers_are_converted_as_numpy_does(tmp_path: Path, dtype: str) -> None:
    table = np.random.default_rng(0).integers(0, 2**60, size=(50, 3)).astype(dtype)
    zarr.create_array(tmp_path / "x.zarr", data=table)
    hdf5(tmp_path / "x.h5", x=table)
    for path in (tmp_path / "x.zarr", tmp_path / "x.h5"):
        source = open_dataset(path)
        assert source.dtype == (np.float32 if dtype == "f4" else np.float64)
        assert read(source).tobytes() == table.astype(source.dtype).tobytes()


def test_one_dimension_is_one_column(tmp_path: Path) -> None:
    array = zarr.create_array(tmp_path / "x.zarr", data=np.arange(10.0), chunks=(3,))
    hdf5(tmp_path / "x.h5", x=np.arange(10.0))
    for rows in (array, tmp_path / "x.zarr", tmp_path / "x.h5"):
        assert (read(open_dataset(rows)) == np.arange(10.0)[:, None]).all()


def test_missing_values_and_chunks_that_were_never_written(tmp_path: Path) -> None:
    array = zarr.create_array(
        tmp_path / "x.zarr", shape=(10, 2), chunks=(2, 2), dtype="f8", fill_value=np.nan
    )
    array[2:7] = 1.0
    assert len(read(open_dataset(array, missing="drop"))) == 5
    with pytest.raises(DataError, match="Input X contains NaN: row 0, column 0"):
        GaussianMixture(1).fit(array)


def test_rows_that_nobody_has_written_are_no_quiet_zeros(tmp_path: Path) -> None:
    for shards in (None, (4, 2)):
        array = zarr.create_array(
            tmp_path / f"{shards}.zarr", shape=(10, 2), chunks=(2, 2), shards=shards, dtype="f8"
        )
        array[:8] = 1.0
        with pytest.warns(UserWarning, match=r"zarr: \d of \d chunks were never written") as told:
            open_dataset(tmp_path / f"{shards}.zarr")
        assert told[0].filename == __file__
        array[8:] = 1.0
        open_dataset(array)
    with h5py.File(tmp_path / "x.h5", "w") as file:
        chunked = file.create_dataset("chunked", shape=(10, 2), chunks=(3, 2), dtype="f8")
        chunked[:3] = 1.0
        file.create_dataset("whole", shape=(10, 2), dtype="f8")
        file.create_dataset("nothing", shape=(0, 2), dtype="f8")
    for name, gaps in (("chunked", "3 of 4"), ("whole", "1 of 1")):
        with pytest.warns(UserWarning, match=f"{name}: {gaps} chunks were never written"):
            open_dataset(tmp_path / "x.h5" / name)


def test_a_store_in_memory_stays_in_this_process(two_workers: object) -> None:
    array = zarr.create_array({}, data=X, chunks=(500, 3))
    assert not as_source(array).reads_files
    model = GaussianMixture(**SETTINGS).set_client(two_workers)
    assert isinstance(model._executor_for(as_source(array)), ThreadExecutor)
    assert fingerprint(model.fit(array)) == fingerprint(fit(X, **SETTINGS))


def test_several_datasets_and_groups_have_to_be_named(tmp_path: Path) -> None:
    group = zarr.open_group(tmp_path / "g.zarr", mode="w")
    refuse(tmp_path / "g.zarr", "g.zarr is a Zarr group", "it has no arrays")
    group.create_array("b", data=X)
    group.create_array("a", data=X[:, :2])
    refuse(tmp_path / "g.zarr", "is a Zarr group of a, b", f"{tmp_path}/g.zarr/a")
    zarr.open(tmp_path / "nested.zarr", mode="w").create_array("deep/er/x", data=np.ones((3, 2)))
    refuse(tmp_path / "nested.zarr", "is a Zarr group of deep/er/x", "nested.zarr/deep/er/x")
    assert read(open_dataset(tmp_path / "g.zarr" / "a")).shape == (len(X), 2)
    refuse(tmp_path / "g.zarr" / "c", "g.zarr/c is not a Zarr array")
    with pytest.raises(DataError, match="is a Zarr group of a, b"):
        GaussianMixture(1).fit(group)
    file = hdf5(tmp_path / "x.h5", b__x=X, a=X[:, :2])
    refuse(file, "x.h5 holds 2 datasets", f"{file}/a")
    assert read(open_dataset(f"{file}/a")).shape == (len(X), 2)
    assert read(open_dataset(f"{file}/b")).shape == (len(X), 3)
    refuse(f"{file}/c", "x.h5 holds no /c: name one of its datasets, such as", f"{file}/a")
    refuse(hdf5(tmp_path / "y.h5"), "y.h5 holds no dataset")


def test_stores_are_found_among_other_files(tmp_path: Path) -> None:
    for i in (10, 2):
        zarr.create_array(tmp_path / "runs" / f"part-{i}.zarr", data=np.full((3, 2), i))
    expected = np.repeat([2.0, 10.0], 3)
    for paths in (tmp_path / "runs", tmp_path / "*" / "*.zarr", tmp_path / "**"):
        assert (read(open_dataset(paths))[:, 0] == expected).all()


def test_a_dataset_without_a_shape_is_named(tmp_path: Path) -> None:
    file = hdf5(tmp_path / "x.h5", x=h5py.Empty("f8"))
    for path in (file, file / "x"):
        refuse(path, "x.h5/x is empty, without any shape: write the rows to it")


def test_damaged_stores_are_named(tmp_path: Path) -> None:
    zarr.create_array(tmp_path / "x.zarr", data=X, chunks=(1000, 3))
    chunk = tmp_path / "x.zarr" / "c" / "1" / "0"
    chunk.write_bytes(chunk.read_bytes()[:100])
    refuse(tmp_path / "x.zarr", "x.zarr cannot be read in rows 0 to 2,999, write or copy it again")
    (tmp_path / "x.zarr" / "zarr.json").write_text("{")
    refuse(tmp_path / "x.zarr", "x.zarr is not a Zarr array")
    (tmp_path / "empty.zarr").mkdir()
    refuse(tmp_path / "empty.zarr", "empty.zarr is not a Zarr array")
    refuse(tmp_path / "none.zarr", "none.zarr does not exist")
    file = hdf5(tmp_path / "x.h5", x=X)
    source = open_dataset(file)
    file.write_bytes(b"nonsense" * 1000)
    refuse(file, "x.h5 cannot be opened as HDF5", "signature not found", "write or copy it again")
    with pytest.raises(DataError, match=r"x\.h5/x cannot be read in rows 0 to 2,999"):
        read(source)


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        (np.ones((3, 2), complex), "holds complex128: save it as float64"),
        (np.ones((3, 2), np.float16), "holds float16: save it as float64"),
        (np.ones((3, 2, 2)), r"has the shape \(3, 2, 2\)"),
        (np.ones((0, 2)), "holds no rows"),
        (np.ones((3, 0)), "has no columns"),
    ],
)
def test_what_is_no_table_is_refused(tmp_path: Path, rows: np.ndarray, words: str) -> None:
    array = zarr.create_array(
        tmp_path / "x.zarr", shape=rows.shape, dtype=rows.dtype, chunks=(1,) * rows.ndim
    )
    with pytest.raises(DataError, match=f"x.zarr {words}"):
        as_source(array)
    with pytest.raises(DataError, match=f"x.h5/x {words}"):
        open_dataset(hdf5(tmp_path / "x.h5", x=rows))


def test_wrong_columns_weights_and_files_without_a_name(tmp_path: Path) -> None:
    array = zarr.create_array(tmp_path / "x.zarr", data=X)
    refuse(array, "has no column 'a': it has 0, 1, 2", columns=["a"])
    refuse(array, "no column '3' for the weights", weight="3")
    with pytest.raises(DataError, match=r"sample_weight\.shape == \(2,\)"):
        GaussianMixture(1).fit(array, sample_weight=np.ones(2))
    with h5py.File("memory", "w", driver="core", backing_store=False) as file:
        file["x"] = X
        with pytest.raises(DataError, match=r"without a file: pass the rows themselves, X\[:\]"):
            as_source(file["x"])


def test_a_fingerprint_tells_data_from_others(tmp_path: Path) -> None:
    def found(rows: np.ndarray, name: str, **options: Any) -> str:
        array = zarr.create_array(tmp_path / name, data=rows, chunks=(700, 2))
        source = open_dataset(array, **options)
        print_ = source.fingerprint
        copy = pickle.loads(pickle.dumps(source)).fingerprint
        assert json.loads(json.dumps(copy)) == json.loads(json.dumps(print_))
        return json.dumps(print_)

    changed, reordered = X.copy(), X[::-1]
    changed[1500, 1] += 1e-9
    same = found(X, "1.zarr")
    assert found(X, "2.zarr") == same
    others = [
        found(changed, "3.zarr"),
        found(reordered, "4.zarr"),
        found(X.astype(np.float32), "5.zarr"),
        found(X[:-1], "6.zarr"),
        found(X, "7.zarr", columns=["1", "0"]),
        found(X, "8.zarr", weight="0"),
    ]
    assert len({same, *others}) == 7
    array = zarr.open_array(tmp_path / "1.zarr", mode="r")
    weighted = [as_source(array, sample_weight=w).fingerprint for w in (WEIGHTS, 2 * WEIGHTS)]
    assert weighted[0] != weighted[1]


def test_a_pickle_does_not_hold_the_numbers(tmp_path: Path) -> None:
    array = zarr.create_array(tmp_path / "x.zarr", data=X)
    hdf5(tmp_path / "x.h5", x=X)
    for source in (as_source(array), open_dataset(tmp_path / "x.h5")):
        assert len(pickle.dumps(source)) < 3000
