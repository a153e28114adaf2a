"""Memory that kernels work in: where it begins, how far apart rows are, what stands there first."""

from typing import Any

import numpy as np

from fastgmm._jit import maker, part
from fastgmm.simd import lanes_of

ALIGNMENT = 64
"""Bytes of a cache line: vectors that cross one cost two loads."""


@maker
def aligned(size: int, like: Any) -> Any:
    """Return a flat array of ``size`` numbers that begins with a cache line."""
    spare = ALIGNMENT // like.itemsize
    memory = np.empty(size + spare, like.dtype)
    first = (-(memory.ctypes.data // like.itemsize)) % spare
    return memory[first : first + size]


@part
def stride_of(tile_rows: int, like: Any) -> int:
    """Return the numbers from one row of a tile-wide matrix to the next: no multiple of 4096 bytes.

    Five vectors more, or the columns of a matrix would fall into the same lines of the cache.
    """
    return tile_rows + 5 * lanes_of(like)


@part
def fill(array: Any, first: int, end: int, value: Any) -> None:
    """Write a number to a flat array, from ``first`` to ``end``.

    A loop, because Numba compiles an assignment to a slice for half a second, every one of them.
    """
    for i in range(first, end):
        array[i] = value


@part
def sum_of(array: Any, first: int, end: int) -> float:
    """Return the sum of some numbers of a flat array; a loop for the same reason."""
    result = 0.0
    for i in range(first, end):
        result += array[i]
    return result
