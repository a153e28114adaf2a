"""Where predictions go: an array in memory, or a file or folder that is complete or absent.

A kind of file is one function and one line in ``FILE_SINKS``; a kind of folder, whose parts are
written side by side, is one module with a ``Format`` (:mod:`fastgmm.sinks.folders`) and one line.
"""

from collections.abc import Callable, Iterable
from functools import partial
from os import PathLike, fspath
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from fastgmm.atomic_file import destination
from fastgmm.exceptions import DataError
from fastgmm.sinks.folders import to_folder
from fastgmm.sinks.npy import to_npy
from fastgmm.sinks.results import ArrayResults, PlacedResults, Results
from fastgmm.sources import Source, check_not_read, files_of

__all__ = [
    "FILE_SINKS",
    "ArrayResults",
    "PlacedResults",
    "Results",
    "checked_sink",
    "to_array",
    "to_file",
]

Blocks: TypeAlias = Iterable[NDArray[Any]]
"""Results of neighbouring blocks in order, each (t,) or (t, columns)."""

NOTHING = "Found array with 0 sample(s): there are no rows to predict"

FILE_SINKS: dict[str, Callable[[Path, Results], None]] = {
    ".npy": to_npy,
    ".parquet": partial(to_folder, "fastgmm.sinks.parquet"),
    ".zarr": partial(to_folder, "fastgmm.sinks.zarr"),
}
"""File name ending, in lower case -> function(path, results)."""


def to_array(blocks: Blocks, n_rows: int) -> NDArray[Any]:
    """Put blocks into one array, allocated once."""
    whole: NDArray[Any] | None = None
    at = 0
    for block in blocks:
        if whole is None:
            whole = np.empty((n_rows, *block.shape[1:]), block.dtype)
        whole[at : at + len(block)] = block
        at += len(block)
    if whole is None:
        raise DataError(NOTHING)
    return whole


def checked_sink(path: str | PathLike[str], source: Source | None = None) -> Path:
    """Return the file or folder that will be made; before hours of work, not after.

    Raises DataError unless it can be begun. Files are replaced, but for those of the ``source``
    whose rows are read meanwhile; folders are not: a folder may hold anything.
    """
    ending = _ending(path)
    if ending not in FILE_SINKS:
        known = " or ".join(FILE_SINKS)
        raise DataError(f"Cannot write {fspath(path)}: its name must end in {known}")
    try:
        target = destination(path)
    except OSError as error:
        raise DataError(str(error)) from error
    if target.exists() and FILE_SINKS[ending] is not to_npy:
        raise DataError(f"{fspath(path)} is a file already: remove it or choose another name")
    check_not_read(path, files_of(source))
    return target


def to_file(path: str | PathLike[str], results: Results) -> None:
    """Write results to a file or folder, complete or not at all.

    Raises
    ------
    DataError
        An unknown ending, a missing folder, a folder that exists already or that workers do not
        see.
    OSError
        The disk refuses.
    """
    target = checked_sink(path)
    if results.n_rows == 0:
        raise DataError(NOTHING)
    FILE_SINKS[_ending(path)](target, results)


def _ending(path: str | PathLike[str]) -> str:
    return Path(path).suffix.lower()
