"""An archive: an .npz without pickle, with a JSON header, complete or absent, safe to load."""

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
    """For people: "model", "checkpoint"."""
    error: type[FastGMMError]
    missing: str
    """What to do where there is no such file."""
    damaged: str
    """What to do where it cannot be read."""

    def damage(self, path: str | PathLike[str]) -> FastGMMError:
        """Return the error for a file whose contents make no sense."""
        return self.error(
            f"{os.fspath(path)} is not a fastgmm {self.name} file, or is damaged: {self.damaged}"
        )


def write(
    path: str | PathLike[str],
    kind: Kind,
    header: Mapping[str, Any],
    arrays: Mapping[str, NDArray[Any]],
    plain: Callable[[Any], Any] | None = None,
) -> None:
    """Write an archive, complete or not at all.

    ``plain`` turns what JSON does not know into what it knows. Raises OSError if the folder cannot
    be written or the disk is full; what was at ``path`` then is untouched.
    """
    full = {
        "format": kind.format,
        "format_version": kind.version,
        "fastgmm": __version__,
        **header,
    }
    text = np.frombuffer(json.dumps(full, default=plain).encode(), dtype=np.uint8)
    contents: dict[str, Any] = {"header": text, **arrays}
    with atomic_file(path) as temporary, open(temporary, "wb") as file:
        np.savez(file, **contents)


def read(path: str | PathLike[str], kind: Kind) -> Archive:
    """Read an archive whole; raise ``kind.error`` if it is missing, damaged, foreign or too new."""
    try:
        # opened here: np.load forgets to close what is no archive
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as archive:
            header = json.loads(archive["header"].tobytes())
            _check_header(header, path, kind)
            arrays = {name: archive[name] for name in archive.files if name != "header"}
    except FileNotFoundError:
        raise kind.error(f"No {kind.name} file {os.fspath(path)}: {kind.missing}") from None
    except (
        OSError,
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


def _check_header(header: Any, path: str | PathLike[str], kind: Kind) -> None:
    if not isinstance(header, dict) or header.get("format") != kind.format:
        raise kind.error(f"{os.fspath(path)} is not a fastgmm {kind.name} file")
    version = header.get("format_version")
    if not isinstance(version, int) or version > kind.version:
        raise kind.error(
            f"{os.fspath(path)} has format version {version}, this fastgmm reads up to "
            f"{kind.version}: install fastgmm {header.get('fastgmm')} or later"
        )
