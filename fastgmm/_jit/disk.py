"""Compiled kernels on disk: written by whoever compiles them, this process or another."""

import importlib
import os
import pickle
import re
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import llvmlite
import llvmlite.binding as llvm
import numba
import numpy as np
from numba.core.caching import CompileResultCacheImpl, FunctionCache
from numba.core.registry import cpu_target
from numba.core.runtime.nrt import rtsys
from numba.core.serialize import dumps
from numba.core.sigutils import normalize_signature

from fastgmm import __version__
from fastgmm._jit.host import register_bytes
from fastgmm._kernel_cache import KernelFiles, cache_folder
from fastgmm._scarce_memory import (
    COMPILING,
    release_library,
    require_room_to_compile,
    room_left,
    run_elsewhere,
)


@cache
def kernel_cache_folder() -> Path | None:
    """Where compiled kernels are kept, or None when they are not.

    The folder's name holds everything that Numba's own key does not see: this package's version
    and the text of *all* kernel sources (a kernel inlines others), Python, the libraries that take
    part in compiling, Numba's settings, the processor and the registers that vectors fill.
    """
    config: Any = numba.config
    key = [
        sys.implementation.cache_tag,
        np.__version__,
        llvmlite.__version__,
        llvm.get_host_cpu_name(),
        llvm.get_host_cpu_features().flatten(),
        register_bytes(),
        *map(str, (config.OPT, config.BOUNDSCHECK, config.LOOP_VECTORIZE, config.SLP_VECTORIZE)),
    ]
    package = Path(__file__).parents[1]
    rooms = [
        file for room in ("_jit", "kernels", "simd") for file in (package / room).rglob("*.py")
    ]
    for file in sorted(rooms):
        key += [file.name, file.read_text(encoding="utf-8")]
    return cache_folder(f"{__version__}-numba{numba.__version__}", "\n".join(map(str, key)))


class _Locator:
    """Tell Numba's cache where our folder is."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def ensure_cache_path(self) -> None:
        """Nothing to do: the folder was made when it was chosen."""

    def get_cache_path(self) -> str:
        return str(self._folder)

    def get_source_stamp(self) -> str:
        return self._folder.name  # all sources are in the folder's name

    def get_disambiguator(self) -> str:
        return ""  # a function's bytecode is in its key


class _CacheImpl(CompileResultCacheImpl):
    """How a kernel is written and read back, as Numba does it, and where."""

    def __init__(self, py_func: Callable[..., Any]) -> None:
        folder = kernel_cache_folder()
        assert folder is not None
        self._lineno = py_func.__code__.co_firstlineno
        self._locator = _Locator(folder)
        name = f"{py_func.__module__}.{py_func.__qualname__}"
        self._filename_base = re.sub(r"[^\w.]", "", name.removeprefix("fastgmm."))


class Cache(FunctionCache):
    """Numba's cache on files that are safe to load, and never fatal."""

    _impl_class = _CacheImpl
    _cache_file: Any

    def __init__(self, py_func: Callable[..., Any]) -> None:
        super().__init__(py_func)
        self._cache_file = KernelFiles(Path(self._cache_path), self._impl.filename_base, dumps)

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """Return a compiled signature from disk, or None.

        Unlike Numba's own, this does not refresh the compiler's registries, which takes 0.4 s of a
        process's first call (0.15 of it scipy.linalg, for the sake of a BLAS that no kernel uses):
        machine code needs nothing but the runtime that allocates arrays. Numba refreshes them when
        something is compiled.
        """
        rtsys.initialize(target_context)
        key = self._index_key(sig, target_context.codegen())
        scarce = _sparing or room_left() < COMPILING
        if scarce and not _asked and not self._cache_file.path(key).exists():
            run_elsewhere(
                "from fastgmm._jit import compile_asked; compile_asked()",
                dumps((self._py_func.__module__, self._py_func.__qualname__, sig)),
            )
        try:
            compiled = self._load_overload(sig, target_context)
        except Exception:  # objects of this version that cannot be rebuilt: compile anew
            self._cache_file.discard(key)
            return None
        if compiled is not None and compiled.signature.args != normalize_signature(sig)[0]:
            self._cache_file.discard(key)
            compiled = None
        if compiled is None:
            _start_ahead()
        elif _sparing:
            release_library(LLVM)
        return compiled

    def give_up(self, sig: Any, target_context: Any) -> None:
        """Let other processes have a try: this one has failed to compile a signature."""
        self._cache_file.give_up(self._index_key(sig, target_context.codegen()))


LLVM = "libllvmlite"
_sparing = False


def spare_memory() -> None:
    """Let this process, from now on, load kernels with as little memory as it can.

    What Numba's runtime and LLVM need to start is done now, before there is anything else to hold.
    """
    global _sparing
    if not _sparing:
        _sparing = True
        rtsys.initialize(cpu_target.target_context)
        release_library(LLVM)


_ahead: tuple[str, bytes] | None = None


@contextmanager
def compiling_ahead(code: str, given: bytes) -> Iterator[None]:
    """Have another process run ``code`` once a kernel turns out not to be on disk, in the meantime.

    It compiles what this process will need later on; whichever comes first to a kernel, the other
    waits for its file. ``given`` is its standard input.
    """
    global _ahead
    _ahead = (code, given)
    try:
        yield
    finally:
        _ahead = None


def _start_ahead() -> None:
    global _ahead
    ahead, _ahead = _ahead, None
    folder = kernel_cache_folder()
    if ahead is not None and not _sparing and folder is not None and os.access(folder, os.W_OK):
        threading.Thread(
            target=run_elsewhere, args=ahead, name="fastgmm-ahead", daemon=True
        ).start()


_asked = False


def require_room() -> None:
    """Raise a ScarceMemoryError if this process must not compile (``require_room_to_compile``)."""
    if not _asked:
        require_room_to_compile()


def compile_asked() -> None:
    """Compile the kernel and signature that standard input names, for another process to load.

    Here, whatever the limits: there is nothing else in this process.
    """
    global _asked
    _asked = True
    module, name, signature = pickle.load(sys.stdin.buffer)
    getattr(importlib.import_module(module), name).compile(signature)
