"""A file that is complete or absent, whatever happens while it is written."""

import glob
import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
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
    target = _behind(path)
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
    name = os.fspath(begun(target))
    try:
        # within: an interrupt that comes while it is made removes it, too
        os.close(os.open(name, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        yield name
        os.chmod(name, 0o666 & ~umask())
        sync(name)
        os.replace(name, target)
    except BaseException as error:
        with suppress(FileNotFoundError):
            os.unlink(name)
        if isinstance(error, OSError) and error.errno and error.filename in (None, name):
            error.filename = os.fspath(path)  # a full disk names no file, or one that nobody knows
        raise
    sync(target.parent)


def begun(target: Path) -> Path:
    """Return a name, next to it, for what is to become ``target``; there is nothing of this name.

    What processes of this machine left behind that were killed while they wrote it is removed.
    """
    begin = _prefix(target) + _here()
    for leftover in _leftovers(target, begin):
        if not _lives(int(leftover.name.removeprefix(begin).split("-")[0])):
            with suppress(OSError):
                (shutil.rmtree if leftover.is_dir() else os.unlink)(leftover)
    return target.parent / f"{begin}{os.getpid()}-{os.urandom(8).hex()}{SUFFIX}"


def remove_leftovers(path: str | PathLike[str]) -> None:
    """Remove what processes left behind that were killed while they wrote ``path``, anywhere.

    For files that one process writes at a time: whoever still writes would fail.
    """
    target = _behind(path)
    for leftover in _leftovers(target, _prefix(target)):
        with suppress(OSError):
            os.unlink(leftover)


def _leftovers(target: Path, begin: str) -> list[Path]:
    """Return what was begun to become ``target``, not what became a file named like ".a.b"."""
    return [
        path
        for path in target.parent.glob(glob.escape(begin) + "*" + SUFFIX)
        if "." not in path.name[len(begin) : -len(SUFFIX)]
    ]


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # somebody else's
        return True
    return True


def _prefix(target: Path) -> str:
    return f".{target.name}."


@cache
def _here() -> str:
    """Return what tells the processes that this one can see from all others.

    Those of another machine, of this one before it was started again, or of another container may
    have the same numbers.
    """
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text()[:8]
        return f"{boot}{os.stat('/proc/self/ns/pid').st_ino:x}-"
    except OSError:
        return f"{os.urandom(8).hex()}-"


def _behind(path: str | PathLike[str]) -> Path:
    """Return what a path that is a link names; links on the way stay: machines may differ there."""
    return Path(os.path.realpath(path) if os.path.islink(path) else os.path.abspath(path))


def sync(path: str | PathLike[str]) -> None:
    """Have a file or folder written to the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def umask() -> int:
    """Return which permissions new files do not get."""
    mask = os.umask(0)
    os.umask(mask)
    return mask
