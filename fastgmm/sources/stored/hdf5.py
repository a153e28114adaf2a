"""Datasets in HDF5 files, by h5py."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastgmm.exceptions import DataError
from fastgmm.sources.stored.source import (
    StoredSource,
    Unwritten,
    stored_source,
    unreadable_rows,
)

try:
    import h5py
except ImportError as error:
    raise ImportError("HDF5 files need h5py: pip install fastgmm[hdf5]") from error

_FILE_AND_NAME = re.compile(r"(.*?\.(?:h5|hdf5))(/.*)?", re.IGNORECASE | re.DOTALL)


@dataclass(frozen=True)
class Dataset:
    """A dataset by file and name: whoever reads opens it again, since h5py's own cannot travel."""

    file: str
    name: str
    """Within the file, beginning with a slash."""
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    chunks: tuple[int, ...] | None
    gaps: Unwritten

    @property
    def path(self) -> str:
        """File and name."""
        return self.file + self.name

    @property
    def in_memory(self) -> bool:
        """It lies in a file."""
        return False

    def files(self) -> list[str]:
        """Return its file."""
        return [self.file]

    def unwritten(self) -> Unwritten:
        """Return what it lacked when it was opened."""
        return self.gaps

    def read(self, start: int, stop: int, columns: slice) -> NDArray[Any]:
        """Read some rows; DataError naming file and dataset if that fails."""
        where = (slice(start, stop), columns)[: len(self.shape)]
        try:
            with h5py.File(self.file, "r") as file:
                return np.asarray(file[self.name][where])
        except MemoryError:
            raise
        except Exception as error:  # HDF5 raises what its filters do
            raise unreadable_rows(self.path, start, stop, error) from error


def open_files(
    files: Sequence[str], columns: Sequence[str] | None = None, weight: str | None = None
) -> StoredSource:
    """Open datasets in HDF5 files as one set of rows, in the order given; no numbers are read.

    A path may go on inside the file (``rows.h5/group/x``); without that the file holds one
    dataset. ``columns`` and ``weight`` are column numbers as text, such as ``"0"``.

    Raises
    ------
    DataError
        Damaged files, several datasets in one, other things than numbers, different numbers of
        columns.
    """
    return stored_source([_open(path) for path in files], columns, weight)


def open_arrays(
    arrays: Sequence[Any], columns: Sequence[str] | None = None, weight: str | None = None
) -> StoredSource:
    """Take datasets of open files as one set of rows."""
    return stored_source([_taken(array) for array in arrays], columns, weight)


def _open(path: str) -> Dataset:
    match = _FILE_AND_NAME.fullmatch(path)
    file_name, name = (path, None) if match is None else match.groups()
    try:
        with h5py.File(file_name, "r") as file:
            if name is not None and name not in file:
                held = _datasets_in(file)
                advice = f"name one of its datasets, such as {file_name}{held[0]}" if held else ""
                raise DataError(f"{file_name} holds no {name}: {advice or 'write the rows to one'}")
            return _described(file_name, file if name is None else file[name])
    except (OSError, KeyError, RuntimeError) as error:
        reason = str(error.args[0] if error.args else error).splitlines()[0].rstrip(".")
        raise DataError(
            f"{path} cannot be opened as HDF5 ({reason}): write or copy it again"
        ) from error


def _taken(opened: Any) -> Dataset:
    driver = getattr(getattr(opened, "file", None), "driver", None)
    if driver in ("core", "fileobj"):
        raise DataError("X is an HDF5 dataset without a file: pass the rows themselves, X[:]")
    opened.file.flush()  # the file is read by its name, and is another one once it is written
    return _described(opened.file.filename, opened)


def _described(file: str, opened: Any) -> Dataset:
    """Return what says where a dataset lies; of a group with one dataset, that one."""
    if isinstance(opened, h5py.Dataset):
        if opened.shape is None:
            raise DataError(
                f"{file}{opened.name} is empty, without any shape: write the rows to it"
            )
        shape, gaps = tuple(opened.shape), _gaps(opened)
        return Dataset(file, opened.name, shape, opened.dtype, opened.chunks, gaps)
    names = _datasets_in(opened)
    if len(names) == 1:
        return _described(file, opened.file[names[0]])
    where = file + ("" if opened.name == "/" else opened.name)
    if not names:
        raise DataError(f"{where} holds no dataset: write the rows to one")
    raise DataError(
        f"{where} holds {len(names)} datasets: name one of them, such as {file}{names[0]}"
    )


def _gaps(opened: Any) -> Unwritten:
    """Return what of a dataset nobody has written; nothing of one that lies in other files."""
    if opened.is_virtual or opened.external or opened.size == 0:
        return Unwritten(0, 0, None)
    if opened.chunks is None:
        return Unwritten(int(opened.id.get_storage_size() == 0), 1, opened.fillvalue)
    sides = zip(opened.shape, opened.chunks, strict=True)
    chunks = math.prod(-(-side // chunk) for side, chunk in sides)
    return Unwritten(chunks - opened.id.get_num_chunks(), chunks, opened.fillvalue)


def _datasets_in(group: Any) -> list[str]:
    """Return the names, from the file's root on, of all datasets in a group."""
    names: list[str] = []

    def note(_: str, one: Any) -> None:
        if isinstance(one, h5py.Dataset):
            names.append(one.name)

    group.visititems(note)
    return names
