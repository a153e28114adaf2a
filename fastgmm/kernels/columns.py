"""Rows turned into columns: a chunk of neighbouring rows becomes one vector run a feature."""

from typing import Any

from fastgmm._jit import part
from fastgmm.kernels.blocks import WHITENING_WIDTH
from fastgmm.simd import lanes_of, transpose_block


@part
def chunk_rows(like: Any) -> int:
    """Return the rows of a run of WHITENING_WIDTH vectors."""
    return WHITENING_WIDTH * lanes_of(like)


@part
def padded_row(d: int, like: Any) -> int:
    """Return the numbers from one row of operands to the next: whole vectors and one more."""
    width = lanes_of(like)
    return (d + width - 1) // width * width + width


@part
def load_chunk(
    rows: Any, d: int, first: int, size: int, chunk_rows: int, chunk: Any, at: int, stride: int
) -> None:
    """Write ``size`` rows from ``first`` on as columns: row t of feature j to at + j stride + t.

    ``rows`` is flat, d numbers a row. Rows behind ``size``, up to ``chunk_rows``, are zeros.
    """
    width = lanes_of(rows)
    whole = size // width * width
    across = d // width * width
    for t in range(0, whole, width):
        for j in range(0, across, width):
            transpose_block(rows, (first + t) * d + j, d, chunk, at + j * stride + t, stride)
        for j in range(across, d):
            for lane in range(width):
                chunk[at + j * stride + t + lane] = rows[(first + t + lane) * d + j]
    for j in range(d):
        for t in range(whole, size):
            chunk[at + j * stride + t] = rows[(first + t) * d + j]
        for t in range(size, chunk_rows):
            chunk[at + j * stride + t] = 0
