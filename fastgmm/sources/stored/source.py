"""The source: some columns of stored arrays, read chunk by chunk, put together to blocks."""

import hashlib
import warnings
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from fastgmm._typing import Float64Array
from fastgmm.exceptions import DataError, UnreadableError
from fastgmm.sources.base import NO_WEIGHTS, Chunk
from fastgmm.sources.blocks import Piece, Ring, reblock
from fastgmm.sources.grid import Grid, row_grid
from fastgmm.sources.identity import Stamp, stamp
from fastgmm.sources.tables import Selection, select, table_shape

# Numbers read at once: 4 MB of float64. A read of one small chunk costs Zarr about 1 ms, whatever
# its size.
PIECE_ELEMENTS = 2**19

# At the beginning, middle and end of an array that is told from others by them.
EXCERPT_ROWS = 1024


class StoredArray(Protocol):
    """An array in a store. Picklable: another process reads the same numbers."""

    @property
    def path(self) -> str:
        """Where it lies, for messages."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Its shape."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """What it holds."""

    @property
    def chunks(self) -> tuple[int, ...] | None:
        """The shape of what is decoded as a whole; None where any row can be read by itself."""

    @property
    def in_memory(self) -> bool:
        """Whether the store is no more than memory of this process."""

    def files(self) -> list[str]:
        """Return files that another one in its place would change; of many chunks some."""

    def unwritten(self) -> "Unwritten":
        """Return what of it nobody has ever written."""

    def read(self, start: int, stop: int, columns: slice) -> NDArray[Any]:
        """Return rows, as (t, columns) or (t,); DataError naming the path if that fails."""


class Unwritten(NamedTuple):
    """Chunks that are in no file, because a writer was stopped, or they were lost."""

    chunks: int
    of: int
    value: Any
    """What they read as."""


class Table(NamedTuple):
    """A stored array as rows and columns."""

    array: StoredArray
    first_row: int
    """Global index of its first row."""
    n_rows: int
    n_columns: int

    @property
    def chunk_rows(self) -> int:
        """Rows that are decoded together."""
        return 1 if self.array.chunks is None else max(self.array.chunks[0], 1)

    def spans(self, columns: Sequence[int]) -> list[slice]:
        """Return the runs of whole column chunks in which the given columns lie."""
        chunks = self.array.chunks
        width = self.n_columns if chunks is None or len(chunks) == 1 else max(chunks[1], 1)
        needed = sorted({column // width for column in columns})
        starts = [needed[0], *(right for left, right in pairwise(needed) if right > left + 1)]
        ends = [*(left for left, right in pairwise(needed) if right > left + 1), needed[-1]]
        return [
            slice(first * width, min((last + 1) * width, self.n_columns))
            for first, last in zip(starts, ends, strict=True)
        ]

    def digest(self, columns: Sequence[int]) -> list[Any]:
        """Return [shape, dtype, hash of rows at the beginning, middle and end] of some columns."""
        rows = min(self.n_rows, EXCERPT_ROWS)
        excerpts = [
            self.array.read(start, start + rows, span)
            for start in (0, (self.n_rows - rows) // 2, self.n_rows - rows)
            for span in self.spans(columns)
        ]
        return [list(self.array.shape), str(self.array.dtype), _digest(excerpts)]

    def cuts(self, start: int, stop: int, width: int) -> Iterator[tuple[int, int]]:
        """Cut rows of the table where its chunks end, into pieces of about PIECE_ELEMENTS."""
        step = self.chunk_rows * max(PIECE_ELEMENTS // (self.chunk_rows * width), 1)
        while start < stop:
            end = min((start // step + 1) * step, stop)
            yield start, end
            start = end


@dataclass(frozen=True, repr=False)
class StoredSource:
    """The rows of one or several stored arrays, one after the other."""

    tables: tuple[Table, ...]
    """Those that have rows."""
    selection: Selection
    weights: Float64Array | None = None
    """(n,) given beside the arrays, or None."""
    stamps: tuple[Stamp, ...] = ()
    """Of the arrays' files, as they were opened."""
    in_double: bool = False
    """Whether float32 rows are computed in float64."""

    @property
    def n_samples(self) -> int:
        """Number of rows of all arrays."""
        return self.tables[-1].first_row + self.tables[-1].n_rows

    @property
    def n_features(self) -> int:
        """Number of feature columns."""
        return len(self.selection.features)

    @property
    def dtype(self) -> np.dtype[np.floating]:
        """float32 if every array is, else float64."""
        single = all(table.array.dtype == np.float32 for table in self.tables)
        return np.dtype(np.float32 if single and not self.in_double else np.float64)

    def widened(self) -> "StoredSource":
        """Return the same rows in float64, whatever they are stored in."""
        return replace(self, in_double=True)

    @property
    def weighted(self) -> bool:
        """Whether a column holds weights, or some were given."""
        return self.selection.weight is not None or self.weights is not None

    @property
    def columns(self) -> tuple[str, ...] | None:
        """Where columns were chosen: their numbers in the array, for messages."""
        return self.selection.names

    @property
    def reads_files(self) -> bool:
        """Whether chunks come from a disk or further away."""
        return not any(table.array.in_memory for table in self.tables)

    @property
    def fingerprint(self) -> Mapping[str, Any]:
        """What tells these data from others, as JSON: shapes, dtypes, hashes of excerpts."""
        weights = None if self.weights is None else _digest([self.weights])
        return {
            "rows": self.n_samples,
            "columns": self.n_features if self.columns is None else list(self.columns),
            "dtype": self.dtype.name,
            "weighted": self.weighted,
            "weight": self.selection.weight,
            "weights": weights,
            "arrays": [table.digest(self.selection.read) for table in self.tables],
        }

    @property
    def first_rows(self) -> tuple[tuple[int, str], ...]:
        """The first row and the path of each array."""
        return tuple((table.first_row, table.array.path) for table in self.tables)

    def grid(self, chunk_size: int | None) -> Grid:
        """Return the row grid: the chunks of the store have no say in it."""
        return row_grid(self.n_samples, self.n_features, chunk_size)

    def chunks(self, grid: Grid, first: int, last: int) -> Iterator[Chunk]:
        """Read the blocks; a chunk is intact until ``BUFFERS`` later ones were taken."""
        ring = Ring(grid, first, last, self.n_features, self.dtype, self.weighted)
        start, stop = int(grid.boundaries[first]), int(grid.boundaries[last])
        with closing(self._pieces(start, stop)) as pieces:
            yield from reblock(pieces, grid, first, last, ring)

    def _pieces(self, start: int, stop: int) -> Generator[Piece, None, None]:
        """Yield the rows from ``start`` to ``stop``, no chunk of the store in two pieces."""
        for table in self.tables:
            first = max(start - table.first_row, 0)
            last = min(stop - table.first_row, table.n_rows)
            spans = table.spans(self.selection.read)
            width = sum(span.stop - span.start for span in spans)
            for cut in table.cuts(first, last, width):
                yield self._piece(table, spans, *cut)

    def _piece(self, table: Table, spans: list[slice], start: int, stop: int) -> Piece:
        features, weight, _ = self.selection
        parts = [table.array.read(start, stop, span).reshape(stop - start, -1) for span in spans]
        at = {
            column: part[:, column - span.start]
            for span, part in zip(spans, parts, strict=True)
            for column in self.selection.read
            if span.start <= column < span.stop
        }
        if weight is not None:
            weights = at[weight]
        elif self.weights is not None:
            weights = self.weights[table.first_row + start : table.first_row + stop]
        else:
            weights = NO_WEIGHTS
        # of any dtype: numbers are converted where they are copied into their block
        if features == tuple(range(spans[0].start, spans[0].stop)):
            return Piece(parts[0], weights)
        return Piece(np.stack([at[column] for column in features], axis=1), weights)

    def __repr__(self) -> str:
        first, last = self.tables[0].array.path, self.tables[-1].array.path
        more = f" ... {last} ({len(self.tables)} arrays)" if len(self.tables) > 1 else ""
        weight = self.selection.weight
        weights = "" if weight is None else f", weights in column {weight}"
        return (
            f"<StoredSource {first}{more}: {self.n_samples:,} rows x {self.n_features} columns, "
            f"{self.dtype}{weights}>"
        )


