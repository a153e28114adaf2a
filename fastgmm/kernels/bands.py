"""A triangle of factors in memory: bands of rows, each with its columns one after the other.

A column of a band has a number for each of its rows, and zeros above the diagonal: the order in
which the E-step reads them.
"""

from functools import cache

from fastgmm._jit import part
from fastgmm.kernels.blocks import WIDE

HIGH_BAND, LOW_BAND = 6, 4

BAND_HEIGHT = HIGH_BAND if WIDE else LOW_BAND
"""Rows of most bands. Six by four vectors of rows take 10 loads for 24 products, four by four
take 8 for 16: passes over 36 to 128 columns are 1.02 to 1.05 times as fast."""


@part
def rows_of_band(first: int, d: int, height: int) -> int:
    """Return how many rows the band has that begins with row ``first`` of d.

    ``height`` is that of most bands: ``BAND_HEIGHT``, or 1 for packed rows. Before high bands come
    as many low ones as leave a multiple of their height, so that at most one row is alone.
    """
    low = LOW_BAND * (-(d // 2) % 3) if height == HIGH_BAND else 0
    rows = LOW_BAND if first < low else height
    return rows if first + rows <= d else 1


@cache
def bands(d: int, height: int) -> tuple[tuple[int, int], ...]:
    """Return the first row and the number of rows of every band."""
    found, first = [], 0
    while first < d:
        rows = rows_of_band(first, d, height)
        found.append((first, rows))
        first += rows
    return tuple(found)


@cache
def size_of_bands(d: int, height: int) -> int:
    """Return how many numbers there are in all bands."""
    return sum(rows * (first + rows) for first, rows in bands(d, height))
