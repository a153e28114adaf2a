"""What a collection must be: a table of real numbers in whole rows, with weights cut alike."""

import warnings
from typing import Any

import dask.array as da
import numpy as np

from fastgmm.exceptions import DataError
from fastgmm.sources.columns import not_numbers
from fastgmm.sources.dask_collections.partitions import Layout
from fastgmm.sources.weights import weight_array


def checked_rows(X: Any) -> Any:
    """Return X in row chunks; raise DataError unless it is a table of real numbers."""
    if not isinstance(X, da.Array):
        if _ndim(X) != 2:
            raise DataError(
                f"X is a Dask {type(X).__name__}, not a table: pass a two-dimensional array or a "
                "data frame"
            )
        _check_frame(X)
        _check_columns(X)
        return X
    if X.ndim != 2:
        raise DataError(
            f"Expected 2D array, got {X.ndim}D array instead: use X.reshape(-1, 1) if your data "
            "has a single feature"
        )
    if X.dtype.kind == "c":
        raise DataError("Complex data not supported: X must be real numbers")
    if X.dtype.kind not in "fiub":
        raise DataError(f"X holds {X.dtype}, not numbers: use X.astype(float)")
    if np.isnan(X.shape[1]):
        raise DataError("X has an unknown number of columns: call X.compute_chunk_sizes() first")
    _check_columns(X)
    if X.numblocks[1] > 1:
        warnings.warn(
            f"X is chunked along its columns ({X.numblocks[1]} chunks) and is rechunked to whole "
            "rows: chunk it by rows, as X.rechunk({1: -1}) does, to avoid moving the data",
            UserWarning,
            stacklevel=4,
        )
        X = X.rechunk({1: -1})
    return X


def _check_columns(X: Any) -> None:
    if X.shape[1] == 0:
        raise DataError("Found array with 0 feature(s) while a minimum of 1 is required.")


def _ndim(collection: Any) -> int:
    """Return the number of dimensions, 0 of what is not made of partitions of a table."""
    # a Delayed has every attribute
    ndim = getattr(collection, "ndim", 0)
    return ndim if isinstance(ndim, int) else 0


def _check_frame(X: Any) -> None:
    for name, dtype in X.dtypes.items():
        # kind is also what pandas' nullable and Arrow types have; categories are "O"
        if getattr(dtype, "kind", "O") not in "fiub":
            raise DataError(not_numbers(name, dtype))


def lengths_of(X: Any) -> list[int] | None:
    """Return the number of rows of every partition, or None."""
    chunks = X.chunks[0] if isinstance(X, da.Array) else [np.nan]
    return None if np.isnan(chunks).any() else [int(length) for length in chunks]


def checked_weights(sample_weight: Any, X: Any, lengths: list[int] | None) -> Any:
    """Return weights cut like X; raise DataError unless they fit it.

    ``lengths`` are the numbers of rows of the partitions of X, if known.
    """
    if not hasattr(sample_weight, "__dask_graph__"):
        return _cut_weights(sample_weight, lengths)
    if _ndim(sample_weight) != 1:
        raise DataError(
            "sample_weight must be a one-dimensional Dask array or a series, not a "
            f"{_ndim(sample_weight)}-dimensional {type(sample_weight).__name__}"
        )
    kind = getattr(sample_weight.dtype, "kind", "O")
    if kind not in "fiub":
        raise DataError(f"sample_weight holds {sample_weight.dtype}, not numbers")
    known = lengths_of(sample_weight)
    counts = _n_partitions(sample_weight), _n_partitions(X)
    if counts[0] != counts[1]:
        raise DataError(
            f"sample_weight has {counts[0]} partitions but X has {counts[1]}: rechunk or "
            "repartition it like X"
        )
    if known and lengths and known != lengths:
        raise DataError(
            "the partitions of sample_weight have other lengths than those of X: use "
            "sample_weight.rechunk((X.chunks[0],))"
        )
    return sample_weight


def _cut_weights(sample_weight: Any, lengths: list[int] | None) -> Any:
    """Cut weights in memory like the rows."""
    if lengths is None:
        raise DataError(
            "sample_weight is in memory but the partitions of X have unknown numbers of rows: "
            "pass weights as a Dask collection with the partitions of X, or call "
            "X.compute_chunk_sizes() first"
        )
    weights = weight_array(sample_weight, sum(lengths))
    return da.from_array(weights, chunks=(tuple(lengths),))


def _n_partitions(collection: Any) -> int:
    if isinstance(collection, da.Array):
        return int(collection.numblocks[0])
    return int(collection.npartitions)


def layout_of(X: Any, weighted: bool, drop_missing: bool) -> Layout:
    """Return what turns the partitions of X into rows."""
    dtypes = [X.dtype] if isinstance(X, da.Array) else list(X.dtypes)
    single = all(dtype == np.float32 for dtype in dtypes)
    return Layout(
        n_features=int(X.shape[1]) if isinstance(X, da.Array) else len(X.columns),
        dtype=np.dtype(np.float32 if single else np.float64),
        weighted=weighted,
        drop_missing=drop_missing,
        nullable=not all(isinstance(dtype, np.dtype) for dtype in dtypes),
    )
