"""Blocks put together in buffers that are used again, whatever pieces the rows arrive in."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from fastgmm._typing import Float64Array, FloatArray
from fastgmm.sources.base import BUFFERS, NO_WEIGHTS, Chunk
from fastgmm.sources.grid import Grid


class Piece(NamedTuple):
    """Some neighbouring rows; read before the next piece is asked for."""

    rows: FloatArray
    """(t, d)."""
    weights: Float64Array
    """(t,), or empty."""


class Ring:
    """``BUFFERS`` blocks of memory that take turns, made when first needed.

    A fresh 4 MB array for each block would cost a thousand page faults: as much as copying it.
    """

    def __init__(
        self,
        grid: Grid,
        first: int,
        last: int,
        n_features: int,
        dtype: np.dtype[np.floating],
        weighted: bool,
    ) -> None:
        self._size = int(np.diff(grid.boundaries[first : last + 1]).max(initial=0))
        self._n_features = n_features
        self._dtype = dtype
        self._weighted = weighted
        self._blocks: list[Piece] = []
        self._taken = 0

    def take(self, n_rows: int) -> Piece:
        """Return the memory of the block taken ``BUFFERS`` blocks ago, ``n_rows`` long."""
        if len(self._blocks) < BUFFERS:
            rows = np.empty((self._size, self._n_features), self._dtype)
            self._blocks.append(Piece(rows, np.empty(self._size) if self._weighted else NO_WEIGHTS))
        rows, weights = self._blocks[self._taken % BUFFERS]
        self._taken += 1
        return Piece(rows[:n_rows], weights[:n_rows])


def reblock(
    pieces: Iterator[Piece], grid: Grid, first: int, last: int, ring: Ring
) -> Iterator[Chunk]:
    """Cut pieces of any length into the blocks ``first`` to ``last`` (excluded) of a grid.

    The pieces begin with the first row of block ``first`` and hold all rows of the blocks.
    """
    rows: FloatArray = np.empty((0, 0))
    weights = NO_WEIGHTS
    for block in range(first, last):
        start, stop = grid.rows(block)
        block_rows, block_weights = ring.take(stop - start)
        filled = 0
        while filled < stop - start:
            if len(rows) == 0:
                rows, weights = next(pieces)
            count = min(len(rows), stop - start - filled)
            block_rows[filled : filled + count] = rows[:count]
            block_weights[filled : filled + count] = weights[:count]
            rows, weights = rows[count:], weights[count:]
            filled += count
        yield Chunk(start, block_rows, block_weights)
