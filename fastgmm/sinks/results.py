"""Results: what a function makes of each row, block after block or part by part."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from fastgmm.sources import NO_WEIGHTS, Chunk, Grid, Source

PART_BYTES = 2**25
"""A part is no larger, unless one block is; a thread holds one."""

FEWEST_PARTS = 16
"""Small results still give as many, if they have as many blocks: threads and workers need work."""

WritePart = Callable[[int, NDArray[Any]], None]
"""Called with the number of a part and its rows, on any thread of any process, perhaps again."""


class Results(Protocol):
    """Rows to be written, all with the same dtype and number of columns."""

    @property
    def n_rows(self) -> int:
        """Number of rows."""

    @property
    def names(self) -> Sequence[str]:
        """Names of the columns."""

    @property
    def nothing(self) -> NDArray[Any]:
        """No rows, (0,) or (0, columns): shows dtype and shape."""

    @property
    def part_rows(self) -> int:
        """Rows of every part but the last: never depends on who computes them."""

    def blocks(self) -> Iterator[NDArray[Any]]:
        """Yield the results in the order of the rows."""

    def write_parts(self, write: WritePart) -> None:
        """Have every part written, side by side where that can be."""


@dataclass(frozen=True)
class ArrayResults:
    """Rows that are there already."""

    rows: NDArray[Any]
    names: Sequence[str]

    @property
    def n_rows(self) -> int:
        """Number of rows."""
        return len(self.rows)

    @property
    def nothing(self) -> NDArray[Any]:
        """No rows, of the same kind."""
        return self.rows[:0]

    @property
    def part_rows(self) -> int:
        """Rows of every part but the last."""
        return max(PART_BYTES // max(self.rows[:1].nbytes, 1), 1)

    def blocks(self) -> Iterator[NDArray[Any]]:
        """Yield part after part."""
        for start in range(0, self.n_rows, self.part_rows):
            yield self.rows[start : start + self.part_rows]

    def write_parts(self, write: WritePart) -> None:
        """Write part after part."""
        for number, part in enumerate(self.blocks()):
            write(number, part)


class Placed(Protocol):
    """A placement: rows where they are computed."""

    @property
    def source(self) -> Source:
        """The rows."""

    @property
    def grid(self) -> Grid:
        """The cut into blocks."""

    def map(self, function: Callable[[Chunk], NDArray[Any]]) -> Iterator[NDArray[Any]]:
        """Yield ``function(chunk)`` for every block, in the order of the rows."""

    def reduce(self, works: Sequence[Any]) -> list[Any]:
        """Run one pass over the rows."""


@dataclass(frozen=True)
class PlacedResults:
    """What a function makes of the rows of a placement, computed while they are written."""

    placement: Placed
    function: Callable[[Chunk], NDArray[Any]]
    names: Sequence[str]

    @property
    def n_rows(self) -> int:
        """Number of rows."""
        return self.placement.grid.n_samples

    @property
    def nothing(self) -> NDArray[Any]:
        """What the function makes of no rows."""
        source = self.placement.source
        return self.function(Chunk(0, np.empty((0, source.n_features), source.dtype), NO_WEIGHTS))

    @property
    def part_rows(self) -> int:
        """Rows of every part but the last: those of 2^level blocks."""
        return self.placement.grid.rows(0)[1] << self._level

    @property
    def _level(self) -> int:
        grid, nothing = self.placement.grid, self.nothing
        block_bytes = grid.rows(0)[1] * nothing.itemsize * int(np.prod(nothing.shape[1:]))
        level = 0
        while block_bytes << level + 1 <= PART_BYTES and grid.n_blocks >> level + 1 >= FEWEST_PARTS:
            level += 1
        return level

    def blocks(self) -> Iterator[NDArray[Any]]:
        """Yield the results in the order of the rows, computed a little ahead."""
        return self.placement.map(self.function)

    def write_parts(self, write: WritePart) -> None:
        """Have every part computed and written where its rows are."""
        part = _Parts(self.function, write, self.n_rows, self.part_rows, self._level)
        self.placement.reduce([part])


class _Parts(NamedTuple):
    """Work for an executor: its leaves are the parts, each written when its last block is done.

    What is lost with a worker is computed and written again, to the same bytes.
    """

    function: Callable[[Chunk], NDArray[Any]]
    write: WritePart
    n_rows: int
    part_rows: int
    level: int

    def start(self) -> list[NDArray[Any]]:
        """Return the results of no rows."""
        return []

    def accumulate(self, state: list[NDArray[Any]], chunk: Chunk) -> list[NDArray[Any]]:
        """Add a block's results; write the part if this was its last."""
        state.append(self.function(chunk))
        end = chunk.first_row + len(chunk.rows)
        if end % self.part_rows and end != self.n_rows:
            return state
        self.write((end - 1) // self.part_rows, np.concatenate(state))
        return []

    def merge(self, left: list[NDArray[Any]], right: list[NDArray[Any]]) -> list[NDArray[Any]]:
        """Nothing is left to merge."""
        return left
