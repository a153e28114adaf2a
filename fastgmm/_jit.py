"""The one door to Numba: how a kernel is compiled and where its machine code is kept."""

import hashlib
import importlib
import os
import pickle
import re
import sys
import threading
from collections.abc import Callable
from functools import cache
from pathlib import Path
from queue import SimpleQueue
from typing import Any, NamedTuple, TypeVar

import llvmlite
import llvmlite.binding as llvm
import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.caching import CompileResultCacheImpl, FunctionCache
from numba.core.codegen import JITCodeLibrary
from numba.core.compiler import CompilerBase, DefaultPassBuilder
from numba.core.compiler_machinery import register_pass
from numba.core.errors import TypingError
from numba.core.lowering import Lower
from numba.core.registry import cpu_target
from numba.core.runtime.nrt import rtsys
from numba.core.serialize import dumps
from numba.core.sigutils import normalize_signature
from numba.core.typed_passes import NativeLowering
from numba.extending import (
    intrinsic,
    lower_builtin,
    models,
    register_jitable,
    register_model,
    type_callable,
)

from fastgmm import __version__
from fastgmm._kernel_cache import KernelFiles, cache_folder
from fastgmm._scarce_memory import release_library, run_elsewhere

__all__ = [
    "Loaded",
    "TypingError",
    "cgutils",
    "intrinsic",
    "ir",
    "kernel",
    "kernel_cache_folder",
    "loaded_kernels",
    "lower_builtin",
    "maker",
    "models",
    "overload",
    "part",
    "processor",
    "processor_features",
    "register_bytes",
    "register_model",
    "type_callable",
    "types",
    "version",
]

F = TypeVar("F", bound=Callable[..., Any])

# contract lets a * b + c become one fused instruction; arcp, nsz and reassoc let sums over the rows
# of a tile run in vector registers. nnan and ninf stay off: they break log(0) = -inf.
FASTMATH = {"contract", "reassoc", "nsz", "arcp"}


@cache
def processor_features() -> frozenset[str]:
    """Which instruction sets compiled code may use, in LLVM's names: ``avx512f``, ``fma``, ..."""
    # Numba's word, not the processor's: NUMBA_CPU_NAME and NUMBA_CPU_FEATURES override it
    flags = cpu_target.target_context.codegen()._get_host_cpu_features()
    return frozenset(flag[1:] for flag in flags.split(",") if flag.startswith("+"))


@cache
def processor() -> str:
    """Name the type of processor that code is compiled for: others may round differently."""
    features = hashlib.sha256(" ".join(sorted(processor_features())).encode()).hexdigest()[:8]
    config: Any = numba.config
    name = config.CPU_NAME or llvm.get_host_cpu_name()
    return f"{name} (features {features}, {register_bytes()}-byte vectors)"


def version() -> str:
    """Return Numba's version."""
    return str(numba.__version__)


@cache
def register_bytes() -> int:
    """How many bytes a vector register holds; ``FASTGMM_SIMD_BYTES`` (16, 32, 64) overrides it."""
    wish = os.environ.get("FASTGMM_SIMD_BYTES", "")
    if wish:
        if wish not in ("16", "32", "64"):
            raise ValueError(f"FASTGMM_SIMD_BYTES is {wish!r}, but it must be 16, 32 or 64.")
        return int(wish)
    if "avx512f" in processor_features():
        return 64
    return 32 if "avx" in processor_features() else 16


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
    here = Path(__file__).parent
    rooms = [file for room in ("kernels", "simd") for file in (here / room).rglob("*.py")]
    for file in [Path(__file__), *sorted(rooms)]:
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


class _Cache(FunctionCache):
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
        if _sparing and not self._cache_file.path(key).exists():
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
            return None
        if _sparing:
            release_library(LLVM)
        return compiled


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


def compile_asked() -> None:
    """Compile the kernel and signature that standard input names, for another process to load."""
    module, name, signature = pickle.load(sys.stdin.buffer)
    getattr(importlib.import_module(module), name).compile(signature)


class _Lower(Lower):
    """Lowers a function so that its stack begins with a vector.

    What does not fit in registers lies there, and vectors that cross a cache line cost two loads: a
    pass that never leaves the registers but for these is 1.3 times as fast with 2 columns and 4
    components.
    """

    def setup_function(self, fndesc: Any) -> None:
        super().setup_function(fndesc)
        attributes = self.function.attributes
        attributes.alignstack = register_bytes()
        attributes.add("nounwind")  # llvmlite forgets the alignment where it is alone


@register_pass(mutates_CFG=True, analysis_only=False)
class _Lowering(NativeLowering):
    _name = "native lowering with an aligned stack"
    lowering_class = _Lower


class _Compiler(CompilerBase):
    """Numba's own passes but for that one."""

    def define_pipelines(self) -> list[Any]:
        passes = DefaultPassBuilder.define_nopython_pipeline(self.state)
        passes.passes = [
            (_Lowering if each is NativeLowering else each, why) for each, why in passes.passes
        ]
        passes.finalize()
        return [passes]


