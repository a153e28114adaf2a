"""Rows in Parquet files, put together to the same blocks as those of any other file.

Row groups may have any size: what is read is decoded batch by batch, so that memory holds a few
blocks and never a row group that was written in one piece.
"""

import os
from bisect import bisect_right
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastgmm._scarce_memory import release_library
from fastgmm.exceptions import DataError
from fastgmm.sources.base import NO_WEIGHTS, Chunk
from fastgmm.sources.blocks import Piece, Ring, reblock
from fastgmm.sources.columns import choose_columns
from fastgmm.sources.files import unreadable
from fastgmm.sources.grid import Grid, row_grid
from fastgmm.sources.identity import (
    Fingerprint,
    Stamp,
    file_digests,
    fingerprint_of,
    stamp,
)

try:
    import pyarrow as pa
    from pyarrow import parquet as pq
except ImportError as error:
    raise ImportError("Parquet files need pyarrow: pip install fastgmm[parquet]") from error

# Numbers in a decoded batch: 0.5 MB of float64, so that turning columns into rows stays in cache.
BATCH_ELEMENTS = 2**16
# Memory for compressed data that wait to be decoded, all columns together. Without it pyarrow
# reads whole column chunks: 72 MB and 0.17 s instead of 14 MB and 0.05 s for 4 columns of 16 MB.
COMPRESSED_BYTES = 2**21


class ParquetFile(NamedTuple):
    """What the footer of one file says."""

    path: str
    first_row: int
    """Global index of its first row."""
    group_rows: tuple[int, ...]
    """(row groups + 1,) rows of the file before each row group, rising from 0 to all."""
    stamp: Stamp

    @property
    def n_rows(self) -> int:
        """Number of rows."""
        return self.group_rows[-1]


