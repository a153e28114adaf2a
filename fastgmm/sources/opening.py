"""From what a user hands over to a source: paths, arrays, frames, collections."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from importlib import import_module
from os import PathLike
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeAlias

import numpy as np

from fastgmm._typing import Float64Array, FloatArray
from fastgmm.exceptions import DataError, DataTypeError
from fastgmm.sources.arrays import ArraySource, as_numpy, unmasked
from fastgmm.sources.base import Source
from fastgmm.sources.columns import frame_columns, not_numbers
from fastgmm.sources.weights import weight_array

if TYPE_CHECKING:
    from fastgmm.sources.stored.source import StoredSource

Paths: TypeAlias = str | PathLike[str] | Sequence[str | PathLike[str]]


class Format(NamedTuple):
    """What is known of a kind of file before its module is imported."""

    module: str
    """With an ``open_files`` function (see :class:`Opener`)."""
    names_columns: bool = False
    """Whether columns have names; otherwise they have numbers."""
    holds_arrays: bool = False
    """Whether it is a folder or file of named arrays, so that a path may go on inside it."""


FILE_FORMATS = {
    ".npy": Format("fastgmm.sources.npy"),
    ".parquet": Format("fastgmm.sources.parquet", names_columns=True),
    ".pq": Format("fastgmm.sources.parquet", names_columns=True),
    ".zarr": Format("fastgmm.sources.stored.zarr", holds_arrays=True),
    ".h5": Format("fastgmm.sources.stored.hdf5", holds_arrays=True),
    ".hdf5": Format("fastgmm.sources.stored.hdf5", holds_arrays=True),
}
"""File name ending -> its format."""

STORED_ARRAYS = {
    "zarr": "fastgmm.sources.stored.zarr",
    "h5py": "fastgmm.sources.stored.hdf5",
}
"""Package of arrays that are read where they lie -> module with ``open_arrays``."""


class Opener(Protocol):
    """What a module of ``FILE_FORMATS`` offers."""

    def open_files(
        self, files: Sequence[str], columns: Sequence[str] | None, weight: str | None
    ) -> Source:
        """Open files that belong together, in the order given."""


def open_dataset(
    paths: Paths,
    *,
    columns: Sequence[str] | None = None,
    weight: str | None = None,
    missing: str = "raise",
) -> Source:
    """Open a file, a list of files, a folder or a glob pattern as one set of rows.

    Parameters
    ----------
    paths : path, glob pattern, folder, or a list of them
        ``.npy`` or Parquet files, Zarr arrays (``rows.zarr``, or ``store.zarr/group/x`` for one
        of several), HDF5 datasets (``rows.h5`` or ``file.h5/group/x``). Folders and patterns are
        put in natural order (part-2 before part-10), a list keeps its order; a file named twice
        is read once, with a warning, and an empty file left out; ``_SUCCESS`` and hidden files are
        skipped. Also one open ``zarr.Array`` or ``h5py.Dataset``.
    columns : list of str, optional
        The columns to use, in this order: names (Parquet) or numbers such as ``"0"`` (all
        others); by default all but the weight column and a saved pandas index. They must hold
        numbers.
    weight : str, optional
        The column of row weights, by name or number: frequencies, not negative.
    missing : {"raise", "drop"}
        Whether rows with NaN (or null) in a used column are an error or left out. Who asks for
        predictions of such a data set gets none for these rows; an estimator's own ``missing``
        keeps their places.

    Returns
    -------
    Source
        Rows that every method of an estimator takes as ``X``; nothing but headers was read (with
        ``missing="drop"``: all rows, once, to count those that stay).

    Raises
    ------
    DataError
        No such file, unknown ending, columns that differ between files, text columns, damaged
        files. The message names the file.

    Warns
    -----
    UserWarning
        Files that are empty or named twice; chunks of Zarr and HDF5 that were never written, whose
        rows read as zeros.

    Examples
    --------
    >>> import numpy as np, tempfile
    >>> from fastgmm import open_dataset
    >>> folder = tempfile.mkdtemp()
    >>> np.save(folder + "/rows.npy", np.arange(10.0).reshape(5, 2))
    >>> open_dataset(folder + "/*.npy").n_samples
    5
    """
    if _package(paths) in STORED_ARRAYS:
        return _without_missing(_stored_array(paths, columns, weight), missing)
    from fastgmm.sources.files import resolve

    files, ending = resolve(paths, FILE_FORMATS)
    opener: Opener = import_module(FILE_FORMATS[ending].module)
    return _without_missing(opener.open_files(files, columns, weight), missing)


def as_source(X: Any, *, sample_weight: Any = None, missing: str = "raise") -> Source:
    """Turn whatever a user passes as ``X`` into a source.

    Raises DataError for anything that is not a table of real numbers.
    """
    if _names_files(X):
        X = open_dataset(X)
    if hasattr(X, "__dask_graph__"):  # first: a Delayed has every attribute, a source's too
        from fastgmm.sources.dask_collections import collection_source

        return collection_source(X, sample_weight, missing)
    if isinstance(X, Source):
        if sample_weight is not None:
            raise DataError(
                "sample_weight goes with arrays and Dask collections; a data set takes its "
                "weights from a column: open_dataset(..., weight='name')"
            )
        return _without_missing(X, missing)
    if _package(X) in STORED_ARRAYS:
        stored = _stored_array(X)
        weights = _weights(sample_weight, stored.n_samples)
        return _without_missing(replace(stored, weights=weights), missing)
    return _without_missing(_array_source(X, sample_weight), missing)


def _names_files(X: Any) -> bool:
    """Return whether X is a path, a pattern or a list of them."""
    if isinstance(X, list | tuple):
        return len(X) > 0 and all(isinstance(one, str | PathLike) for one in X)
    return isinstance(X, str | PathLike)


def _package(X: Any) -> str:
    return type(X).__module__.partition(".")[0]


def _stored_array(
    X: Any, columns: Sequence[str] | None = None, weight: str | None = None
) -> "StoredSource":
    """Return the source of an array that is read where it lies."""
    opener = import_module(STORED_ARRAYS[_package(X)])
    source: StoredSource = opener.open_arrays([X], columns, weight)
    return source


def _array_source(X: Any, sample_weight: Any) -> ArraySource:
    if hasattr(X, "tocsr"):
        raise DataTypeError(
            "Sparse data was passed for X, but dense data is required. Use '.toarray()' to convert "
            "to a dense numpy array."
        )
    names = frame_columns(X)
    _check_no_times(X)
    array = unmasked(_real_array(X))
    if array.ndim > 2:
        raise DataError(
            f"Found array with dim {array.ndim}, while dim <= 2 is required by GaussianMixture."
        )
    if array.ndim != 2:
        raise DataError(
            f"Expected 2D array, got {array.ndim}D array instead. Reshape your data either using "
            "array.reshape(-1, 1) if your data has a single feature or array.reshape(1, -1) if it "
            "contains a single sample."
        )
    if array.shape[1] == 0:
        raise DataError(
            f"Found array with 0 feature(s) (shape={array.shape}) while a minimum of 1 is required "
            "by GaussianMixture."
        )
    return ArraySource(array, _weights(sample_weight, len(array)), names)


def _check_no_times(X: Any) -> None:
    """Raise DataError for a frame with times among numbers: pandas would count microseconds."""
    for name, dtype in _dtypes(X):
        if getattr(dtype, "kind", "f") in "mM":
            raise DataError(not_numbers(name, dtype))


def _dtypes(X: Any) -> Iterable[tuple[Any, Any]]:
    """Return name and dtype of a frame's columns; nothing for what is no frame of pandas."""
    dtypes: Any = getattr(X, "dtypes", None)
    return dtypes.items() if hasattr(dtypes, "items") else ()


