"""Rows in ``.npy`` files, read into buffers that are used again.

They are read, not mapped: memory stays bounded on any file system, and a file that is cut short
under our feet is an error that names it, where a memory map would kill the process (SIGBUS).
"""

import os
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastgmm._typing import Float64Array, FloatArray
from fastgmm.exceptions import DataError
from fastgmm.sources.base import Chunk
from fastgmm.sources.blocks import Ring
from fastgmm.sources.files import unreadable
from fastgmm.sources.grid import Grid, row_grid
from fastgmm.sources.identity import (
    Fingerprint,
    Stamp,
    file_digests,
    fingerprint_of,
    stamp,
)
from fastgmm.sources.tables import Selection, select, table_shape

# Files that cannot be read straight into a block (other numbers, other order, some columns only)
# pass through this much memory: a block may be 2 columns out of 1,000.
STAGING_BYTES = 2**22

_HEADERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


class NpyFile(NamedTuple):
    """What the header of one file says."""

    path: str
    first_row: int
    """Global index of its first row."""
    n_rows: int
    n_columns: int
    dtype: np.dtype[Any]
    fortran_order: bool
    """Whether the file is column after column instead of row after row."""
    offset: int
    """Where the numbers begin, in bytes."""
    stamp: Stamp

    @property
    def n_bytes(self) -> int:
        """How long the file must be."""
        return self.offset + self.n_rows * self.n_columns * self.dtype.itemsize


@dataclass(frozen=True, repr=False)
class NpySource:
    """The rows of one or several ``.npy`` files, one after the other."""

    files: tuple[NpyFile, ...]
    """Those that have rows."""
    selection: Selection
    in_double: bool = False
    """Whether float32 rows are computed in float64."""

    @property
    def n_samples(self) -> int:
        """Number of rows of all files."""
        return self.files[-1].first_row + self.files[-1].n_rows

    @property
    def n_features(self) -> int:
        """Number of feature columns."""
        return len(self.selection.features)

    @property
    def dtype(self) -> np.dtype[np.floating]:
        """float32 if every file is, else float64."""
        single = all(file.dtype == np.float32 for file in self.files)
        return np.dtype(np.float32 if single and not self.in_double else np.float64)

    def widened(self) -> "NpySource":
        """Return the same rows in float64, whatever they are stored in."""
        return replace(self, in_double=True)

    @property
    def weighted(self) -> bool:
        """Whether a column holds weights."""
        return self.selection.weight is not None

    @property
    def columns(self) -> tuple[str, ...] | None:
        """Where columns were chosen: their numbers in the file, for messages."""
        return self.selection.names

    @property
    def reads_files(self) -> bool:
        """Chunks come from a disk."""
        return True

    @property
    def fingerprint(self) -> Fingerprint:
        """Sizes of the files and hashes of excerpts."""
        files = file_digests(file.path for file in self.files)
        return fingerprint_of(self, weight=self.selection.weight, files=files)

    @property
    def stamps(self) -> list[Stamp]:
        """Of the files, as they were opened."""
        return [file.stamp for file in self.files]

    @property
    def first_rows(self) -> tuple[tuple[int, str], ...]:
        """The first row and the path of each file."""
        return tuple((file.first_row, file.path) for file in self.files)

    def grid(self, chunk_size: int | None) -> Grid:
        """Return the row grid."""
        return row_grid(self.n_samples, self.n_features, chunk_size)

    def chunks(self, grid: Grid, first: int, last: int) -> Iterator[Chunk]:
        """Read the blocks; a chunk is intact until ``BUFFERS`` later ones were taken."""
        ring = Ring(grid, first, last, self.n_features, self.dtype, self.weighted)
        with _Reader(self) as reader:
            for block in range(first, last):
                start, stop = grid.rows(block)
                rows, weights = ring.take(stop - start)
                reader.fill(start, rows, weights)
                yield Chunk(start, rows, weights)

    def __repr__(self) -> str:
        first, last = self.files[0].path, self.files[-1].path
        where = first if len(self.files) == 1 else f"{first} ... {last} ({len(self.files)} files)"
        weight = self.selection.weight
        weights = "" if weight is None else f", weights in column {weight}"
        return (
            f"<NpySource {where}: {self.n_samples:,} rows x {self.n_features} columns, "
            f"{self.dtype}{weights}>"
        )


def open_files(
    files: Sequence[str], columns: Sequence[str] | None = None, weight: str | None = None
) -> NpySource:
    """Open ``.npy`` files as one set of rows, in the order given; only headers are read.

    ``columns`` and ``weight`` are column numbers as text, such as ``"0"``. Arrays of shape (n,)
    are one column. Files without rows are left out.

    Raises
    ------
    DataError
        Damaged or truncated files, other things than numbers, different numbers of columns.
    """
    opened: list[NpyFile] = []
    n_samples = 0
    for path in files:
        file = _read_header(path)._replace(first_row=n_samples)
        n_samples += file.n_rows
        opened.append(file)
    selection = select(
        [(file.path, file.n_rows, file.n_columns) for file in opened], columns, weight
    )
    return NpySource(tuple(file for file in opened if file.n_rows), selection)


