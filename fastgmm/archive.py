"""An archive: an .npz without pickle, with a JSON header, complete or absent, safe to load."""

import errno
import json
import os
import zipfile
from collections.abc import Callable, Mapping
from os import PathLike
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastgmm import __version__
from fastgmm.atomic_file import atomic_file
from fastgmm.exceptions import FastGMMError


class Archive(NamedTuple):
    """What a file holds."""

    header: dict[str, Any]
    arrays: dict[str, NDArray[Any]]


class Kind(NamedTuple):
    """What a file is for, and how complaints about it sound."""

    format: str
    """In the header, next to the version of the format."""
    version: int
    """The newest that is read, and the one that is written."""
    name: str
    """For people: "model file", "checkpoint file"."""
    error: type[FastGMMError]
    missing: str
    """What to do where there is no such file."""
    damaged: str
    """What to do where it cannot be read."""

    def damage(self, path: str | PathLike[str]) -> FastGMMError:
        """Return the error for a file whose contents make no sense."""
        return self.error(
            f"{os.fspath(path)} is not a fastgmm {self.name}, or is damaged: {self.damaged}"
        )


def write(
    path: str | PathLike[str],
    kind: Kind,
    header: Mapping[str, Any],
    arrays: Mapping[str, NDArray[Any]],
) -> None:
    """Write an archive, complete or not at all.

    Raises OSError if the folder cannot be written or the disk is full; what was at ``path`` then is
    untouched.
    """
    text = np.frombuffer(json.dumps(plain_header(kind, header)).encode(), dtype=np.uint8)
    contents: dict[str, Any] = {"header": text, **arrays}
    with atomic_file(path) as temporary, open(temporary, "wb") as file:
        np.savez(file, **contents)


def plain_header(
    kind: Kind, header: Mapping[str, Any], plain: Callable[[Any], Any] | None = None
) -> dict[str, Any]:
    """Return a header as it is read back; ``plain`` translates what JSON does not know."""
    full = {"format": kind.format, "format_version": kind.version, "fastgmm": __version__, **header}
    read_back: dict[str, Any] = json.loads(json.dumps(full, default=plain))
    return read_back


def read(path: str | PathLike[str], kind: Kind) -> Archive:
    """Read an archive whole; ``kind.error`` if it is unreadable, damaged, foreign or too new."""
    try:
        # opened here: np.load forgets to close what is no archive
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as archive:
            header = json.loads(archive["header"].tobytes())
            check_header(header, path, kind)
            arrays = {name: archive[name] for name in archive.files if name != "header"}
    except FileNotFoundError:
        raise kind.error(f"No {kind.name} {os.fspath(path)}: {kind.missing}") from None
    except OSError as error:
        if error.errno in (None, errno.EINVAL):  # zipfile's, that went where damage had sent it
            raise kind.damage(path) from error
        raise kind.error(
            f"The {kind.name} {os.fspath(path)} cannot be read: {error.strerror}"
        ) from error
    except (
        ValueError,
        KeyError,
        EOFError,
        TypeError,
        AttributeError,
        RuntimeError,  # what zipfile says of encrypted members
        NotImplementedError,
        zipfile.BadZipFile,
    ) as error:
        if isinstance(error, kind.error):
            raise
        raise kind.damage(path) from error
    return Archive(header, arrays)


def check_header(header: Any, path: str | PathLike[str], kind: Kind) -> None:
    """Raise ``kind.error`` if a header is of something else or of a newer format."""
    if not isinstance(header, dict) or header.get("format") != kind.format:
        raise kind.damage(path)
    version = header.get("format_version")
    if not isinstance(version, int) or version > kind.version:
        raise kind.error(
            f"{os.fspath(path)} has format version {version}, this fastgmm reads up to "
            f"{kind.version}: install fastgmm {header.get('fastgmm')} or later"
        )
