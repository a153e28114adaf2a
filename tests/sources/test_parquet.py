"""Rows in Parquet files: what is read, what is refused, and how much memory it takes."""

import importlib
import os
import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from pyarrow import parquet as pq

from fastgmm.exceptions import DataError
from fastgmm.sources import Source, open_dataset
from fastgmm.sources.parquet import open_files


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


def write(path: Path, columns: dict[str, Any], **options: Any) -> Path:
    pq.write_table(pa.table(columns), path, **options)
    return path


@pytest.fixture
def file(tmp_path: Path) -> Path:
    a, b, c = np.random.default_rng(0).normal(size=(3, 1000))
    return write(tmp_path / "x.parquet", {"a": a, "b": b, "c": c}, row_group_size=100)


NUMBERS = [
    *("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"),
    *("float16", "float32", "float64", "bool"),
]


@pytest.mark.parametrize("name", NUMBERS)
@pytest.mark.parametrize("nulls", [False, True], ids=["", "nulls"])
def test_numbers_of_any_kind_are_converted_as_numpy_does(
    tmp_path: Path, name: str, nulls: bool
) -> None:
    most = 2**15 if name == "float16" else 2**63 - 1
    values = np.random.default_rng(0).integers(0, most, 200).astype(name)
    gone = np.arange(200) % 7 == 3 if nulls else np.zeros(200, bool)
    file = write(tmp_path / "x.parquet", {"a": pa.array(values, mask=gone)})
    source = open_dataset(file)
    assert source.dtype == (np.float32 if name in ("float16", "float32") else np.float64)
    expected = np.where(gone, np.nan, values.astype(source.dtype))[:, None]
    np.testing.assert_array_equal(read(source), expected, strict=True)


def test_float32_is_computed_in_float32_only_if_all_features_are(tmp_path: Path) -> None:
    single, double = np.float32([1, 2]), np.float64([1, 2])
    first = write(tmp_path / "1.parquet", {"a": single, "b": double, "w": double})
    second = write(tmp_path / "2.parquet", {"a": double, "b": double, "w": double})
    empty = write(tmp_path / "3.parquet", {"a": pa.nulls(2), "b": double, "w": double})
    assert open_dataset(first, columns=["a"], weight="w").dtype == np.float32
    assert open_dataset(first, columns=["a", "b"]).dtype == np.float64
    assert open_dataset([first, second], columns=["a"]).dtype == np.float64
    assert open_dataset([first, empty], columns=["a"]).dtype == np.float32


def test_weights_are_float64_and_no_feature(tmp_path: Path) -> None:
    file = write(tmp_path / "x.parquet", {"a": np.float32([1, 2]), "w": pa.array([3, None])})
    source = open_dataset(file, weight="w")
    assert (source.columns, source.dtype, source.weighted) == (("a",), np.float32, True)
    [chunk] = source.chunks(source.grid(2), 0, 1)
    np.testing.assert_array_equal(chunk.weights, np.array([3, np.nan]), strict=True)


def test_decimals_are_numbers(tmp_path: Path) -> None:
    file = write(tmp_path / "x.parquet", {"a": [Decimal("1.25"), None, Decimal("-3.50")]})
    assert read(open_dataset(file))[:, 0].tolist() == pytest.approx(
        [1.25, np.nan, -3.5], nan_ok=True
    )


def test_decimals_are_the_numbers_nearest_to_their_digits(tmp_path: Path) -> None:
    digits = np.random.default_rng(0).integers(-(10**15), 10**15, 500).tolist()
    decimals = [Decimal(one).scaleb(-7) for one in digits]
    for type_ in (pa.decimal128(30, 7), pa.decimal256(50, 7)):
        file = write(tmp_path / "x.parquet", {"a": pa.array(decimals, type_)})
        assert read(open_dataset(file))[:, 0].tolist() == [float(one) for one in decimals]


def test_columns_that_not_all_files_have_are_not_left_out(tmp_path: Path) -> None:
    few = write(tmp_path / "1.parquet", {"a": [1.0], "b": [2.0]})
    more = write(tmp_path / "2.parquet", {"a": [3.0], "c": [4.0], "b": [5.0]})
    with pytest.raises(DataError, match=r"2\.parquet has a column 'c', which .*1\.parquet has not"):
        open_dataset(tmp_path)
    with pytest.raises(DataError, match=r"1\.parquet has no column 'c'"):
        open_dataset([more, few])
    assert read(open_dataset([few, more], columns=["a", "b"])).tolist() == [[1, 2], [3, 5]]
    assert read(open_dataset([more], weight="c")).tolist() == [[3, 5]]


def test_categories_of_numbers_are_numbers(tmp_path: Path) -> None:
    frame = pd.DataFrame({"a": pd.Categorical([5, 3, None, 5])})
    frame.to_parquet(tmp_path / "x.parquet")
    expected = np.array([[5], [3], [np.nan], [5]])
    np.testing.assert_array_equal(read(open_dataset(tmp_path / "x.parquet")), expected)


