"""Moments of whole matrices where rows count for few components, or for many, tile by tile."""

import numpy as np
import pytest
import reference

from fastgmm import kernels
from fastgmm._jit import kernel
from fastgmm.covariance import FAMILIES
from fastgmm.kernels.densities import scatter
from fastgmm.kernels.steps import MOST_ROWS
from fastgmm.parameters import Parameters
from fastgmm.sources import NO_WEIGHTS
from fastgmm.statistics import zeros

FULL = FAMILIES["full"]
K = 40


@kernel
def few_count(joint, n_components, d):
    stride = joint.size // n_components
    return scatter.few_count(joint, stride, n_components, d, stride)


def mixture(d):
    """Components so far apart that their rows are nobody else's, and yet near one centre."""
    rng = np.random.default_rng(d)
    means = 2.2 * rng.normal(size=(K, d))
    variances = rng.uniform(0.8, 1.2, size=(K, d, 1))
    weights = rng.dirichlet(np.full(K, 9.0))
    return Parameters(weights, means, variances * np.eye(d))


def rows_of(parameters, kinds, rng):
    """Return a tile of each kind: near the components' means, or between all of them."""
    d = parameters.means.shape[1]
    tiles = {
        "few": lambda: parameters.means[rng.integers(K, size=MOST_ROWS)],
        "many": lambda: np.zeros((MOST_ROWS, d)),
    }
    return np.concatenate([tiles[kind]() for kind in kinds])


def statistics_of(X, weights, density):
    k, d = density.means.shape
    statistics = zeros(k, d, FULL.second_shape(k, d))
    kernels.expectation.expectation(X, weights, density, statistics)
    return statistics


def expected(X, weights, parameters, centre):
    r, log_density = reference.e_step(X.astype(float), *parameters)
    r *= weights[:, np.newaxis]
    x = X - centre.astype(float)
    i, j = np.tril_indices(X.shape[1])
    return r.sum(axis=0), r.T @ x, r.T @ (x[:, i] * x[:, j]), weights @ log_density


@pytest.mark.parametrize("kinds", [("few",), ("few", "many"), ("many", "few"), ("many",)])
@pytest.mark.parametrize("weighted", [False, True], ids=["", "weighted"])
@pytest.mark.parametrize(("dtype", "rtol"), [(np.float64, 1e-11), (np.float32, 2e-4)])
@pytest.mark.parametrize("d", [16, 23])
def test_either_way_moments_are_sums_over_the_rows(d, dtype, rtol, weighted, kinds):
    parameters = mixture(d)
    density = FULL.prepare(parameters, np.dtype(dtype))
    assert density.near
    rng = np.random.default_rng(3)
    X = rows_of(parameters, kinds, rng)
    X = (X + rng.normal(size=X.shape))[:-5].astype(dtype)
    weights = rng.integers(3, size=len(X)).astype(dtype) if weighted else np.ones(len(X))
    given = weights.astype(float) if weighted else NO_WEIGHTS
    found = statistics_of(X, given, density)
    counts, first, second, log_likelihood = expected(X, weights, parameters, density.centre)
    assert found.log_likelihood == pytest.approx(log_likelihood, rel=rtol)
    for mine, theirs in (
        (found.counts, counts),
        (found.first, first),
        (found.second, second),
    ):
        np.testing.assert_allclose(mine, theirs, rtol=rtol, atol=rtol * np.abs(theirs).max())


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_a_tile_goes_the_way_that_its_rows_ask_for(dtype):
    d, n = 23, 128
    joint = np.zeros((K, n), dtype)
    joint[np.arange(n) % K, np.arange(n)] = 1
    assert few_count(joint.ravel(), K, d)
    assert not few_count(joint.ravel(), K, scatter.FEWEST_COLUMNS - 1)
    joint[:] += scatter.COUNTS / 100
    assert few_count(joint.ravel(), K, d)
    joint[: K // 2] = 1e-3
    assert not few_count(joint.ravel(), K, d)
