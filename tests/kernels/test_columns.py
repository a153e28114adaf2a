"""Rows turned into columns: a transpose less a shift, whatever the number of either."""

import numpy as np
import pytest

from fastgmm._jit import kernel
from fastgmm.kernels.columns import chunk_rows, load_about
from fastgmm.simd import lanes_of


@kernel
def shape_of(rows):
    return chunk_rows(rows), lanes_of(rows)


@kernel
def turn(rows, d, first, size, shift, columns):
    run = chunk_rows(rows)
    load_about(rows, d, first, size, run, shift, columns, 0, run)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("d", range(1, 42))
def test_columns_are_the_transpose_less_the_shift(dtype, d):
    generator = np.random.default_rng(d)
    rows = generator.normal(size=(100, d)).astype(dtype)
    shift = generator.normal(size=d).astype(dtype)
    run, width = shape_of(rows.ravel())
    room = (d + width) * run
    for first, size in ((0, run), (3, run), (1, 7), (2, 1)):
        columns = np.full(room, 7.0, dtype)
        size = min(size, run)
        turn(rows.ravel(), d, first, size, shift, columns)
        wanted = np.zeros((d, run), dtype)
        wanted[:, :size] = (rows[first : first + size] - shift).T
        assert np.array_equal(columns[: d * run].reshape(d, run), wanted)
        # no more is written than whole vectors of columns
        assert (columns[-(-d // width) * width * run :] == 7.0).all()
