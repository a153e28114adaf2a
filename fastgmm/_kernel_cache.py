"""Where compiled kernels are kept between processes, and what makes it safe to load them.

Numba's own cache keeps, for each function, an index of signatures and numbered files of machine
code. Two processes that add different signatures at the same moment can take the same number, and
then the index hands out the wrong machine code: silent wrong numbers (4e-323 instead of 8 in an
experiment). Here there is no index. Every compiled signature is one file whose name is a hash of
all that it was compiled for, and that holds

* a checksum of its content: a truncated or damaged file is never unpickled, far less run;
* the key it was saved under, compared with the key that is asked for: a file that somebody
  renamed, or a collision of names, is not taken for another signature.

A file is written under a temporary name and renamed, so that nothing rests on locks, which some
network file systems do not have. One is used all the same where it is to be had, to save work:
while a process compiles a signature, others that want it wait for its file. So the eight workers
of a node, or fifty jobs that start at once, compile each kernel once.

That a file's machine code computes the right numbers follows: sources, compiler, libraries and
processor are in the folder's name, the signature is in the file, and no byte has changed, so that
what is loaded is what this process would have compiled. Running it on a few rows would test the
compiler again, not the file. Whatever is wrong with a file, it is removed and compiled again;
whatever is wrong with the folder, kernels are compiled in memory.
"""

import fcntl
import hashlib
import logging
import os
import pickle
import re
import stat
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

MAGIC = b"fastgmm kernel 1\n"
"""Opens every file; the checksum and the content follow."""

ENDING = ".kernel"

UNUSED_DAYS = 90
"""Folders of other versions that nobody used for so long are removed when a new one is made."""

PATIENCE = 120.0
"""Seconds to wait for another process's compilation: ten times what the slowest kernel takes. Its
process may have been stopped."""

log = logging.getLogger("fastgmm")


def cache_folder(version: str, compiled_for: str) -> Path | None:
    """Make and return the folder for kernels compiled for all that is named, or None.

    ``version`` is for human eyes; ``compiled_for`` is hashed together with the package's place, so
    that environments with other libraries do not share a folder. ``FASTGMM_CACHE=0`` turns the
    cache off, ``FASTGMM_CACHE=/folder`` moves it.
    """
    if os.environ.get("FASTGMM_CACHE") == "0":
        return None
    here = str(Path(__file__).parent)
    digest = hashlib.sha256(f"{here}\n{compiled_for}".encode()).hexdigest()
    readable = None
    for home in _homes():
        folder = _make(home, f"{version}-{digest[:16]}")
        if folder is not None and os.access(folder, os.W_OK):
            return folder
        readable = readable or folder  # filled by an administrator, say
    if readable is None:
        log.debug("compiled kernels are not kept: no folder for them can be written")
    return readable


def _homes() -> Iterator[Path]:
    """Yield the folders to try, best first."""
    wish = os.environ.get("FASTGMM_CACHE")
    if wish:
        yield Path(wish).expanduser().absolute() / "fastgmm"
        return
    cache = os.environ.get("XDG_CACHE_HOME", "")
    if os.path.isabs(cache):
        yield Path(cache) / "fastgmm"
    else:
        with suppress(RuntimeError):  # a user whom the system does not know has no home
            yield Path.home() / ".cache" / "fastgmm"
    # not tempfile.gettempdir(): it raises, or names the working folder, if none can be written
    yield Path(os.environ.get("TMPDIR") or "/tmp") / f"fastgmm-{os.getuid()}"


def _make(home: Path, name: str) -> Path | None:
    """Return ``home/name``, made if need be, or None if it cannot be made or trusted."""
    folder = home / name
    try:
        home.parent.mkdir(parents=True, exist_ok=True)
        new = not folder.exists()
        for each in (home, folder):
            # not left to the umask: a folder that a group may write is not trusted
            each.mkdir(exist_ok=True, mode=0o755)
            if not (stat.S_ISDIR(os.lstat(each).st_mode) and _is_trusted(os.lstat(each))):
                return None
    except OSError:
        return None
    if new:
        _prune(home)
    else:
        with suppress(OSError):
            os.utime(folder)  # in use: not to be pruned
    return folder


def _is_trusted(status: os.stat_result) -> bool:
    """Whether nobody else can have written a file: machine code from it will run as this user.

    Besides the user, the owner of this package (root, often) is trusted: what runs here was
    written by them anyway.
    """
    owners = (os.getuid(), os.stat(__file__).st_uid)
    return status.st_uid in owners and not status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)