@dataclass(frozen=True, repr=False)
class ParquetSource:
    """Some columns of one or several Parquet files, one file after the other."""

    files: tuple[ParquetFile, ...]
    """Those that have rows."""
    columns: tuple[str, ...]
    """Features, in the order chosen."""
    dtype: np.dtype[np.floating]
    """float32 if all features are float32 or float16 in all files, else float64."""
    weight: str | None = None
    """Column of the row weights."""

    @property
    def n_samples(self) -> int:
        """Number of rows of all files."""
        return self.files[-1].first_row + self.files[-1].n_rows

    @property
    def n_features(self) -> int:
        """Number of feature columns."""
        return len(self.columns)

    def widened(self) -> "ParquetSource":
        """Return the same rows in float64, whatever they are stored in."""
        return replace(self, dtype=np.dtype(np.float64))

    @property
    def weighted(self) -> bool:
        """Whether a column holds weights."""
        return self.weight is not None

    @property
    def reads_files(self) -> bool:
        """Chunks come from a disk."""
        return True

    @property
    def fingerprint(self) -> Fingerprint:
        """Sizes of the files and hashes of excerpts."""
        files = file_digests(file.path for file in self.files)
        return fingerprint_of(self, weight=self.weight, files=files)

    @property
    def stamps(self) -> list[Stamp]:
        """Of the files, as they were opened."""
        return [file.stamp for file in self.files]

    @property
    def first_rows(self) -> tuple[tuple[int, str], ...]:
        """The first row and the path of each file."""
        return tuple((file.first_row, file.path) for file in self.files)

    def grid(self, chunk_size: int | None) -> Grid:
        """Return the row grid: row groups have no say in it."""
        return row_grid(self.n_samples, self.n_features, chunk_size)

    def chunks(self, grid: Grid, first: int, last: int) -> Iterator[Chunk]:
        """Read the blocks; a chunk is intact until ``BUFFERS`` later ones were taken."""
        ring = Ring(grid, first, last, self.n_features, self.dtype, self.weighted)
        start, stop = int(grid.boundaries[first]), int(grid.boundaries[last])
        with closing(self._pieces(start, stop)) as pieces:
            yield from reblock(pieces, grid, first, last, ring)

    def _pieces(self, start: int, stop: int) -> Generator[Piece, None, None]:
        """Yield the rows from ``start`` to ``stop`` in pieces that reuse one buffer."""
        rows = np.empty((self._batch_rows, self.n_features), self.dtype)
        weights = np.empty(self._batch_rows) if self.weighted else NO_WEIGHTS
        try:
            for batch in self._batches(start, stop):
                for j, name in enumerate(self.columns):
                    rows[: len(batch), j] = _numbers(batch.column(name))
                if self.weight is not None:
                    weights[: len(batch)] = _numbers(batch.column(self.weight))
                yield Piece(rows[: len(batch)], weights[: len(batch)])
        finally:
            # what this thread has freed would not be used by the next one that reads: 58 MB of 16
            # columns, and 103 instead of 77 MB at the most
            pa.default_memory_pool().release_unused()

    @property
    def _batch_rows(self) -> int:
        return max(BATCH_ELEMENTS // self.n_features, 1)

    def _batches(self, start: int, stop: int) -> Iterator[Any]:
        """Decode the rows from ``start`` to ``stop``, file after file."""
        for file in self.files:
            first, last = max(start - file.first_row, 0), min(stop - file.first_row, file.n_rows)
            if first < last:
                yield from self._batches_of(file, first, last)

    def _batches_of(self, file: ParquetFile, first: int, last: int) -> Iterator[Any]:
        """Decode the file's rows ``first`` to ``last``, touching no other row groups."""
        names = [*self.columns, *(() if self.weight is None else (self.weight,))]
        first_group = bisect_right(file.group_rows, first) - 1
        last_group = bisect_right(file.group_rows, last - 1)
        position = file.group_rows[first_group]
        buffer_size = min(max(COMPRESSED_BYTES // len(names), 2**14), 2**20)
        with (
            _reading(file.path),
            pq.ParquetFile(
                file.path,
                buffer_size=buffer_size,
                pre_buffer=False,  # would hold all compressed data of the row groups
                page_checksum_verification=True,
            ) as parquet,
        ):
            if _group_rows(parquet.metadata) != file.group_rows:
                raise _changed(file.path)
            # threads belong to the executors, and so does reading ahead
            for batch in parquet.iter_batches(
                batch_size=self._batch_rows,
                row_groups=range(first_group, last_group),
                columns=names,
                use_threads=False,
            ):
                start, stop = max(first - position, 0), min(last - position, len(batch))
                position += len(batch)
                if start < stop:
                    yield batch.slice(start, stop - start)
                if position >= last:
                    return
        raise _changed(file.path)

    def __repr__(self) -> str:
        first, last = self.files[0].path, self.files[-1].path
        where = first if len(self.files) == 1 else f"{first} ... {last} ({len(self.files)} files)"
        weights = "" if self.weight is None else f", weights {self.weight!r}"
        return (
            f"<ParquetSource {where}: {self.n_samples:,} rows x {self.n_features} columns "
            f"({', '.join(self.columns)}), {self.dtype}{weights}>"
        )


@cache
def spare_memory() -> None:
    """Have Arrow use, in this whole process, memory that it gives back; once is enough.

    Reading 16 columns of pages of 1 MB, of which 39 MB are in use, took 60 MB of jemalloc's, blocks
    included, on a busy processor, too; 77 to 106 of mimalloc's, Arrow's own choice.
    """
    with suppress(NotImplementedError):  # Arrow may be built without it
        pa.set_memory_pool(pa.jemalloc_memory_pool())
    release_library("libarrow")
    release_library("libparquet")


def open_files(
    files: Sequence[str], columns: Sequence[str] | None = None, weight: str | None = None
) -> ParquetSource:
    """Open Parquet files as one set of rows, in the order given; only footers are read.

    By default all columns but the weights and a saved pandas or Dask index are features. Columns
    are found by name in every file. Nulls become NaN; numbers that are not float32 or float16 are
    computed in float64.

    Raises
    ------
    DataError
        Damaged files; columns that not all files have, unless others are chosen; columns that are
        not numbers, or are truth values in one file and numbers in another.
    """
    schema, _ = _read_footer(files[0])
    chosen = choose_columns(files[0], _on_offer(schema, columns, weight), columns, weight)
    names = chosen if weight is None else (*chosen, weight)
    first = {name: _column_type(files[0], schema, name) for name in names}
    opened: list[ParquetFile] = []
    n_samples = 0
    single = True
    for path in files:
        with _reading(path):
            opened_as = stamp(path)
        schema, group_rows = _read_footer(path)
        types = {name: _column_type(path, schema, name) for name in names}
        _check_alike(path, types, files[0], first)
        if columns is None:
            _check_no_more(path, _on_offer(schema, None, weight), files[0], names)
        single &= all(_is_single(types[name]) for name in chosen)
        opened.append(ParquetFile(path, n_samples, group_rows, opened_as))
        n_samples += group_rows[-1]
    if n_samples == 0:
        raise DataError(f"{files[0]} holds no rows: there is nothing to read")
    return ParquetSource(
        files=tuple(file for file in opened if file.n_rows),
        columns=chosen,
        dtype=np.dtype(np.float32 if single else np.float64),
        weight=weight,
    )


def _read_footer(path: str) -> tuple[Any, tuple[int, ...]]:
    with _reading(path), pq.ParquetFile(path) as parquet:
        return parquet.schema_arrow, _group_rows(parquet.metadata)


def _group_rows(metadata: Any) -> tuple[int, ...]:
    rows = [metadata.row_group(group).num_rows for group in range(metadata.num_row_groups)]
    return (0, *(int(total) for total in np.cumsum(rows)))


@contextmanager
def _reading(path: str) -> Iterator[None]:
    """Turn pyarrow's errors into one that names the file."""
    try:
        yield
    except pa.ArrowMemoryError:  # no fault of the file
        raise
    except UnicodeEncodeError as error:
        raise DataError(
            f"{os.fsencode(path)!r}: Arrow reads no file whose name is not UTF-8, rename it"
        ) from error
    except (pa.ArrowException, OSError) as error:
        if getattr(error, "errno", None) is not None:  # the system's; Arrow's own have none
            raise unreadable(path, error) from error
        reason = str(error).splitlines()[0].rstrip(".") if str(error) else type(error).__name__
        raise DataError(
            f"{path} is damaged or not a Parquet file, write or copy it again: {reason}"
        ) from error


def _changed(path: str) -> DataError:
    return DataError(f"{path} has changed since it was opened: open the data set again")


def _on_offer(schema: Any, columns: Sequence[str] | None, weight: str | None) -> Sequence[str]:
    """Return the columns to choose from: without a saved index, unless columns are named."""
    if columns is not None:
        return list(schema.names)
    index = (schema.pandas_metadata or {}).get("index_columns", [])
    return [name for name in schema.names if name not in index or name == weight]


def _column_type(path: str, schema: Any, name: str) -> Any:
    """Return the type of a column's numbers; DataError if it holds none."""
    fields = schema.get_all_field_indices(name)
    if not fields:
        raise DataError(f"{path} has no column {name!r}, which other files of the data set have")
    if len(fields) > 1:
        raise DataError(f"{path} has {len(fields)} columns named {name!r}: rename them")
    type_ = schema.field(fields[0]).type
    if pa.types.is_dictionary(type_):
        type_ = type_.value_type
    if not _is_number(type_) and not pa.types.is_boolean(type_):
        raise DataError(f"column {name!r} of {path} holds {type_}, not numbers: {_advice(type_)}")
    return type_


def _check_no_more(
    path: str, offered: Sequence[str], first_path: str, known: Sequence[str]
) -> None:
    """Raise DataError for a column that would be left out, since the first file has it not."""
    more = [name for name in offered if name not in known]
    if more:
        raise DataError(
            f"{path} has a column {more[0]!r}, which {first_path} has not: write both with the "
            "same columns, or choose those to use (columns=[...])"
        )


def _is_number(type_: Any) -> bool:
    # a column of nulls alone is what pandas writes for a part in which every value is missing
    types = pa.types
    return bool(
        types.is_integer(type_)
        or types.is_floating(type_)
        or types.is_decimal(type_)
        or types.is_null(type_)
    )


def _is_single(type_: Any) -> bool:
    types = pa.types
    return bool(types.is_float32(type_) or types.is_float16(type_) or types.is_null(type_))


def _advice(type_: Any) -> str:
    if pa.types.is_temporal(type_):
        return "turn it into numbers, such as seconds, or choose other columns (columns=[...])"
    if pa.types.is_nested(type_):
        return "split it into one column per number, or choose other columns (columns=[...])"
    return "choose the columns of numbers (columns=[...])"


def _check_alike(path: str, types: dict[str, Any], first_path: str, first: dict[str, Any]) -> None:
    """Raise DataError if a column holds truth values in one file and numbers in another.

    Integers in one file and floats in the next are fine: that is how pandas writes a column of
    integers in which some parts have missing values.
    """
    for name, other in first.items():
        null = pa.types.is_null(types[name]) or pa.types.is_null(other)
        if not null and pa.types.is_boolean(types[name]) != pa.types.is_boolean(other):
            raise DataError(
                f"column {name!r} holds {types[name]} in {path} but {other} in {first_path}: "
                "write both with the same type"
            )


def _numbers(column: Any) -> NDArray[Any]:
    """Return (t,) the numbers of an Arrow array; nulls are NaN.

    They are taken from its buffers: ``to_numpy`` would import pandas, 36 MB in every process.
    """
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if pa.types.is_boolean(column.type):
        column = column.cast(pa.uint8())
    elif pa.types.is_decimal(column.type):
        # by its digits: a cast multiplies by a power of ten, and errs in the last bit of one in ten
        column = column.cast(pa.string()).cast(pa.float64())
    elif pa.types.is_null(column.type):
        column = column.cast(pa.float64())
    validity, values = column.buffers()
    first, last = column.offset, column.offset + len(column)
    numbers: NDArray[Any] = np.frombuffer(values, column.type.to_pandas_dtype())[first:last]
    if column.null_count:
        bits = np.frombuffer(validity, np.uint8)
        valid = np.unpackbits(bits, count=last, bitorder="little")[first:]
        numbers = np.where(valid, numbers, np.nan)
    return numbers