def stored_source(
    arrays: Sequence[StoredArray],
    columns: Sequence[str] | None,
    weight: str | None,
) -> StoredSource:
    """Put stored arrays together to one set of rows, in the order given.

    Raises
    ------
    DataError
        Other things than numbers, different numbers of columns, columns that are not there.
    """
    tables: list[Table] = []
    n_samples = 0
    for array in arrays:
        n_rows, n_columns = table_shape(array.path, array.shape, array.dtype)
        tables.append(Table(array, n_samples, n_rows, n_columns))
        n_samples += n_rows
    sizes = [(table.array.path, table.n_rows, table.n_columns) for table in tables]
    selection = select(sizes, columns, weight)
    for array in arrays:
        _warn_of_gaps(array.path, array.unwritten())
    stamps = tuple(stamp(file) for array in arrays for file in array.files())
    return StoredSource(tuple(table for table in tables if table.n_rows), selection, None, stamps)


def _warn_of_gaps(path: str, unwritten: Unwritten) -> None:
    """Warn of rows that nobody has written, unless they read as missing values."""
    if unwritten.chunks > 0 and unwritten.value == unwritten.value:
        warnings.warn(
            f"{path}: {unwritten.chunks:,} of {unwritten.of:,} chunks were never written, their "
            f"rows read as {unwritten.value}: complete it if its writer was stopped",
            UserWarning,
            stacklevel=5,  # who called open_dataset
        )


def _digest(arrays: Iterable[NDArray[Any]]) -> str:
    digest = hashlib.blake2b(digest_size=12)
    for array in arrays:
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def unreadable_rows(path: str, start: int, stop: int, error: Exception) -> DataError:
    """Return the error for rows that a store's library could not read."""
    reason = str(error).splitlines()[0].rstrip(".") if str(error) else type(error).__name__
    kind = UnreadableError if isinstance(error, OSError) else DataError
    return kind(
        f"{path} cannot be read in rows {start:,} to {stop - 1:,}, write or copy it again: {reason}"
    )
