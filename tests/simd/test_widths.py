"""The same source on other processors' registers, and machine code kept between processes."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from fastgmm._jit import register_bytes

HERE = Path(__file__).parent
CHECKOUT = HERE.parents[1]

KEPT = """
import numpy as np
import operations as kernels
x = np.arange(16.0)
print(*kernels.reduced(x), sum(kernels.reduced.stats.cache_hits.values()))
"""


def python(*arguments, **environment):
    """Run Python in a new process and return what it printed."""
    path = os.pathsep.join([str(HERE), str(CHECKOUT)])
    result = subprocess.run(
        [sys.executable, *arguments],
        capture_output=True,
        text=True,
        cwd=CHECKOUT,
        env={**os.environ, "PYTHONPATH": path, **environment},
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


@pytest.mark.parametrize(
    "processor",
    [
        {"FASTGMM_SIMD_BYTES": "32"},  # AVX2
        # 16 bytes; on x86 SSE2, without fused products
        pytest.param({"NUMBA_CPU_NAME": "generic"}, marks=pytest.mark.slow),
    ],
    ids=["32 bytes", "generic"],
)
def test_everything_holds_with_other_registers(processor):
    if processor == {"FASTGMM_SIMD_BYTES": str(register_bytes())}:
        pytest.skip("the other tests run with this width")
    files = [str(HERE / name) for name in ("test_operations.py", "test_elementary.py")]
    options = ["-q", "--noconftest", "-p", "no:cacheprovider"]
    printed = python("-m", "pytest", *options, *files, **processor)
    assert "passed" in printed
    assert "failed" not in printed


def test_machine_code_is_kept_for_each_width(tmp_path):
    environment = {"FASTGMM_CACHE": str(tmp_path)}
    for width, first, hits in (("32", "6.0 3.0", 0), ("32", "6.0 3.0", 1), ("16", "1.0 1.0", 0)):
        printed = python("-c", KEPT, FASTGMM_SIMD_BYTES=width, **environment)
        assert printed.split() == [*first.split(), str(hits)]
