"""A file that is complete or absent, whatever happens while it is written."""

import glob
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from os import PathLike
from pathlib import Path

SUFFIX = ".tmp"


@contextmanager
def atomic_file(path: str | PathLike[str]) -> Iterator[str]:
    """Give the name of a temporary file to write; rename it to ``path`` if the block succeeds.

    The temporary file lies in the same folder (renaming is atomic only within a file system) and
    is synced before it is renamed, its folder after. If the block raises, the temporary file is
    removed and what was at ``path`` is untouched.

    Raises
    ------
    OSError
        The folder does not exist or cannot be written, or the disk is full.
    """
    target = Path(path)
    if not target.parent.is_dir():
        raise FileNotFoundError(f"Cannot write {target}: there is no folder {target.parent}")
    handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=_prefix(target), suffix=SUFFIX)
    os.close(handle)
    try:
        yield temporary
        os.chmod(temporary, 0o666 & ~_umask())  # mkstemp's 0600 surprises who shares the folder
        _sync(temporary)
        os.replace(temporary, target)
    except BaseException:
        with suppress(FileNotFoundError):
            os.unlink(temporary)
        raise
    _sync(target.parent)


def remove_leftovers(path: str | PathLike[str]) -> None:
    """Remove what processes left behind that were killed while they wrote ``path``.

    For files that one process writes at a time: whoever still writes would fail.
    """
    target = Path(path)
    pattern = glob.escape(str(target.parent / _prefix(target))) + "*" + SUFFIX
    for leftover in glob.glob(pattern):
        with suppress(OSError):
            os.unlink(leftover)


def _prefix(target: Path) -> str:
    return f".{target.name}."


def _sync(path: str | PathLike[str]) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