class _PartLibrary(JITCodeLibrary):
    """A part's code on its way into kernels: optimised and compiled there, never by itself.

    Numba optimises every function and makes machine code of it before it links it into its caller,
    which does the same again: with parts of parts, half of what a first fit waits for.
    """

    @property
    def codegen(self) -> Any:
        return _NoEnvironment(self._codegen)

    def get_pointer_to_function(self, name: str) -> int:
        return 0

    def _optimize_functions(self, ll_module: Any) -> None:
        pass

    def _optimize_final_module(self) -> None:
        pass

    def _finalize_final_module(self) -> None:
        self._finalize_dynamic_globals()
        self._finalized = True


class _NoEnvironment:
    """The code generator, but for where functions find Python's objects: parts need none."""

    def __init__(self, codegen: Any) -> None:
        self._codegen = codegen

    def __getattr__(self, name: str) -> Any:
        return getattr(self._codegen, name)

    def set_env(self, env_name: str, env: Any) -> None:
        pass


class _PartCompiler(CompilerBase):
    """Numba's own passes, for a part."""

    def define_pipelines(self) -> list[Any]:
        codegen = self.state.targetctx.codegen()
        self.state.library = _PartLibrary(codegen, self.state.func_id.func_qualname)
        return [DefaultPassBuilder.define_nopython_pipeline(self.state)]


def kernel(function: F) -> F:
    """Compile ``function`` on its first call: serial, without the GIL, kept on disk.

    Threads belong to the executors, so kernels are never parallel themselves.
    """
    njit: Any = numba.njit  # its types do not know all its options
    compiled = njit(
        nogil=True,
        error_model="numpy",
        fastmath=FASTMATH,
        no_cfunc_wrapper=True,
        pipeline_class=_Compiler,
    )(function)
    if kernel_cache_folder() is not None:
        compiled._cache = _Cache(function)
    compiled.compile = _undisturbed(compiled.compile)
    _kernels.append(compiled)
    return compiled


def _undisturbed(compile_signature: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Compile on a thread of its own, which no signal interrupts.

    Ctrl-C in the midst of it would leave Numba's registries half filled: every kernel that the
    process compiles afterwards would fail. What is begun is finished, behind the caller's back.
    """
    name = "fastgmm-compile"

    def compiled(signature: Any) -> Any:
        if threading.current_thread().name == name:  # it has Numba's lock
            return compile_signature(signature)
        outcomes: SimpleQueue[tuple[Any, BaseException | None]] = SimpleQueue()

        def run() -> None:
            try:
                outcomes.put((compile_signature(signature), None))
            except BaseException as error:
                outcomes.put((None, error))

        threading.Thread(target=run, name=name, daemon=True).start()
        result, error = outcomes.get()
        if error is not None:
            raise error
        return result

    return compiled


_kernels: list[Any] = []


class Loaded(NamedTuple):
    """A kernel's machine code for one signature, as it is in this process."""

    name: str
    signature: str
    compiled: bool
    """Compiled here; else it came from disk."""
    kept: bool
    """On disk, for the next process."""


def _is_kept(kernel: Any, signature: Any) -> bool:
    cache = kernel._cache
    if not isinstance(cache, _Cache):
        return False
    key = cache._index_key(signature, kernel.targetctx.codegen())
    return bool(cache._cache_file.path(key).exists())


def loaded_kernels() -> list[Loaded]:
    """Return what this process has compiled or loaded until now."""
    return [
        Loaded(
            f"{kernel.__module__.rpartition('.')[2]}.{kernel.__name__}",
            ", ".join(map(str, signature)),
            kernel.stats.cache_hits[signature] == 0,
            _is_kept(kernel, signature),
        )
        for kernel in _kernels
        for signature in kernel.overloads
    ]


# Inlined, always. What the compiler leaves as a call exists twice, compiled by itself and together
# with its kernel, with sums in different orders: a process that has just compiled a kernel calls
# the one, a process that loads the kernel from disk the other, and the last bits differ.
_INLINED: Any = {
    "nogil": True,
    "error_model": "numpy",
    "forceinline": True,
    "no_cfunc_wrapper": True,
    "pipeline_class": _PartCompiler,
}

# Without reference counts: an array that is passed on or taken out of a record would be counted up
# and down, atomically, once a call or once a turn of a loop (half the time of a pass at d = 1).
# Arrays live as long as the kernel that was given or has made them.
_BORROWING: Any = {**_INLINED, "_nrt": False}


def part(function: F) -> F:
    """Mark a function that kernels call: compiled into them, never on its own.

    It borrows its arrays and cannot make any.
    """
    register: Any = register_jitable(fastmath=FASTMATH, **_BORROWING)
    return register(function)


def maker(function: F) -> F:
    """Mark a part that makes arrays, for the kernel itself to call."""
    register: Any = register_jitable(fastmath=FASTMATH, **_INLINED)
    return register(function)


def overload(stub: Callable[..., Any], makes_arrays: bool = False) -> Callable[[F], F]:
    """Mark what chooses a part, or a maker, for a stub by the types of its arguments."""
    options = _INLINED if makes_arrays else _BORROWING
    choose: Any = numba.extending.overload(stub, jit_options=options)
    return choose
