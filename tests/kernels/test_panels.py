"""Moments of whole matrices about one centre: panels of every height and width."""

import numpy as np
import pytest

from fastgmm import kernels
from fastgmm.covariance import FAMILIES
from fastgmm.parameters import Parameters
from fastgmm.sources import NO_WEIGHTS
from fastgmm.statistics import zeros

FULL = FAMILIES["full"]


# 1, 2, 3, 4 = 4, 5, 6, 7 = 4 + 3, 8, 9 = 3 + 3 + 3 vectors of components, of eight or sixteen
@pytest.mark.parametrize("k", [8, 9, 24, 27, 40, 48, 50, 64, 72, 97, 144])
@pytest.mark.parametrize(("dtype", "rtol"), [(np.float64, 1e-11), (np.float32, 1e-4)])
def test_moments_are_sums_over_the_rows(k, dtype, rtol):
    d = 9
    rng = np.random.default_rng(k)
    X = rng.normal(size=(130, d)).astype(dtype)
    parameters = Parameters(
        rng.dirichlet(np.full(k, 5.0)), 0.3 * rng.normal(size=(k, d)), np.tile(np.eye(d), (k, 1, 1))
    )
    density = FULL.prepare(parameters, np.dtype(dtype))
    assert density.near
    statistics = zeros(k, d, FULL.second_shape(k, d))
    kernels.expectation.expectation(X, NO_WEIGHTS.astype(dtype), density, statistics, len(X))
    away = X[:, np.newaxis].astype(float) - parameters.means
    joint = np.log(parameters.weights) - 0.5 * (away**2).sum(axis=2)
    r = np.exp(joint - np.logaddexp.reduce(joint, axis=1, keepdims=True))
    x = X - density.centre.astype(float)
    rows, columns = np.tril_indices(d)
    for found, expected in (
        (statistics.counts, r.sum(axis=0)),
        (statistics.first, r.T @ x),
        (statistics.second, r.T @ (x[:, rows] * x[:, columns])),
    ):
        np.testing.assert_allclose(found, expected, rtol=rtol, atol=rtol * np.abs(expected).max())