def _read_header(path: str) -> NpyFile:
    """Read the header of a file and check that the numbers it promises are there."""
    try:
        with open(path, "rb") as file:
            version = np.lib.format.read_magic(file)
            if version not in _HEADERS:  # 3.0 is for structured arrays alone
                raise ValueError("a structured array is not a table of numbers")
            shape, fortran_order, dtype = _HEADERS[version](file)
            offset, opened = file.tell(), stamp(path)
    except OSError as error:
        raise unreadable(path, error) from error
    except (ValueError, EOFError) as error:
        reason = str(error).splitlines()[0].rstrip(".")
        raise DataError(f"{path} is not a .npy file of numbers: {reason}") from error
    n_rows, n_columns = table_shape(path, shape, dtype)
    header = NpyFile(path, 0, n_rows, n_columns, dtype, fortran_order, offset, opened)
    if opened.n_bytes < header.n_bytes:
        raise _truncated(header, opened.n_bytes)
    return header


def _truncated(file: NpyFile, size: int) -> DataError:
    return DataError(
        f"{file.path} is truncated: its header promises {file.n_bytes:,} bytes, it has {size:,}; "
        "write or copy it again"
    )


class _Reader:
    """Fills blocks from the files of a source; keeps the file it is in open."""

    def __init__(self, source: NpySource) -> None:
        self._source = source
        self._first_rows = [file.first_row for file in source.files]
        self._file: NpyFile | None = None
        self._descriptor = -1
        self._staging: NDArray[np.uint8] = np.empty(0, np.uint8)

    def __enter__(self) -> "_Reader":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._close()

    def fill(self, row: int, rows: FloatArray, weights: Float64Array) -> None:
        """Read the rows from global index ``row`` on, across files where need be."""
        done = 0
        while done < len(rows):
            file = self._source.files[bisect_right(self._first_rows, row + done) - 1]
            local = row + done - file.first_row
            part = slice(done, min(done + file.n_rows - local, len(rows)))
            self._open(file)
            if self._fits(file):
                self._read(rows[part], file, local * file.n_columns)
            else:
                self._convert(file, local, rows[part], weights[part])
            done = part.stop

    def _fits(self, file: NpyFile) -> bool:
        """Whether the bytes of the file are those of a block."""
        return (
            file.dtype == self._source.dtype
            and (file.n_columns == 1 or not file.fortran_order)
            and self._source.selection.features == tuple(range(file.n_columns))
        )

    def _convert(self, file: NpyFile, local: int, rows: FloatArray, weights: Float64Array) -> None:
        """Read rows from the file's row ``local`` on through the staging memory."""
        selected, weight, _ = self._source.selection
        step = max(STAGING_BYTES // (file.n_columns * file.dtype.itemsize), 1)
        for start in range(0, len(rows), step):
            part = slice(start, min(start + step, len(rows)))
            read = self._columns if file.fortran_order else self._rows
            table = read(file, local + start, part.stop - part.start)
            if selected == tuple(range(file.n_columns)):
                rows[part] = table
            else:
                for j, column in enumerate(selected):
                    rows[part, j] = table[:, column]
            if weight is not None:
                weights[part] = table[:, weight]

    def _rows(self, file: NpyFile, local: int, count: int) -> NDArray[Any]:
        table = self._staged(file, count).reshape(count, file.n_columns)
        self._read(table, file, local * file.n_columns)
        return table

    def _columns(self, file: NpyFile, local: int, count: int) -> NDArray[Any]:
        table = self._staged(file, count).reshape(file.n_columns, count)
        for column in self._source.selection.read:
            self._read(table[column], file, column * file.n_rows + local)
        return table.T

    def _staged(self, file: NpyFile, count: int) -> NDArray[Any]:
        n_bytes = count * file.n_columns * file.dtype.itemsize
        if len(self._staging) < n_bytes:
            self._staging = np.empty(n_bytes, np.uint8)
        return self._staging[:n_bytes].view(file.dtype)

    def _read(self, numbers: NDArray[Any], file: NpyFile, element: int) -> None:
        """Fill an array with the file's numbers from the given one on."""
        view = numbers.reshape(-1).view(np.uint8).data
        position = file.offset + element * file.dtype.itemsize
        while view:
            try:
                count = os.preadv(self._descriptor, [view], position)
            except OSError as error:
                raise unreadable(file.path, error) from error
            if count == 0:
                raise _truncated(file, os.fstat(self._descriptor).st_size)
            view, position = view[count:], position + count

    def _open(self, file: NpyFile) -> None:
        if file is self._file:
            return
        self._close()
        try:
            self._descriptor = os.open(file.path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise unreadable(file.path, error) from error
        self._file = file

    def _close(self) -> None:
        if self._file is not None:
            os.close(self._descriptor)
            self._file = None
