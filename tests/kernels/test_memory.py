"""Kernels stay inside their arrays: the allocator of a process looks for numbers written beyond."""

import ctypes.util
import os
import subprocess
import sys

import pytest

PASSES = """
import numpy as np
from fastgmm import GaussianMixture

rng = np.random.default_rng(0)
for dtype in (np.float64, np.float32):
    for n, d in ((2, 1), (15, 2), (63, 3), (65, 8), (130, 11), (300, 2)):
        X = rng.normal(size=(n, d)).astype(dtype)
        for covariance_type in ("full", "tied", "diag"):
            for k in (1, 3, 7):
                gm = GaussianMixture(min(n, k), covariance_type=covariance_type, max_iter=2,
                                     init_params="random_from_data", random_state=0, tol=0)
                gm.fit(X).score_samples(X)
"""


@pytest.mark.skipif(not ctypes.util.find_library("c_malloc_debug"), reason="glibc's debug library")
def test_nothing_is_written_behind_an_array():
    environment = {"LD_PRELOAD": "libc_malloc_debug.so.0", "MALLOC_CHECK_": "3"}
    code = "import warnings; warnings.simplefilter('ignore')\n" + PASSES
    subprocess.run([sys.executable, "-c", code], check=True, env={**os.environ, **environment})
