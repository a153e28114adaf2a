"""Zarr arrays, of format 2 and 3: folders on a disk, or any store that Zarr has opened.

A chunk that was never written holds the fill value, as the format says: a warning counts them, but
one that was lost cannot be told from one that has nothing else.
"""

import os
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
    import zarr
except ImportError as error:
    raise ImportError("Zarr arrays need zarr: pip install fastgmm[zarr]") from error

METADATA = ("zarr.json", ".zarray")
"""Of formats 3 and 2."""

WATCHED = 1000
"""Chunks, evenly spaced, whose files are looked at before a pass to see whether they have changed:
2 ms here, a second where a file system is across a network."""


@dataclass(frozen=True)
class ZarrArray:
    """An array that Zarr has opened; its pickle says where it lies."""

    path: str
    array: Any

    @property
    def shape(self) -> tuple[int, ...]:
        """Its shape."""
        return tuple(self.array.shape)

    @property
    def dtype(self) -> np.dtype[Any]:
        """What it holds."""
        return np.dtype(self.array.dtype)

    @property
    def chunks(self) -> tuple[int, ...]:
        """The shape of a chunk; of those within a shard, which are decoded one by one."""
        return tuple(self.array.chunks)

    @property
    def in_memory(self) -> bool:
        """Whether the store is memory of this process."""
        return isinstance(self.array.store, zarr.storage.MemoryStore)

    def files(self) -> list[str]:
        """Return its metadata and up to WATCHED chunks; none of a store that is not on a disk."""
        if not isinstance(self.array.store, zarr.storage.LocalStore):
            return []
        folder = os.path.join(self.array.store.root, self.array.store_path.path)
        files = sorted(os.path.join(at, name) for at, _, names in os.walk(folder) for name in names)
        metadata = [file for file in files if os.path.basename(file) in METADATA]
        return [*metadata, *files[:: -(-len(files) // WATCHED) or 1]]

    def unwritten(self) -> Unwritten:
        """Count them where that is a look into a folder; none in a store elsewhere."""
        if not isinstance(self.array.store, zarr.storage.LocalStore | zarr.storage.MemoryStore):
            return Unwritten(0, 0, None)
        chunks = self.array.nchunks
        missing = chunks - self.array.nchunks_initialized
        return Unwritten(missing, chunks, self.array.fill_value)

    def read(self, start: int, stop: int, columns: slice) -> NDArray[Any]:
        """Decode some rows; DataError naming the path if that fails."""
        where = (slice(start, stop), columns)[: len(self.array.shape)]
        try:
            return np.asarray(self.array[where])
        except MemoryError:
            raise
        except Exception as error:  # every codec has its own
            raise unreadable_rows(self.path, start, stop, error) from error


def open_files(
    files: Sequence[str], columns: Sequence[str] | None = None, weight: str | None = None
) -> StoredSource:
    """Open Zarr arrays as one set of rows, in the order given; only metadata are read.

    ``columns`` and ``weight`` are column numbers as text, such as ``"0"``. Arrays of shape (n,)
    are one column. Arrays without rows are left out. A chunk is decoded as a whole, so that each
    thread holds one in memory.

    Raises
    ------
    DataError
        Groups, damaged metadata, other things than numbers, different numbers of columns.
    """
    return stored_source([_open(path) for path in files], columns, weight)


def open_arrays(
    arrays: Sequence[Any], columns: Sequence[str] | None = None, weight: str | None = None
) -> StoredSource:
    """Take arrays that Zarr has opened as one set of rows."""
    opened = [_checked(str(array.store_path).removeprefix("file://"), array) for array in arrays]
    return stored_source(opened, columns, weight)


def _open(path: str) -> ZarrArray:
    try:
        opened = zarr.open(path, mode="r")
    except (OSError, ValueError, KeyError, TypeError) as error:
        reason = str(error).splitlines()[0].rstrip(".") if str(error) else type(error).__name__
        raise DataError(
            f"{path} is not a Zarr array ({reason}): write it again, or name an array in a store"
        ) from error
    return _checked(path, opened)


def _checked(path: str, opened: Any) -> ZarrArray:
    """Return an opened array; DataError for a group, with the names of its arrays."""
    if isinstance(opened, zarr.Array):
        return ZarrArray(path, opened)
    members = opened.members(max_depth=None)  # in groups of the group, too
    names = sorted(name for name, member in members if isinstance(member, zarr.Array))
    advice = f"name one of its arrays, such as {path}/{names[0]}" if names else "it has no arrays"
    listed = f" of {', '.join(names)}" if names else ""
    raise DataError(f"{path} is a Zarr group{listed}: {advice}")
