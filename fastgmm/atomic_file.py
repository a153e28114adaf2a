"""A file that is complete or absent, whatever happens while it is written."""

import fcntl
import glob
import os
import shutil
import stat
import tempfile
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from os import PathLike
from pathlib import Path
from typing import Any

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
    with temporary(target, _new_file) as name:
        try:
            yield name
            os.chmod(name, 0o666 & ~_umask())  # mkstemp's 0600 surprises who shares the folder
            _sync(name)
            os.replace(name, target)
        except BaseException:
            with suppress(FileNotFoundError):
                os.unlink(name)
            raise
    _sync(target.parent)


def remove_leftovers(path: str | PathLike[str]) -> None:
    """Remove what processes left behind that were killed while they wrote ``path``.

    For files that one process writes at a time: whoever still writes would fail.
    """
    for leftover in _leftovers(Path(os.path.realpath(path))):
        with suppress(OSError):
            os.unlink(leftover)


def remove_abandoned(path: str | PathLike[str]) -> None:
    """Remove what processes left behind that wrote ``path`` and live no more.

    Only what was made since this machine was started: of nothing else can it be told here, on every
    file system, whether somebody is at work on it.
    """
    for leftover in _leftovers(Path(os.path.realpath(path)), _boot()):
        with suppress(OSError):
            handle = os.open(leftover, os.O_RDONLY)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                (shutil.rmtree if os.path.isdir(leftover) else os.unlink)(leftover)
            finally:
                os.close(handle)


@contextmanager
def temporary(target: Path, make: Callable[..., str]) -> Iterator[str]:
    """Make a file or folder beside ``target``, as :func:`tempfile.mkdtemp`, and keep it locked.

    The lock says that somebody is at work on it; the system takes it from a process that is killed.
    """
    handle = None
    while handle is None:
        name = make(dir=target.parent, prefix=f"{_prefix(target)}{_boot()}-", suffix=SUFFIX)
        handle = _held(name)
    try:
        yield name
    finally:
        os.close(handle)


def _held(name: str) -> int | None:
    """Open what was just made, with a lock; None if it was taken for abandoned before that."""
    try:
        handle = os.open(name, os.O_RDONLY)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        ours = os.path.exists(name)
    except BlockingIOError:
        ours = False
    except OSError:
        ours = True  # there are no locks here: nobody gets the one to remove it either
    if ours:
        return handle
    os.close(handle)
    return None


def _new_file(**where: Any) -> str:
    handle, name = tempfile.mkstemp(**where)
    os.close(handle)
    return name


def _leftovers(target: Path, boot: str = "") -> list[Path]:
    """Return what was made to become ``target``, and not another file whose name begins like it."""
    begin, end = _prefix(target) + boot, SUFFIX
    return [
        path
        for path in target.parent.glob(glob.escape(begin) + "*" + end)
        if "." not in path.name[len(begin) : -len(end)]  # as in ".a.b.123.tmp", which is "a.b"'s
    ]


def _prefix(target: Path) -> str:
    return f".{target.name}."


@cache
def _boot() -> str:
    """Return what tells this run of this machine from all others; locks are sure within it."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text()[:8]
    except OSError:
        return uuid.uuid4().hex[:8]


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
