"""Lazy predictions: a collection of what a function makes of each row."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import dask.array as da
import numpy as np
from dask.delayed import delayed
from numpy.typing import NDArray

from fastgmm.exceptions import DataError
from fastgmm.sources.arrays import writeable_view
from fastgmm.sources.base import Chunk
from fastgmm.sources.dask_collections.partitions import Layout, block_of
from fastgmm.sources.dask_collections.source import DaskSource


def map_rows(
    function: Callable[[Chunk], NDArray[Any]],
    source: DaskSource,
    names: Sequence[str],
    width: int | None,
    dtype: np.dtype[Any],
) -> Any:
    """Return lazily what ``function`` makes of the rows of a Dask array or data frame.

    Errors name the partition, and the row in it: how many there are before it is not known.

    Parameters
    ----------
    function : callable
        From a chunk of t rows to an array (t,), or (t, width) if there is a width.
    names : sequence of str
        What a series or the columns of a data frame are called.
    width : int or None
        Number of columns of the result.

    Returns
    -------
    dask array for an array; series or data frame with the index of X for a data frame
        Partitions are those of X, of unknown length where those are; nothing is computed yet.
    """
    X = source.collections[0]
    mapping = _Mapping(function, source.layout, tuple(names), width, dtype)
    # one task, from which the others take it: a large model would travel with every partition
    # (frames fuse it into their partitions all the same)
    shared = delayed(mapping, traverse=False)
    if isinstance(X, da.Array):
        chunks = (X.chunks[0],) if width is None else (X.chunks[0], (width,))
        return da.map_blocks(
            _mapped_array,
            X,
            shared,
            dtype=dtype,
            chunks=chunks,
            drop_axis=1 if width is None else None,
            meta=np.empty((0,) * len(chunks), dtype),
        )
    return X.map_partitions(_mapped_frame, shared, meta=mapping(X._meta, 0))


def _mapped_array(rows: Any, mapping: "_Mapping", block_info: Any) -> Any:
    return mapping(rows, block_info[0]["chunk-location"][0])


def _mapped_frame(rows: Any, mapping: "_Mapping", partition_info: Any) -> Any:
    return mapping(rows, partition_info["number"])


@dataclass(frozen=True, eq=False)
class _Mapping:
    """What becomes of a partition."""

    function: Callable[[Chunk], NDArray[Any]]
    layout: Layout
    names: tuple[str, ...]
    width: int | None
    dtype: np.dtype[Any]

    def __call__(self, rows: Any, number: int) -> Any:
        """Return an array for an array, a series or frame with its index for a frame."""
        block = block_of(number, self.layout, rows)
        if len(block.rows):
            try:
                result = self.function(Chunk(0, writeable_view(block.rows), block.weights))
            except DataError as error:
                raise DataError(f"partition {number} of X: {error}") from error
        else:
            result = np.empty((0,) if self.width is None else (0, self.width), self.dtype)
        if not hasattr(rows, "index"):
            return result
        import pandas

        if self.width is None:
            return pandas.Series(result, index=rows.index, name=self.names[0])
        return pandas.DataFrame(result, index=rows.index, columns=list(self.names))
