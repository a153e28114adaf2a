"""What tells these data from others: fingerprints, and stamps that show that a file has changed."""

import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from os import PathLike
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from fastgmm._typing import Float64Array
from fastgmm.atomic_file import same_file
from fastgmm.exceptions import DataError, UnreadableError
from fastgmm.sources.base import Source

Fingerprint: TypeAlias = Mapping[str, Any]
"""JSON: equal for equal data, wherever they lie; the names are what a complaint can name."""

EXCERPT_BYTES = 2**16
"""Read of a file at its beginning, middle and end: 0.1 ms, where all of it takes a pass."""

WHOLE_BYTES = 2**23
"""Arrays up to this size are hashed whole (10 ms), of larger ones ..."""
EXCERPT_ROWS = 1024
"""... so many rows, evenly spaced."""


class Stamp(NamedTuple):
    """A file as it was when it was opened."""

    path: str
    n_bytes: int
    modified: int
    """Nanoseconds since 1970."""


def stamps_of(source: Any) -> Sequence[Stamp]:
    """Return the stamps of the files in which a source's rows lie.

    Sources of files have a property of the name ``stamps``, others none. (To ask a protocol took
    20 us, a tenth of an iteration over few rows.)
    """
    stamps: Sequence[Stamp] = getattr(source, "stamps", ())
    return stamps


def check_not_read(path: str | PathLike[str], files: Iterable[str]) -> None:
    """Raise DataError if ``path``, which is to be written, is one of the files to be read."""
    if any(same_file(path, file) for file in files):
        raise DataError(f"{os.fspath(path)} is one of the input files: choose another name")


def files_of(source: Any) -> Iterator[str]:
    """Yield the files of a source, those of memory maps included."""
    for one in stamps_of(source):
        yield one.path
    while source is not None:  # a source's array, the memory map that this is a view of
        if isinstance(source, np.memmap) and source.filename is not None:
            yield os.fspath(source.filename)
        within = getattr(source, "array", None)
        source = getattr(source, "base", None) if within is None else within


def stamp(path: str) -> Stamp:
    """Return the stamp of a file; raises OSError."""
    status = os.stat(path)
    return Stamp(path, status.st_size, status.st_mtime_ns)


def check_unchanged(source: Any) -> None:
    """Raise DataError for the first file of a source that is another one by now: 2 us a file."""
    for one in stamps_of(source):
        try:
            unchanged = stamp(one.path) == one
        except OSError as error:
            raise UnreadableError(
                f"{one.path} cannot be read any more: {error.strerror or error}"
            ) from error
        if not unchanged:
            raise DataError(
                f"{one.path} has changed since it was opened: open the data set again, and start "
                "anew"
            )


def fingerprint_of(source: Source, **more: Any) -> Fingerprint:
    """Return what every source says of itself, and ``more``."""
    return {
        "rows": source.n_samples,
        "columns": source.n_features if source.columns is None else list(source.columns),
        "dtype": source.dtype.name,
        "weighted": source.weighted,
        **more,
    }


def file_digests(paths: Iterable[str | PathLike[str]]) -> list[list[Any]]:
    """Return [name, bytes, hash of excerpts] of each file; copies elsewhere have the same.

    Raises DataError for a file that cannot be read.
    """
    return [_file_digest(os.fspath(path)) for path in paths]


def _file_digest(path: str) -> list[Any]:
    digest = hashlib.blake2b(digest_size=12)
    try:
        with open(path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            for start in (0, (size - EXCERPT_BYTES) // 2, size - EXCERPT_BYTES):
                file.seek(max(start, 0))
                digest.update(file.read(EXCERPT_BYTES))
    except OSError as error:
        raise UnreadableError(f"{path} cannot be read: {error.strerror or error}") from error
    return [os.path.basename(path), size, digest.hexdigest()]


def array_digest(array: Any, weights: Float64Array | None) -> str:
    """Return a hash of the rows of an array and their weights: of all, or of some if it is long."""
    n_rows, digest = len(array), hashlib.blake2b(digest_size=12)
    chosen: Any = slice(None)
    if array.nbytes > WHOLE_BYTES and n_rows > EXCERPT_ROWS:
        chosen = np.linspace(0, n_rows - 1, EXCERPT_ROWS).astype(np.int64)
    for part in (array, weights):
        if part is not None:
            digest.update(np.ascontiguousarray(part[chosen]).tobytes())
    return digest.hexdigest()
