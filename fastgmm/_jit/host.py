"""What the processor can do that code is compiled for."""

import hashlib
import os
from functools import cache
from typing import Any

import llvmlite.binding as llvm
import numba
from numba.core.registry import cpu_target


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
