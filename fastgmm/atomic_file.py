"""A file that is complete or absent, whatever happens while it is written."""

import glob
import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from os import PathLike
from pathlib import Path

SUFFIX = ".tmp"

KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
}
"""What a file must not take the place of."""


def destination(path: str | PathLike[str]) -> Path:
    """Return the file that writing ``path`` makes or replaces: what a link names, not the link.

    Raises
    ------
    OSError
        Something else than a file is there, or its folder does not exist or cannot be written.
    """
    target = Path(os.path.realpath(path))
    try:
        kind = stat.S_IFMT(os.stat(target).st_mode)
    except (FileNotFoundError, NotADirectoryError):
        kind = stat.S_IFREG
    except OSError as error:
        raise type(error)(f"Cannot write {os.fspath(path)}: {error.strerror}") from error
    if kind != stat.S_IFREG:
        what = KINDS.get(kind, "no file")
        raise FileExistsError(f"{os.fspath(path)} is {what} already: choose another name")
    if not target.parent.is_dir():
        raise FileNotFoundError(
            f"Cannot write {os.fspath(path)}: there is no folder {target.parent}, make it first"
        )
    if not os.access(target.parent, os.W_OK | os.X_OK):
        raise PermissionError(
            f"Cannot write {os.fspath(path)}: the folder {target.parent} is not writeable, choose "
            "another"
        )
    return target


def same_file(one: str | PathLike[str], other: str | PathLike[str]) -> bool:
    """Return whether two names are of one file, be it there or not, behind links of any kind."""
    try:
        return os.path.samefile(one, other)
    except OSError:
        return os.path.realpath(one) == os.path.realpath(other)


@contextmanager
def atomic_file(path: str | PathLike[str]) -> Iterator[str]:
    """Give the name of a temporary file to write; rename it to ``path`` if the block succeeds.

    Where ``path`` is a link, what it names is written. The temporary file lies in the same folder
    (renaming is atomic only within a file system) and is synced before it is renamed, its folder
    after. If the block raises, the temporary file is removed and what was there is untouched.

    Raises
    ------
    OSError
        As :func:`destination` does, or the disk is full.
    """
    target = destination(path)
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
    target = Path(os.path.realpath(path))
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
