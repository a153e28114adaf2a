"""The loop: what its passes hold in memory."""

import tracemalloc
from contextlib import closing

import numpy as np
import pytest

from fastgmm.covariance import FAMILIES
from fastgmm.executors import ThreadExecutor
from fastgmm.expectation import expectation_step, state_bytes
from fastgmm.parameters import Parameters
from fastgmm.sources import ArraySource


@pytest.mark.parametrize("n_threads", [1, 3])
def test_statistics_take_no_more_than_is_reckoned(n_threads):
    """10 kB of statistics a model, on a tree of 64 leaves."""
    rng = np.random.default_rng(0)
    k, d, n_models = 8, 16, 20
    X = rng.normal(size=(64 * 640, d))
    parameters = Parameters(
        np.full(k, 1 / k), rng.normal(size=(k, d)), np.broadcast_to(np.eye(d), (k, d, d)).copy()
    )
    density = FAMILIES["full"].prepare(parameters, X.dtype)
    with closing(ThreadExecutor(n_threads).place(ArraySource(X), len(X) // 64)) as placement:
        step = expectation_step("full", density, placement.grid)
        assert step.level == 0
        placement.reduce([step])
        tracemalloc.start()
        peaks = []
        for _ in range(5):
            before, _ = tracemalloc.get_traced_memory()
            tracemalloc.reset_peak()
            placement.reduce([step] * n_models)
            peaks.append(tracemalloc.get_traced_memory()[1] - before)
        tracemalloc.stop()
        reckoned = n_models * state_bytes(step, placement.grid, n_threads)
        # The rest are NumPy's headers: 4 arrays of 100 bytes each. The least of five passes: what
        # other threads of the process allocate is traced as well (200 kB once). The most of them:
        # on a busy machine a thread may do the work of all.
        assert min(peaks) < 1.1 * reckoned
        assert 0.3 * reckoned < max(peaks)
