"""Triangular arithmetic on a tile, shared by the shapes that have whole matrices.

Matrices are packed lower triangles, row by row: entry (i, j <= i) sits at i (i + 1) / 2 + j, so
that the innermost loops run over the rows of the tile with one scalar of the matrix at a time.
"""

from typing import Any

from fastgmm._jit import part


@part
def whitened_square(
    tile: Any, size: int, mean: Any, whitening: Any, scratch: Any, out: Any
) -> None:
    """Set ``out[t]`` to |L^-1 (x_t - mean)|^2 for the packed factor ``whitening`` = L^-1."""
    d = tile.shape[0]
    y = scratch[d]
    for t in range(size):
        out[t] = 0
    for i in range(d):
        for t in range(size):
            scratch[i, t] = tile[i, t] - mean[i]
    at = 0
    for i in range(d):
        for t in range(size):
            y[t] = 0
        for j in range(i + 1):
            factor = whitening[at]
            at += 1
            for t in range(size):
                y[t] += factor * scratch[j, t]
        for t in range(size):
            out[t] += y[t] * y[t]


@part
def add_scatter(
    tile: Any, size: int, r: Any, origin: Any, scratch: Any, first: Any, second: Any
) -> None:
    """Add one component's first moment (d,) and packed scatter about ``origin``."""
    d = tile.shape[0]
    weighted = scratch[d]
    for i in range(d):
        for t in range(size):
            scratch[i, t] = tile[i, t] - origin[i]
    at = 0
    for i in range(d):
        total = tile.dtype.type(0)
        for t in range(size):
            weighted[t] = r[t] * scratch[i, t]
            total += weighted[t]
        first[i] += total
        for j in range(i + 1):
            total = tile.dtype.type(0)
            for t in range(size):
                total += weighted[t] * scratch[j, t]
            second[at] += total
            at += 1
