"""Rows in memory: arrays, memory maps, and whatever turns into an array."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np

from fastgmm._typing import Float64Array, FloatArray
from fastgmm.sources.base import NO_WEIGHTS, Chunk
from fastgmm.sources.grid import Grid, row_grid
from fastgmm.sources.identity import Fingerprint, array_digest, fingerprint_of


@dataclass(frozen=True)
class ArraySource:
    """The rows of a two-dimensional array or memory map; blocks are views where they can be."""

    array: FloatArray
    """(n, d); other dtypes than float32 are computed in float64, converted block by block."""
    weights: Float64Array | None = None
    """(n,) or None."""
    columns: Sequence[str] | None = None
    in_double: bool = False
    """Whether float32 rows are computed in float64."""

    @property
    def n_samples(self) -> int:
        """Number of rows."""
        return int(self.array.shape[0])

    @property
    def n_features(self) -> int:
        """Number of columns."""
        return int(self.array.shape[1])

    @property
    def dtype(self) -> np.dtype[np.floating]:
        """float32 for float32 data unless told otherwise, else float64."""
        single = self.array.dtype == np.float32 and not self.in_double
        return np.dtype(np.float32 if single else np.float64)

    def widened(self) -> "ArraySource":
        """Return the same rows in float64, whatever they are stored in."""
        return replace(self, in_double=True)

    @property
    def weighted(self) -> bool:
        """Whether there are weights."""
        return self.weights is not None

    @property
    def reads_files(self) -> bool:
        """Memory maps read their file as the kernel touches it: no reading ahead."""
        return False

    @property
    def fingerprint(self) -> Fingerprint:
        """A hash of the rows, or of some if there are many."""
        return fingerprint_of(self, rows_hash=array_digest(self.array, self.weights))

    @property
    def without_copies(self) -> bool:
        """Whether the rows lie in memory as kernels take them: chunks are views."""
        flags = self.array.flags
        return self.array.dtype == self.dtype and flags.c_contiguous and flags.aligned

    def grid(self, chunk_size: int | None) -> Grid:
        """Return the row grid."""
        return row_grid(self.n_samples, self.n_features, chunk_size)

    def chunks(self, grid: Grid, first: int, last: int) -> Iterator[Chunk]:
        """Cut the blocks out of the array, ``without_copies`` or converted one by one."""
        rows, is_ready = self.array, self.without_copies
        if is_ready:
            rows = writeable_view(rows)
        for start, stop in pairwise(grid.boundaries[first : last + 1].tolist()):
            part, weights = rows[start:stop], NO_WEIGHTS
            if not is_ready:
                part = writeable_view(np.ascontiguousarray(part, dtype=self.dtype))
            if self.weights is not None:
                weights = writeable_view(self.weights[start:stop])
            yield Chunk(start, part, weights)


def as_numpy(values: Any) -> Any:
    """Return an array; NumPy takes nulls in Arrow's dictionaries for their last value."""
    if type(values).__module__.partition(".")[0] == "pyarrow":
        values = _decoded(values)
    return np.asarray(values)


def _decoded(values: Any) -> Any:
    """Return a table, a record batch or a column without dictionaries; all else as it is."""
    import pyarrow as pa

    if isinstance(values, pa.RecordBatch):
        values = pa.Table.from_batches([values])
    if isinstance(values, pa.Table):
        columns = [_decoded(column) for column in values.columns]
        return pa.Table.from_arrays(columns, names=values.column_names)
    is_column = isinstance(values, pa.Array | pa.ChunkedArray)
    if is_column and pa.types.is_dictionary(values.type):
        return values.cast(values.type.value_type)
    return values


def unmasked(array: Any) -> Any:
    """Return an array's numbers: NaN, which is a missing value, where a masked one is masked."""
    if not hasattr(array, "filled"):
        return array
    if not np.ma.is_masked(array):
        return array.data
    return (array if array.dtype.kind == "f" else array.astype(np.float64)).filled(np.nan)


def writeable_view(rows: Any) -> Any:
    """Return the same memory, marked writeable, without a copy.

    Numba compiles one more kernel for read-only arrays (seconds) although kernels never write to
    rows; read-only memory maps are what large data come as.
    """
    rows = rows.view(np.ndarray)
    if rows.flags.writeable and rows.flags.aligned:
        return rows
    if not rows.flags.aligned:
        return rows.copy()
    return np.asarray(_Writeable(rows))


class _Writeable:
    def __init__(self, rows: Any) -> None:
        self._keep_alive = rows
        interface = dict(rows.__array_interface__)
        interface["data"] = (interface["data"][0], False)
        self.__array_interface__ = interface
