"""The row grid: the fixed cut of the rows into blocks that every result hangs on.

The grid follows from the number of rows and columns and ``chunk_size`` alone, never from threads,
workers, file format or timing: same grid, same rounding, same bits.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from fastgmm._typing import IntArray

# 2^19 elements = 4 MB of float64: the block still sits in L2/L3 when the kernel starts on it. The
# interpreter's 0.1 ms a block are a tenth of the cheapest pass (d = 1, k = 2: ~1 ms), which is why
# kernels take several blocks of arrays in a call.
BLOCK_ELEMENTS = 2**19
# Data smaller than that still give so many blocks, or a few less, so that threads have work, ...
BLOCKS_FOR_THREADS = 16
# ... unless a block would fall under this size, where what it costs besides its rows shows: with
# K=110, d=41 as much as 50 rows. Then the blocks are equally long, a power of two many.
SMALLEST_BLOCK_ELEMENTS = 2**13
# Of few columns whole groups of rows are added, up to 64 of them; blocks are of whole groups, or
# the last few rows of each would be a call of their own (narrow.py).
FEW_COLUMNS, GROUP = 16, 64
# Neighbouring small partitions of a collection make up a block together while there are this many
# blocks: 32,768 partitions of a row cost an interpreter 0.6 s a pass, 512 blocks of 64 0.01 s.
BLOCKS_OF_PARTITIONS = 512


class Grid(NamedTuple):
    """Blocks of rows: block ``b`` holds the rows ``boundaries[b]`` to ``boundaries[b + 1]``."""

    boundaries: IntArray
    """(n_blocks + 1,) rising, from 0 to n_samples; equal neighbours are an empty block."""
    level: int = 0
    """Of a collection, a block is 2^level neighbouring partitions."""

    @property
    def n_blocks(self) -> int:
        """Number of blocks."""
        return len(self.boundaries) - 1

    @property
    def n_samples(self) -> int:
        """Number of rows in all blocks."""
        return int(self.boundaries[-1])

    def rows(self, block: int) -> tuple[int, int]:
        """First row of a block and the first row after it."""
        return int(self.boundaries[block]), int(self.boundaries[block + 1])

    def block_rows(self, block: int) -> int:
        """How many rows a block has."""
        first, end = self.rows(block)
        return end - first

    def joined(self, runs: Iterable[tuple[int, int]]) -> "Grid":
        """Return the grid whose blocks are neighbouring runs of this one's."""
        starts, ends = zip(*runs, strict=True)
        return Grid(self.boundaries[[starts[0], *ends]])

    def name(self, first: int, last: int | None = None) -> str:
        """Name the block ``first``, or the run of blocks from there to ``last`` (excluded)."""
        last = first + 1 if last is None else last
        start, stop = self.boundaries[[first, last]]
        what = f"block {first}" if last == first + 1 else f"blocks {first} to {last - 1}"
        return f"{what} (rows {start:,} to {stop - 1:,})"


def row_grid(n_samples: int, n_features: int, chunk_size: int | None = None) -> Grid:
    """Return the grid of so many rows and columns; ``chunk_size`` rows a block if given."""
    chunk_size = min(chunk_size or _block_rows(n_samples, n_features), max(n_samples, 1))
    boundaries = np.arange(0, n_samples + chunk_size, chunk_size, dtype=np.int64)
    return Grid(np.minimum(boundaries, n_samples))


def _block_rows(n_samples: int, n_features: int) -> int:
    """Return the rows of a block where the user leaves it open: whole vectors of any width.

    Tiles are the kernels' own business (up to 512 rows, by family and model); the last of a block
    may be a short one.
    """
    worth = n_samples * n_features // SMALLEST_BLOCK_ELEMENTS
    few = n_features <= FEW_COLUMNS
    if worth < BLOCKS_FOR_THREADS:
        n_blocks = 1 << max(worth.bit_length() - 1, 0)
        step = GROUP if few else 8
        return max(-(-n_samples // (step * n_blocks)) * step, 128)
    # rounded up, so that there is no block more for what is left over
    step = 128 if n_samples >= 1024 * BLOCKS_FOR_THREADS else GROUP if few else 32
    fewest = -(-n_samples // (step * BLOCKS_FOR_THREADS)) * step
    return min(fewest, max(BLOCK_ELEMENTS // (128 * n_features), 1) * 128)


def lengths_grid(lengths: Sequence[int], n_features: int) -> Grid:
    """Return the grid of a collection whose partitions have the given numbers of rows.

    Partitions are the blocks, but where there are many small ones a block is 2^j neighbours.
    """
    parts, elements = len(lengths), max(sum(lengths) * n_features, 1)
    together = min(parts // BLOCKS_OF_PARTITIONS, BLOCK_ELEMENTS * parts // elements)
    level = max(together.bit_length() - 1, 0)
    ends = np.cumsum(lengths, dtype=np.int64)
    last = np.arange(0, parts, 1 << level) + (1 << level) - 1
    return Grid(np.concatenate([[0], ends[np.minimum(last, parts - 1)]]), level)
