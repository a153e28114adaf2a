"""Rows about one common centre or about every mean, in groups or in tiles: the same moments."""

import numpy as np
import pytest

from fastgmm.covariance import FAMILIES
from fastgmm.covariance.nearness import FARTHEST
from fastgmm.expectation import ExpectationStep
from fastgmm.maximization import maximum_likelihood
from fastgmm.parameters import Parameters
from fastgmm.sources import Chunk
from fastgmm.statistics import zeros

FULL = FAMILIES["full"]


def mixture(k, d, apart=1.0):
    rng = np.random.default_rng(d)
    A = rng.normal(size=(k, d, d + 2))
    weights = rng.uniform(0.5, 1.0, k)
    means = apart * rng.normal(size=(k, d))
    return Parameters(weights / weights.sum(), means, A @ A.transpose(0, 2, 1) / d + np.eye(d))


def step(density, rows, weights=()):
    k, d = density.means.shape
    statistics = zeros(k, d, FULL.second_shape(k, d))
    chunk = Chunk(0, rows, np.asarray(weights, rows.dtype))
    ExpectationStep("full", density, 0).accumulate(statistics, chunk)
    origins = density.origins.astype(float)
    return statistics.log_likelihood, maximum_likelihood(
        FULL, statistics, origins, np.zeros(d), 1e-300
    )


def rows_of(parameters, n, dtype=float):
    rng = np.random.default_rng(0)
    k, d = parameters.means.shape
    return (rng.normal(size=(n, d)) + parameters.means[rng.integers(k, size=n)]).astype(dtype)


def assert_same(one, other, rtol=1e-11):
    np.testing.assert_allclose(one[0], other[0], rtol=rtol)
    for mine, theirs in zip(one[1], other[1], strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=rtol, atol=rtol)


# in groups; in chunks; in panels; all with rows that fill no vector
@pytest.mark.parametrize(("k", "d"), [(2, 1), (5, 2), (9, 3), (9, 5), (5, 11), (26, 11)])
def test_the_common_centre_changes_nothing(k, d):
    parameters = mixture(k, d)
    rows = rows_of(parameters, 1003)
    near = FULL.prepare(parameters, rows.dtype)
    assert near.near
    far = FULL.about(near, parameters.means)
    assert not far.near
    assert_same(step(near, rows), step(far, rows))


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("d", [2, 11])
def test_components_far_apart_are_centred_one_by_one(d, dtype):
    limit = FARTHEST[np.dtype(dtype).itemsize]
    apart = np.zeros((5, d))
    apart[0, 0] = 5 * limit  # the mean of all lies a fifth of the way
    unit = np.broadcast_to(np.eye(d), (5, d, d)).copy()
    for scale, near in ((0.99 / 4, True), (1.01 / 4, False)):
        parameters = Parameters(np.full(5, 0.2), scale * apart, unit)
        density = FULL.prepare(parameters, np.dtype(dtype))
        assert density.near == near
        about = np.broadcast_to(density.centre, (5, d)) if near else density.means
        np.testing.assert_array_equal(density.origins, about)