def test_a_column_without_any_value_is_nan(tmp_path: Path) -> None:
    first = write(tmp_path / "1.parquet", {"a": [1.5, 2.5]})
    second = write(tmp_path / "2.parquet", {"a": pa.nulls(2)})
    np.testing.assert_array_equal(
        read(open_dataset([first, second]))[:, 0], [1.5, 2.5, np.nan, np.nan]
    )


def test_integers_beside_floats_are_fine(tmp_path: Path) -> None:
    """Pandas writes parts with missing values as floats, parts without as integers."""
    pd.DataFrame({"a": [1, 2]}).to_parquet(tmp_path / "1.parquet")
    pd.DataFrame({"a": [3, None]}).to_parquet(tmp_path / "2.parquet")
    np.testing.assert_array_equal(read(open_dataset(tmp_path))[:, 0], [1, 2, 3, np.nan])


def test_a_saved_index_is_no_feature_unless_it_is_named(tmp_path: Path) -> None:
    frame = pd.DataFrame({"a": [1.0, 2.0]}, index=pd.Index([7.0, 8.0], name="key"))
    frame.to_parquet(tmp_path / "x.parquet")
    assert open_dataset(tmp_path / "x.parquet").columns == ("a",)
    named = open_dataset(tmp_path / "x.parquet", columns=["key", "a"])
    assert read(named).tolist() == [[7, 1], [8, 2]]
    weighted = open_dataset(tmp_path / "x.parquet", weight="key")
    assert (weighted.columns, weighted.weighted) == (("a",), True)


def test_names_with_dots_are_names(tmp_path: Path) -> None:
    file = write(tmp_path / "x.parquet", {"a": [1.0], "a.b": [2.0], "c.d": [3.0]})
    assert read(open_dataset(file)).tolist() == [[1, 2, 3]]
    assert read(open_dataset(file, columns=["c.d", "a"])).tolist() == [[3, 1]]


def test_other_columns_are_left_alone(tmp_path: Path) -> None:
    columns = {"a": [1.0, 2.0], "text": ["x", "y"], "list": [[1], [2]]}
    file = write(tmp_path / "x.parquet", columns)
    assert read(open_dataset(file, columns=["a"])).tolist() == [[1], [2]]


def damage(file: Path, row_group: int) -> None:
    """Overwrite the header of a page."""
    offset = pq.read_metadata(file).row_group(row_group).column(1).data_page_offset
    with open(file, "r+b") as raw:
        raw.seek(offset)
        raw.write(b"\xff" * 16)


def test_only_overlapping_row_groups_are_read(tmp_path: Path) -> None:
    table = np.random.default_rng(0).normal(size=(400, 2))
    columns = {"a": table[:, 0], "b": table[:, 1]}
    file = write(tmp_path / "x.parquet", columns, row_group_size=100, use_dictionary=False)
    damage(file, 0)
    damage(file, 3)
    source = open_dataset(file)
    grid = source.grid(50)
    rows = np.concatenate([chunk.rows.copy() for chunk in source.chunks(grid, 2, 6)])
    assert (rows == table[100:300]).all()
    for block in (1, 6):
        with pytest.raises(DataError, match=r"x\.parquet is damaged or not a Parquet file"):
            list(source.chunks(grid, block, block + 1))


def test_page_checksums_are_verified(tmp_path: Path) -> None:
    options = {"use_dictionary": False, "compression": "none", "write_page_checksum": True}
    file = write(tmp_path / "x.parquet", {"a": np.ones(1000)}, **options)
    column = pq.read_metadata(file).row_group(0).column(0)
    with open(file, "r+b") as raw:
        raw.seek(column.data_page_offset + column.total_compressed_size // 2)
        raw.write(b"\x01")
    with pytest.raises(DataError, match=r"x\.parquet is damaged"):
        read(open_dataset(file))


@pytest.mark.parametrize("size", [1, 11, 2000, -1])
def test_a_truncated_file_is_refused(file: Path, size: int) -> None:
    os.truncate(file, size % file.stat().st_size)
    refuse([file], str(file), "is damaged or not a Parquet file")


def test_another_format_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.parquet").write_text("a,b,c\n1,2,3\n" * 20)
    refuse([tmp_path / "x.parquet"], str(tmp_path / "x.parquet"), "not a Parquet file")


def test_a_folder_in_place_of_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.parquet").mkdir()
    refuse([tmp_path / "x.parquet"], str(tmp_path / "x.parquet"))


def test_a_file_that_vanishes_is_an_error(file: Path) -> None:
    source = open_dataset(file)
    file.unlink()
    with pytest.raises(DataError, match=r"x\.parquet cannot be read: "):
        read(source)


def test_a_file_that_changes_is_an_error(file: Path) -> None:
    source = open_dataset(file)
    pq.write_table(pq.read_table(file).slice(0, 900), file, row_group_size=100)
    with pytest.raises(DataError, match=r"x\.parquet has changed since it was opened"):
        read(source)


@pytest.mark.parametrize(
    ("column", "type_", "advice"),
    [
        (["x", "y"], "string", "choose the columns of numbers"),
        (pd.to_datetime(["2020-01-01", "2020-01-02"]), "timestamp", "into numbers"),
        ([[1.0], [2.0]], "list", "one column per number"),
        ([{"p": 1.0}, {"p": 2.0}], "struct", "one column per number"),
        ([b"x", b"y"], "binary", "choose the columns of numbers"),
        (pa.array(["x", "y"]).dictionary_encode(), "string", "choose the columns of numbers"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_columns_of_other_things_than_numbers_are_refused(
    tmp_path: Path, column: Any, type_: str, advice: str
) -> None:
    file = write(tmp_path / "x.parquet", {"a": [1.0, 2.0], "other": column})
    refuse([file], str(file), "column 'other'", type_, "not numbers", advice)
    refuse([file], "column 'other'", type_, columns=["a"], weight="other")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"columns": ["d"]}, ["no column 'd'", "a, b, c"]),
        ({"weight": "d"}, ["no column 'd' for the weights"]),
        ({"columns": "a"}, ["columns=['a']"]),
        ({"columns": ["a", "a"]}, ["chosen twice"]),
        ({"columns": ["a"], "weight": "a"}, ["column 'a' holds the weights"]),
        ({"columns": []}, ["choose at least one"]),
    ],
)
def test_columns_that_make_no_sense_are_refused(
    file: Path, options: dict[str, object], words: list[str]
) -> None:
    refuse([file], *words, **options)


