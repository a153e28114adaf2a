"""Source: rows that can be read again and again, block by block."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np

from fastgmm._typing import Float64Array, FloatArray
from fastgmm.sources.grid import Grid

NO_WEIGHTS: Float64Array = np.empty(0)
"""What a chunk carries when every row counts once."""

BUFFERS = 4
"""A source that reuses its buffers keeps a chunk intact until this many later ones were taken:
one in the kernel's hands, two waiting (the executors' read-ahead), one being read."""


class Chunk(NamedTuple):
    """The rows of one block, or of a run of blocks where an executor asks for such."""

    first_row: int
    """Global index of the first row."""
    rows: FloatArray
    """(t, d) C-contiguous, in the source's dtype; never written to."""
    weights: Float64Array
    """(t,), or empty: every row counts once."""


@runtime_checkable
class Source(Protocol):
    """Rows as chunks: re-iterable, picklable, ordered; says what it knows without reading."""

    @property
    def n_samples(self) -> int | None:
        """Number of rows, or None while only a pass could tell (see :class:`Countable`)."""

    @property
    def n_features(self) -> int:
        """Number of columns."""

    @property
    def dtype(self) -> np.dtype[np.floating]:
        """float64 or float32: what chunks come in and what is computed in."""

    def widened(self) -> "Source":
        """Return the same rows in float64, whatever they are stored in."""

    @property
    def weighted(self) -> bool:
        """Whether chunks carry weights."""

    @property
    def columns(self) -> Sequence[str] | None:
        """Names of the columns where the data have names."""

    @property
    def reads_files(self) -> bool:
        """Whether chunks come from a disk, so that reading ahead of the kernel pays."""

    @property
    def fingerprint(self) -> Mapping[str, Any]:
        """What tells these data from others, as JSON (see :mod:`fastgmm.sources.identity`)."""

    def grid(self, chunk_size: int | None) -> Grid:
        """Return the cut into blocks; rows a block as given, else by the default rule."""

    def chunks(self, grid: Grid, first: int, last: int) -> Iterator[Chunk]:
        """Read the blocks ``first`` to ``last`` (excluded) in order.

        Buffers may be reused: a chunk is intact until ``BUFFERS`` later ones were taken.
        """


@runtime_checkable
class Countable(Protocol):
    """A source that may not know its number of rows; executors count before they cut a grid.

    Nothing but a method: Python 3.11 looks up every member to tell whether something is one, and a
    fingerprint takes up to 10 ms.
    """

    def counted(
        self, map_blocks: Callable[[Callable[[int], int], Iterable[int]], Iterable[int]]
    ) -> Source:
        """Return a copy that knows; ``map_blocks`` is ``map`` or the same on a pool of threads."""
