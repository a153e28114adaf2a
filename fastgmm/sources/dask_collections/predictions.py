"""Lazy predictions: a collection of what a function makes of each row."""

from collections.abc import Callable
from functools import partial
from typing import Any

import dask.array as da
import numpy as np
from numpy.typing import NDArray

from fastgmm.sources.arrays import writeable_view
from fastgmm.sources.base import Chunk
from fastgmm.sources.dask_collections.checks import checked_rows, layout_of
from fastgmm.sources.dask_collections.partitions import Layout, block_of


def map_rows(
    function: Callable[[Chunk], NDArray[Any]],
    X: Any,
    width: int | None,
    dtype: np.dtype[Any],
) -> Any:
    """Return lazily what ``function`` makes of the rows of a Dask array or data frame.

    Parameters
    ----------
    function : callable
        From a chunk of t rows to an array (t,), or (t, width) if there is a width.
    width : int or None
        Number of columns of the result.

    Returns
    -------
    dask array for an array; series or data frame with the index of X for a data frame
        Partitions are those of X; nothing is computed yet.
    """
    X = checked_rows(X)
    mapped = partial(_mapped, function, layout_of(X, False, False), width, dtype)
    if isinstance(X, da.Array):
        chunks = (X.chunks[0],) if width is None else (X.chunks[0], (width,))
        return da.map_blocks(
            mapped,
            X,
            dtype=dtype,
            chunks=chunks,
            drop_axis=1 if width is None else None,
            meta=np.empty((0,) * len(chunks), dtype),
        )
    return X.map_partitions(mapped, meta=mapped(X._meta))


def _mapped(
    function: Callable[[Chunk], NDArray[Any]],
    layout: Layout,
    width: int | None,
    dtype: np.dtype[Any],
    rows: Any,
) -> Any:
    block = block_of(0, layout, rows)
    if len(block.rows):
        result = function(Chunk(0, writeable_view(block.rows), block.weights))
    else:
        result = np.empty((0,) if width is None else (0, width), dtype)
    if not hasattr(rows, "index"):
        return result
    import pandas

    make = pandas.Series if width is None else pandas.DataFrame
    return make(result, index=rows.index)
