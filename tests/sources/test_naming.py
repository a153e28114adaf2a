"""Messages about a row of several files name the file and the row's number there."""

import re

import h5py
import numpy as np
import pyarrow as pa
import pytest
import zarr
from pyarrow import parquet as pq

from fastgmm import GaussianMixture, open_dataset
from fastgmm.exceptions import DataError
from fastgmm.sources import source_names

CUTS = [400, 400, 403]
PARTS = [(0, 400, "part-0"), (400, 403, "part-2"), (403, 700, "part-3")]
"""First row, end and file of the parts that have rows."""


def write_npy(path, rows):
    np.save(f"{path}.npy", rows)


def write_parquet(path, rows):
    pq.write_table(pa.table({f"x{j}": rows[:, j] for j in range(3)}), f"{path}.parquet")


def write_zarr(path, rows):
    zarr.create_array(f"{path}.zarr", data=rows, chunks=(97, 3))


def write_hdf5(path, rows):
    with h5py.File(f"{path}.h5", "w") as file:
        file["rows"] = rows


@pytest.fixture(params=[write_npy, write_parquet, write_zarr, write_hdf5])
def written(request, tmp_path):
    """Write rows to four files, one without rows, and open them."""

    def write(rows):
        for i, part in enumerate(np.split(rows, CUTS)):
            request.param(tmp_path / f"part-{i}", part)
        return open_dataset(tmp_path)

    return write


def rows_with(value, at):
    rows = np.random.default_rng(0).normal(size=(700, 3))
    rows[at, 1] = value
    return rows


def test_every_row_is_found_in_its_file(written):
    names = source_names(written(rows_with(0.0, 0)))
    for first, end, file in PARTS:
        for row in (first, end - 1):
            assert re.fullmatch(rf"row {row} \(row {row - first} of .*{file}.*\)", names.row(row))


@pytest.mark.parametrize("row", [402, 403])
def test_a_fit_names_the_file_of_the_first_bad_row(written, row):
    first, _, file = next(part for part in PARTS if part[0] <= row < part[1])
    source = written(rows_with(np.nan, [row, 600]))
    with pytest.raises(DataError, match=rf"NaN: row {row} \(row {row - first} of .*{file}"):
        GaussianMixture(2).fit(source)


def test_a_prediction_names_the_file(written, tmp_path):
    model = GaussianMixture(2, random_state=0).fit(rows_with(0.0, 0))
    with pytest.raises(DataError, match=r"infinity .*: row 500 \(row 97 of .*part-3.*\), column 1"):
        model.predict(written(rows_with(np.inf, 500)))


def test_rows_of_one_file_have_one_number(tmp_path):
    np.save(tmp_path / "rows.npy", rows_with(np.nan, 17))
    with pytest.raises(DataError, match="contains NaN: row 17, column 1;"):
        GaussianMixture(2).fit(tmp_path / "rows.npy")


def test_rows_after_others_were_left_out_are_in_no_file(written):
    rows = rows_with(np.nan, 5)
    rows[600, 0] = np.inf
    with pytest.raises(DataError, match=r"row 599, column 0.*\(of the rows without missing"):
        GaussianMixture(2, missing="drop").fit(written(rows))