def _prune(home: Path) -> None:
    """Remove the folders next to a new one that nobody has used for long.

    A process that still uses one compiles in memory what it cannot load.
    """
    limit = time.time() - UNUSED_DAYS * 86400
    with suppress(OSError):
        for folder in home.iterdir():
            status = folder.lstat()
            ours = stat.S_ISDIR(status.st_mode) and re.search(r"-[0-9a-f]{16}$", folder.name)
            if ours and status.st_mtime < limit:
                _remove(folder)


def _remove(folder: Path) -> None:
    """Remove a folder of kernels; anything else in it stays, and so does the folder."""
    with suppress(OSError):
        for ending in (ENDING, f"{ENDING}.*.tmp", ".lock"):
            for file in folder.glob(f"*{ending}"):
                file.unlink(missing_ok=True)
        folder.rmdir()


class KernelFiles:
    """The compiled signatures of one kernel, one file each.

    Stands in for Numba's ``IndexDataCacheFile``: same methods, no index.
    """

    def __init__(self, folder: Path, name: str, dumps: Callable[[Any], bytes]) -> None:
        self.folder = folder
        self.name = name
        self._dumps = dumps
        self._claims: dict[Path, int] = {}

    def path(self, key: Any) -> Path:
        """Return the file of what was compiled for ``key``."""
        return self.folder / f"{self.name}-{_digest(str(key).encode())[:24]}{ENDING}"

    def save(self, key: Any, data: Any) -> None:
        """Write one signature; a full disk costs the next process a compilation, nothing else."""
        content = self._dumps((key, data))
        try:
            _write(self.path(key), MAGIC + _digest(content).encode() + content)
        except OSError as error:
            log.debug("the compiled kernel %s is not kept: %s", self.name, error)
        finally:
            self._release(self.path(key))

    def load(self, key: Any) -> Any:
        """Return what was saved for ``key``, or None if that is not there or not to be trusted.

        None means that the caller will compile and :meth:`save`, or :meth:`give_up`: other
        processes wait for it.
        """
        data = self._load(key)
        if data is None and self._claim(self.path(key)):
            data = self._load(key)  # another process has compiled it by now
            if data is not None:
                self._release(self.path(key))
        return data

    def give_up(self, key: Any) -> None:
        """Leave compiling to others."""
        self._release(self.path(key))

    def _load(self, key: Any) -> Any:
        path = self.path(key)
        try:
            content = _checked(path)
            found, data = (None, None) if content is None else pickle.loads(content)
        except FileNotFoundError:
            return None
        except Exception as error:  # unpickling another release's objects can raise anything
            log.debug("%s is of no use: %s", path, error)
            found = None
        if found == key:
            return data
        self.discard(key)
        return None

    def _claim(self, path: Path) -> bool:
        """Wait until no other process compiles the same; False if it cannot be known."""
        if path in self._claims:
            return False  # this process compiles it
        try:
            lock = os.open(path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT, 0o600)
        except OSError:  # a folder that is only read
            return False
        give_up = time.monotonic() + PATIENCE
        while time.monotonic() < give_up:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                time.sleep(0.02)
            except OSError:  # a file system without locks
                break
            else:
                self._claims[path] = lock
                return True
        os.close(lock)
        return False

    def _release(self, path: Path) -> None:
        lock = self._claims.pop(path, None)
        if lock is not None:
            # a process that waits for the removed file goes on as soon as this one is closed
            with suppress(OSError):
                path.with_suffix(".lock").unlink()
            os.close(lock)

    def discard(self, key: Any) -> None:
        """Remove a signature that must not be loaded again."""
        log.debug("%s is damaged or another kernel's: compiling anew", self.path(key))
        with suppress(OSError):
            self.path(key).unlink()

    def flush(self) -> None:
        """Remove all signatures."""
        for file in self.folder.glob(f"{self.name}-*{ENDING}"):
            with suppress(OSError):
                file.unlink()


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _checked(path: Path) -> bytes | None:
    """Return a file's content if its owner and its checksum are right, else None."""
    with path.open("rb") as file:
        if not _is_trusted(os.fstat(file.fileno())):
            return None
        header = file.read(len(MAGIC) + 64)
        content = file.read()
    return content if header == MAGIC + _digest(content).encode() else None


def _write(path: Path, content: bytes) -> None:
    """Write a file that is there as a whole or not at all.

    Unlike :func:`fastgmm.atomic_file.atomic_file` it is not synced (a power cut costs a
    compilation) and its group may not write it, whatever the umask.
    """
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f"{path.name}.", suffix=".tmp")
    try:
        with open(handle, "wb") as file:
            file.write(content)
            os.fchmod(file.fileno(), 0o644)
        os.replace(temporary, path)
    except BaseException:
        with suppress(OSError):
            os.unlink(temporary)
        raise
