"""Rows in ``.npy`` files: what is read, what is refused, and how much memory it takes."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from fastgmm.exceptions import DataError
from fastgmm.sources import Source, open_dataset
from fastgmm.sources import npy as npy_module
from fastgmm.sources.npy import open_files


def read(source: Source, chunk_size: int | None = 50) -> np.ndarray:
    grid = source.grid(chunk_size)
    return np.concatenate([c.rows.copy() for c in source.chunks(grid, 0, grid.n_blocks)])


def refuse(files: list[Path], *words: str, **options: object) -> None:
    """Check that the files are refused in one sentence with the given words."""
    with pytest.raises(DataError) as caught:
        open_files([str(file) for file in files], **options)  # type: ignore[arg-type]
    message = str(caught.value)
    for word in words:
        assert word in message
    assert "\n" not in message
    assert not message.endswith(".")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    np.save(tmp_path / "x.npy", np.random.default_rng(0).normal(size=(1000, 4)))
    return tmp_path / "x.npy"


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize(
    "dtype", ["f8", "f4", ">f8", "<i8", "i4", "i2", "i1", "u8", "u4", "u2", "u1", "?"]
)
def test_numbers_of_any_kind_are_converted_as_numpy_does(
    tmp_path: Path, dtype: str, order: str
) -> None:
    bits = np.random.default_rng(0).integers(0, 2**60, size=(500, 3))
    table = np.asarray(bits.astype(dtype), order=order)
    np.save(tmp_path / "x.npy", table)
    source = open_dataset(tmp_path / "x.npy")
    assert source.dtype == (np.float32 if dtype == "f4" else np.float64)
    assert read(source).tobytes() == table.astype(source.dtype, order="C").tobytes()


def test_float32_beside_other_numbers_is_computed_in_float64(tmp_path: Path) -> None:
    single = np.random.default_rng(0).normal(size=(30, 2)).astype(np.float32)
    np.save(tmp_path / "1.npy", single)
    np.save(tmp_path / "2.npy", np.arange(20).reshape(10, 2))
    source = open_dataset(tmp_path)
    assert source.dtype == np.float64
    assert (read(source) == np.concatenate([single, np.arange(20).reshape(10, 2)])).all()


def test_one_dimension_is_one_column(tmp_path: Path) -> None:
    np.save(tmp_path / "1.npy", np.arange(10.0))
    np.save(tmp_path / "2.npy", np.arange(10.0, 15.0).reshape(5, 1))
    source = open_dataset(tmp_path)
    assert (source.n_samples, source.n_features) == (15, 1)
    assert (read(source) == np.arange(15.0)[:, None]).all()


def test_the_second_header_version_is_read(tmp_path: Path) -> None:
    table = np.arange(6.0).reshape(3, 2)
    with open(tmp_path / "x.npy", "wb") as file:
        np.lib.format.write_array(file, table, version=(2, 0))
    assert (read(open_dataset(tmp_path / "x.npy")) == table).all()


def test_columns_are_chosen_by_number(file: Path) -> None:
    table = np.load(file)
    source = open_dataset(file, columns=["2", "0"], weight="3")
    assert source.columns == ("2", "0")
    assert (read(source) == table[:, [2, 0]]).all()
    assert open_dataset(file).columns is None
    rest = open_dataset(file, weight="1")
    assert rest.columns == ("0", "2", "3")
    assert (read(rest) == table[:, [0, 2, 3]]).all()
    [chunk] = rest.chunks(rest.grid(1000), 0, 1)
    assert (chunk.weights == table[:, 1]).all()


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("staging", [1, 100, 1000])
def test_the_size_of_the_staging_memory_does_not_matter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, staging: int, order: str
) -> None:
    monkeypatch.setattr(npy_module, "STAGING_BYTES", staging)
    table = np.asarray(np.random.default_rng(0).normal(size=(300, 5)), order=order)
    np.save(tmp_path / "x.npy", table)
    assert (read(open_dataset(tmp_path / "x.npy", columns=["4", "1"])) == table[:, [4, 1]]).all()


def test_short_reads_are_continued(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    preadv = os.preadv
    monkeypatch.setattr(os, "preadv", lambda fd, views, at: preadv(fd, [views[0][:1001]], at))
    assert (read(open_dataset(file)) == np.load(file)).all()


def test_opening_reads_no_numbers(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> int:
        raise AssertionError("numbers were read")

    monkeypatch.setattr(os, "preadv", fail)
    source = open_dataset(file)
    with pytest.raises(AssertionError):
        read(source)


def test_a_truncated_file_is_refused(file: Path) -> None:
    os.truncate(file, 31_128)
    refuse([file], str(file), "truncated", "32,128 bytes", "it has 31,128")


@pytest.mark.parametrize("order", ["C", "F"])
def test_a_file_that_shrinks_while_it_is_read_is_an_error(tmp_path: Path, order: str) -> None:
    file = tmp_path / "x.npy"
    np.save(file, np.asarray(np.ones((1000, 4)), order=order))
    source = open_dataset(file)
    chunks = source.chunks(source.grid(100), 0, 10)
    next(chunks)
    os.truncate(file, 4_128)
    with pytest.raises(DataError, match=r"x\.npy is truncated: .* 32,128 bytes, it has 4,128"):
        list(chunks)


def test_a_file_that_vanishes_is_an_error(file: Path) -> None:
    source = open_dataset(file)
    file.unlink()
    with pytest.raises(DataError, match=r"x\.npy cannot be read: No such file"):
        read(source)


def test_a_disk_that_fails_is_an_error(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> int:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "preadv", fail)
    with pytest.raises(DataError, match=r"x\.npy cannot be read: Input/output error"):
        read(open_dataset(file))


@pytest.mark.parametrize("size", [1, 6, 9, 60, 127])
def test_a_header_cut_short_is_refused(file: Path, size: int) -> None:
    os.truncate(file, size)
    refuse([file], str(file), "is not a .npy file of numbers")


def test_another_format_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.npy").write_text("a,b,c\n1,2,3\n" * 20)
    refuse([tmp_path / "x.npy"], str(tmp_path / "x.npy"), "is not a .npy file of numbers")


def test_a_folder_in_place_of_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.npy").mkdir()
    refuse([tmp_path / "x.npy"], str(tmp_path / "x.npy"), "cannot be read", "Is a directory")


@pytest.mark.parametrize(
    "array",
    [
        np.array(["1", "2"]),
        np.array([b"1"]),
        np.ones(3, complex),
        np.ones(3, np.float16),
        np.ones(3, np.longdouble),
        np.zeros(3, "datetime64[s]"),
        np.zeros(3, [("a", float)]),
        np.array([1, None, "x"], object),
    ],
    ids=lambda array: str(array.dtype),
)
def test_other_things_than_numbers_are_refused(tmp_path: Path, array: np.ndarray) -> None:
    file = tmp_path / "x.npy"
    np.save(file, array)
    refuse([file], str(file), f"holds {array.dtype}", "save it as float64")


def test_structured_arrays_with_foreign_names_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "x.npy"
    with pytest.warns(UserWarning, match="format 3.0"):
        np.save(file, np.zeros(3, [("λ", float)]))
    refuse([file], str(file), "structured array")


@pytest.mark.parametrize("shape", [(), (2, 2, 2)])
def test_other_shapes_than_tables_are_refused(tmp_path: Path, shape: tuple[int, ...]) -> None:
    file = tmp_path / "x.npy"
    np.save(file, np.ones(shape))
    refuse([file], str(file), f"has the shape {shape}")


def test_no_columns_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "x.npy"
    np.save(file, np.ones((3, 0)))
    refuse([file], str(file), "has no columns")


def test_no_rows_at_all_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "x.npy"
    np.save(file, np.ones((0, 3)))
    refuse([file, file], str(file), "holds no rows")


def test_different_numbers_of_columns_are_refused(file: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "y.npy", np.ones((3, 5)))
    refuse([file, tmp_path / "y.npy"], str(file), str(tmp_path / "y.npy"), "5 columns", "has 4")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"columns": ["4"]}, ["no column '4'", "0, 1, 2, 3"]),
        ({"columns": ["-1"]}, ["no column '-1'"]),
        ({"columns": ["a"]}, ["no column 'a'"]),
        ({"weight": "4"}, ["no column '4' for the weights"]),
        ({"columns": "2"}, ["columns=['2']"]),
        ({"columns": ["1", "1"]}, ["chosen twice"]),
        ({"columns": ["1"], "weight": "1"}, ["column '1' holds the weights"]),
        ({"columns": []}, ["choose at least one"]),
    ],
)
def test_columns_that_make_no_sense_are_refused(
    file: Path, options: dict[str, object], words: list[str]
) -> None:
    refuse([file], *words, **options)


MEASURE = """
import sys
from fastgmm import open_dataset
def anonymous():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("RssAnon")) // 1024
path, columns = sys.argv[1], sys.argv[2].split(",") if sys.argv[2] else None
source = open_dataset(path, columns=columns)
grid, before, most = source.grid(None), anonymous(), 0
for chunk in source.chunks(grid, 0, grid.n_blocks):
    assert not chunk.rows[-1].any()
    most = max(most, anonymous())
print(most - before)
"""


@pytest.mark.parametrize(
    ("fortran_order", "columns", "dtype"),
    [(False, "", "<f8"), (True, "", "<f8"), (False, "0,999", "<f8"), (False, "", "<i2")],
)
def test_a_large_file_takes_little_memory(
    tmp_path: Path, fortran_order: bool, columns: str, dtype: str
) -> None:
    file = tmp_path / "x.npy"
    n_columns = 1000 if columns else 5
    shape = (200_000_000 // n_columns // np.dtype(dtype).itemsize, n_columns)
    with open(file, "wb") as header:
        description = {"descr": dtype, "fortran_order": fortran_order, "shape": shape}
        np.lib.format.write_array_header_1_0(header, description)
        header.truncate(header.tell() + 200_000_000)
    run = subprocess.run(
        [sys.executable, "-c", MEASURE, str(file), columns],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    assert 1 <= int(run.stdout) < 40  # MB
