"""The one door to Numba: how a kernel is compiled and where its machine code is kept."""

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.errors import TypingError
from numba.extending import (
    intrinsic,
    lower_builtin,
    models,
    register_model,
    type_callable,
)

from fastgmm._jit.decorators import Loaded, kernel, loaded_kernels, maker, overload, part
from fastgmm._jit.disk import compile_asked, compiling_ahead, kernel_cache_folder, spare_memory
from fastgmm._jit.host import processor, processor_features, register_bytes, version

__all__ = [
    "Loaded",
    "TypingError",
    "cgutils",
    "compile_asked",
    "compiling_ahead",
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
    "spare_memory",
    "type_callable",
    "types",
    "version",
]