def test_two_columns_of_one_name_are_refused(tmp_path: Path) -> None:
    table = pa.Table.from_arrays([pa.array([1.0]), pa.array([2.0])], names=["a", "a"])
    pq.write_table(table, tmp_path / "x.parquet")
    refuse([tmp_path / "x.parquet"], str(tmp_path / "x.parquet"), "2 columns named 'a'")


def test_a_column_that_a_later_file_lacks_is_refused(file: Path, tmp_path: Path) -> None:
    other = write(tmp_path / "y.parquet", {"a": [1.0], "c": [2.0]})
    refuse([file, other], str(other), "no column 'b'")


def test_a_column_that_is_text_in_a_later_file_is_refused(file: Path, tmp_path: Path) -> None:
    other = write(tmp_path / "y.parquet", {"a": [1.0], "b": ["x"], "c": [2.0]})
    refuse([file, other], str(other), "column 'b'", "string", "not numbers")


def test_truth_values_beside_numbers_are_refused(file: Path, tmp_path: Path) -> None:
    other = write(tmp_path / "y.parquet", {"a": [1.0], "b": [True], "c": [2.0]})
    refuse([file, other], str(other), str(file), "column 'b' holds bool", "double")


def test_no_rows_at_all_are_refused(tmp_path: Path) -> None:
    file = write(tmp_path / "x.parquet", {"a": np.empty(0)})
    refuse([file, file], str(file), "holds no rows")


def test_without_pyarrow_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.delitem(sys.modules, "fastgmm.sources.parquet")
    with pytest.raises(ImportError, match=r"pip install fastgmm\[parquet\]"):
        importlib.import_module("fastgmm.sources.parquet")


MEASURE = """
import sys
import pandas  # as pyarrow does when it converts its first column
from fastgmm import open_dataset
def anonymous():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("RssAnon")) // 1024
source = open_dataset(sys.argv[1])
grid, before, most = source.grid(None), anonymous(), 0
for chunk in source.chunks(grid, 0, grid.n_blocks):
    assert chunk.rows[-1].all()
    most = max(most, anonymous())
print(most - before)
"""


def test_a_large_row_group_takes_little_memory(tmp_path: Path) -> None:
    columns = dict.fromkeys("abcdefgh", np.ones(1_500_000))  # 96 MB
    options = {"row_group_size": 1_500_000, "use_dictionary": False, "compression": "none"}
    file = write(tmp_path / "x.parquet", columns, **options)
    run = subprocess.run(
        [sys.executable, "-c", MEASURE, str(file)], check=True, capture_output=True, text=True
    )
    assert 1 <= int(run.stdout) < 48  # MB


def test_names_of_folders_are_no_columns(tmp_path: Path) -> None:
    table = pa.table({"a": np.arange(4.0), "year": [2020, 2020, 2021, 2021]})
    pq.write_to_dataset(table, tmp_path / "d", partition_cols=["year"])
    assert open_dataset(tmp_path / "d").columns == ("a",)
    with pytest.raises(DataError, match="no column 'year': it has a, and names of folders are non"):
        open_dataset(tmp_path / "d", columns=["a", "year"])


def test_a_name_that_is_not_utf8_is_named_in_the_error(tmp_path):
    pq.write_table(pa.table({"x": [1.0, 2.0]}), tmp_path / "rows.parquet")
    try:
        (tmp_path / "rows.parquet").rename(tmp_path / "caf\udce9.parquet")
    except OSError:
        pytest.skip("this file system has only names in UTF-8")
    with pytest.raises(DataError, match=r"caf.*rename it"):
        open_dataset(tmp_path)
