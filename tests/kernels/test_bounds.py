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
    for n in (7, 15, 63, 65, 130, 300):
        for d, covariance_type, k in ((2, "full", 3), (2, "full", 5), (11, "full", 5),
                                      (2, "tied", 3), (11, "tied", 3), (41, "tied", 5),
                                      (2, "diag", 3)):
            X = rng.normal(size=(n, d)).astype(dtype)
            gm = GaussianMixture(k, covariance_type=covariance_type, max_iter=2, tol=0,
                                 init_params="random_from_data", random_state=0)
            gm.fit(X).score_samples(X)
        # rows that count for one component
        for d, covariance_type, k in ((17, "full", 41), (33, "diag", 41), (112, "tied", 41)):
            means = 9 * rng.normal(size=(k, d))
            X = (means[rng.integers(k, size=max(n, k))] + rng.normal(size=(max(n, k), d)))
            gm = GaussianMixture(k, covariance_type=covariance_type, max_iter=2, tol=0,
                                 means_init=means, reg_covar=1e-3)
            gm.fit(X.astype(dtype))
        for d, k in ((1, 2), (3, 5), (11, 5)):
            X = rng.normal(size=(n, d)).astype(dtype)
            GaussianMixture(k, covariance_type="diag", max_iter=1, random_state=0).fit(X)
"""


@pytest.mark.skipif(not ctypes.util.find_library("c_malloc_debug"), reason="glibc's debug library")
def test_nothing_is_written_behind_an_array():
    environment = {"LD_PRELOAD": "libc_malloc_debug.so.0", "MALLOC_CHECK_": "3"}
    code = "import warnings; warnings.simplefilter('ignore')\n" + PASSES
    subprocess.run([sys.executable, "-c", code], check=True, env={**os.environ, **environment})