def _real_array(X: Any) -> FloatArray:
    try:
        array = X if isinstance(X, np.ndarray) else as_numpy(X)
        if array.dtype.kind in "OSU":
            # pandas' NA is no number to NumPy
            array = (
                X.to_numpy(np.float64, na_value=np.nan)
                if hasattr(X, "convert_dtypes")
                else array.astype(np.float64)
            )
    except TypeError as error:
        raise DataTypeError(_no_numbers(X, error)) from error
    except ValueError as error:
        raise DataError(_no_numbers(X, error)) from error
    if array.dtype.kind == "c":
        raise DataError("Complex data not supported: X must be real numbers")
    if array.dtype.kind not in "fiub":
        raise DataError(f"X holds {array.dtype}, not numbers")
    return array


def _no_numbers(X: Any, error: Exception) -> str:
    """Name the first column of a frame that holds something else; else say what NumPy said."""
    for name, dtype in _dtypes(X):
        if getattr(dtype, "kind", "f") in "OSU":
            return not_numbers(name, dtype)
    return f"X is not a table of numbers: {error}"


def _weights(sample_weight: Any, n_samples: int) -> Float64Array | None:
    return None if sample_weight is None else weight_array(sample_weight, n_samples)


def _without_missing(source: Source, missing: str) -> Source:
    if missing == "raise":
        return source
    if missing != "drop":
        raise ValueError(f"missing={missing!r} is neither 'raise' nor 'drop'")
    from fastgmm.sources.missing import drop_missing

    return drop_missing(source)
