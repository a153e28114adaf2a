"""exp against long double over its whole range, and its limits."""

import numpy as np
import pytest

from fastgmm._jit import kernel
from fastgmm.kernels.exponential import exp_nonpositive


@kernel
def exp_all(x, out):
    for n in range(x.size):
        out[n] = exp_nonpositive(x[n])


@pytest.mark.parametrize(("dtype", "lowest"), [(np.float64, -708.3), (np.float32, -87.3)])
def test_error_is_below_two_ulp(dtype, lowest):
    rng = np.random.default_rng(0)
    x = np.concatenate([
        np.linspace(lowest, 0, 200_001), -rng.exponential(size=200_000),
        -np.geomspace(1e-300 if dtype is np.float64 else 1e-37, 1, 1000), [0.0],
    ]).clip(lowest).astype(dtype)  # fmt: skip
    out = np.empty_like(x)
    exp_all(x, out)
    exact = np.exp(x.astype(np.longdouble))
    ulp = np.abs(out - exact) / np.spacing(exact.astype(dtype))
    assert ulp.max() < 2


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_limits(dtype):
    x = np.array([0.0, -np.inf, -1e30, -800.0], dtype)
    out = np.empty_like(x)
    exp_all(x, out)
    assert out.tolist() == [1.0, 0.0, 0.0, 0.0]
