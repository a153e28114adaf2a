"""Kernels, and the parts and makers that are compiled into them."""

import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, NamedTuple, TypeVar

import numba
from numba.extending import register_jitable

from fastgmm._jit.disk import Cache, kernel_cache_folder
from fastgmm._jit.pipelines import KernelCompiler, PartCompiler

F = TypeVar("F", bound=Callable[..., Any])

# contract lets a * b + c become one fused instruction; arcp, nsz and reassoc let sums over the rows
# of a tile run in vector registers. nnan and ninf stay off: they break log(0) = -inf.
FASTMATH = {"contract", "reassoc", "nsz", "arcp"}


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
        pipeline_class=KernelCompiler,
    )(function)
    if kernel_cache_folder() is not None:
        compiled._cache = Cache(function)
    compiled.compile = _undisturbed(_given_up_on_errors(compiled))
    _kernels.append(compiled)
    return compiled


def _given_up_on_errors(kernel: Any) -> Callable[[Any], Any]:
    """Compile; other processes that wait for what turns out not to compile wait no longer."""
    compile_signature = kernel.compile

    def compiled(signature: Any) -> Any:
        try:
            return compile_signature(signature)
        except BaseException:
            if isinstance(kernel._cache, Cache):
                kernel._cache.give_up(signature, kernel.targetctx)
            raise

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
    if not isinstance(cache, Cache):
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
    "pipeline_class": PartCompiler,
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
