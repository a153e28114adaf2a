"""The one door to Numba: how a kernel is compiled and where its machine code is kept."""

import contextlib
import fcntl
import hashlib
import os
import tempfile
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import llvmlite.binding as llvm
import numba
from numba.core.caching import CompileResultCacheImpl, FunctionCache
from numba.extending import overload, register_jitable

from fastgmm import __version__

__all__ = ["is_record", "kernel", "kernel_cache_folder", "overload", "part", "part_exactly"]

F = TypeVar("F", bound=Callable[..., Any])

# contract lets a * b + c become one fused instruction; arcp, nsz and reassoc let sums over the rows
# of a tile run in vector registers. nnan and ninf stay off: they break log(0) = -inf.
FASTMATH = {"contract", "reassoc", "nsz", "arcp"}


@cache
def kernel_cache_folder() -> Path | None:
    """Where compiled kernels are kept, or None when no folder can be written.

    The folder's name holds everything that Numba's own key does not see: this package's version
    and the text of *all* kernel sources (a kernel inlines others), Numba's version and the
    processor. ``FASTGMM_CACHE=0`` turns the cache off, ``FASTGMM_CACHE=/folder`` moves it.
    """
    wish = os.environ.get("FASTGMM_CACHE", "")
    if wish == "0":
        return None
    here = Path(__file__).parent
    key = hashlib.sha256()
    for source in [Path(__file__), *sorted((here / "kernels").glob("*.py"))]:
        key.update(source.read_bytes())
    key.update(f"{llvm.get_host_cpu_name()} {llvm.get_host_cpu_features().flatten()}".encode())
    key.update(str(here).encode())
    name = f"{__version__}-numba{numba.__version__}-{key.hexdigest()[:16]}"
    homes = [wish] if wish else [_user_cache(), tempfile.gettempdir() + f"/fastgmm-{os.getuid()}"]
    for home in filter(None, homes):
        folder = Path(home) / "fastgmm" / name
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            if folder.stat().st_uid != os.getuid():
                continue  # never load machine code that somebody else wrote
            tempfile.TemporaryFile(dir=folder).close()
        except OSError:
            continue
        return folder
    return None


def _user_cache() -> str | None:
    home = os.environ.get("XDG_CACHE_HOME")
    if home:
        return home
    with contextlib.suppress(RuntimeError, OSError):
        return str(Path.home() / ".cache")
    return None


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold the folder's lock file: Numba's index is written without one."""
    with open(folder / ".lock", "a") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


class _Locator:
    """Tell Numba to keep a kernel's index and machine code in our folder."""

    def __init__(self, py_func: Callable[..., Any], folder: Path) -> None:
        self._function = py_func
        self._folder = folder

    def ensure_cache_path(self) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)

    def get_cache_path(self) -> str:
        return str(self._folder)

    def get_source_stamp(self) -> str:
        return self._folder.name  # all sources are in the folder's name

    def get_disambiguator(self) -> str:
        return str(self._function.__code__.co_firstlineno)


class _CacheImpl(CompileResultCacheImpl):
    def __init__(self, py_func: Callable[..., Any]) -> None:
        folder = kernel_cache_folder()
        assert folder is not None
        self._lineno = py_func.__code__.co_firstlineno
        self._locator = _Locator(py_func, folder)
        module = py_func.__module__.rpartition(".")[2]
        self._filename_base = self.get_filename_base(
            f"{module}.{py_func.__qualname__}", getattr(py_func, "__abiflags__", "")
        )


class _Cache(FunctionCache):
    """Numba's cache with a lock around every access, and never fatal.

    Two processes that write different signatures of one function at the same moment can otherwise
    leave an index that hands out the wrong machine code: a silent wrong number.
    """

    _impl_class = _CacheImpl

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        try:
            with _locked(Path(self._cache_path)):
                return super().load_overload(sig, target_context)
        except OSError:
            return None

    def save_overload(self, sig: Any, data: Any) -> None:
        # a full disk costs the next process a compilation, not this one its fit
        with contextlib.suppress(OSError), _locked(Path(self._cache_path)):
            super().save_overload(sig, data)


def kernel(function: F) -> F:
    """Compile ``function`` on its first call: serial, without the GIL, kept on disk.

    Threads belong to the executors, so kernels are never parallel themselves.
    """
    compiled: Any = numba.njit(nogil=True, error_model="numpy", fastmath=FASTMATH)(function)
    if kernel_cache_folder() is not None:
        compiled._cache = _Cache(function)
    return compiled


def part_exactly(function: F) -> F:
    """Mark a part whose sums must not be reordered: tricks with rounding."""
    register: Any = register_jitable(nogil=True, error_model="numpy", fastmath={"contract"})
    return register(function)


def part(function: F) -> F:
    """Mark a function that kernels call: compiled into them, never on its own."""
    register: Any = register_jitable(nogil=True, error_model="numpy", fastmath=FASTMATH)
    return register(function)


def is_record(numba_type: Any, record: type) -> bool:
    """Whether an argument's compile-time type is the NamedTuple class ``record``."""
    return getattr(numba_type, "instance_class", None) is record
