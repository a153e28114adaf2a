"""Folders of parts, written side by side by threads or workers, complete or absent.

A part becomes bytes first. They go to a file under a name of its own, which gets the part's name
when it is whole: a worker that is killed leaves no half a part, and one that does the work of
another once more puts the same bytes in the place of the same bytes.
"""

import os
import shutil
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from fastgmm.atomic_file import begun, sync
from fastgmm.exceptions import DataError
from fastgmm.sinks.results import Results

WHOLE, HALF = "whole", "half"
"""Of a folder that is being made: what is finished, and what is being written."""


class Layout(NamedTuple):
    """What all parts have to know of the whole."""

    n_rows: int
    part_rows: int
    """Rows of every part but the last."""
    nothing: NDArray[Any]
    """No rows, (0,) or (0, columns)."""
    names: Sequence[str]

    @property
    def n_parts(self) -> int:
        """Number of parts."""
        return -(-self.n_rows // self.part_rows)


class Format(Protocol):
    """What a module of a kind of folder offers."""

    def part_name(self, layout: Layout, number: int) -> str:
        """Return the file name of a part."""

    def part_bytes(self, layout: Layout, number: int, rows: NDArray[Any]) -> bytes:
        """Return a part's file; the same bytes for the same rows."""

    def other_files(self, layout: Layout) -> Mapping[str, bytes]:
        """Return what the folder holds besides the parts, by name."""


@dataclass(frozen=True)
class PartWriter:
    """Writes parts of one folder, in any process that sees it."""

    module: str
    layout: Layout
    folder: Path
    """Which is being made."""
    target: Path
    """What it will be called."""

    def __call__(self, number: int, rows: NDArray[Any]) -> None:
        """Write a part."""
        form: Format = import_module(self.module)
        self.put(form.part_name(self.layout, number), form.part_bytes(self.layout, number, rows))

    def put(self, name: str, content: bytes) -> None:
        """Write a file and sync it; it appears under its name when it is whole."""
        half = self.folder / HALF / uuid.uuid4().hex
        try:
            with half.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            half.replace(self.folder / WHOLE / name)
        except FileNotFoundError as error:
            raise DataError(
                f"{self.target} cannot be written: its folder is not seen by a worker, or was "
                "removed; name a folder that all machines share"
            ) from error
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(self.target)) from error


def to_folder(module: str, path: Path, results: Results) -> None:
    """Write results to a new folder of parts, each by whoever computes it."""
    layout = Layout(results.n_rows, results.part_rows, results.nothing, results.names)
    form: Format = import_module(module)
    others = form.other_files(layout)
    with atomic_folder(path) as folder:
        writer = PartWriter(module, layout, folder, path)
        for name, content in others.items():
            writer.put(name, content)
        results.write_parts(writer)
        expected = {form.part_name(layout, number) for number in range(layout.n_parts)}
        if not expected <= set(os.listdir(folder / WHOLE)):
            raise DataError(
                f"{path} cannot be written: its parts were not found here after workers had "
                "written them; name a folder that all machines share"
            )


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Give a temporary folder with folders WHOLE and HALF; WHOLE becomes ``path`` in the end.

    If the block raises, nothing is left of it.
    """
    folder = begun(path)
    try:
        folder.mkdir()  # workers may be other users
        for name in (WHOLE, HALF):
            (folder / name).mkdir()
        yield folder
        sync(folder / WHOLE)
        if path.exists():
            raise DataError(f"{path} was made by somebody else meanwhile: choose another name")
        os.rename(folder / WHOLE, path)
        sync(path.parent)
    finally:
        _discard(folder)


def _discard(folder: Path) -> None:
    """Remove a folder although tasks that nobody waits for may still want to write to it."""
    gone = folder.with_suffix(".gone")
    with suppress(FileNotFoundError):
        folder.rename(gone)  # they do not find it any more
    shutil.rmtree(gone, ignore_errors=True)


def columns_of(rows: NDArray[Any]) -> list[NDArray[Any]]:
    """Return the columns of rows (t,) or (t, columns), each contiguous."""
    return [np.ascontiguousarray(column) for column in rows.reshape(len(rows), -1).T]
