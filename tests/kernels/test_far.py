"""Components far apart: rows that are none of theirs add nothing, and a dying one keeps its own."""

import numpy as np
import pytest
import reference

from fastgmm import kernels
from fastgmm.covariance.families import full
from fastgmm.parameters import Parameters
from fastgmm.sources import NO_WEIGHTS
from fastgmm.statistics import zeros

D, K = 17, 3


@pytest.mark.parametrize("weights", [[0.3, 0.3, 0.4], [0.5, 0.5, 1e-150]], ids=["three", "dying"])
@pytest.mark.parametrize("apart", [0.0, 4.0, 1e3])
def test_statistics_of_every_component_keep_their_digits(apart, weights):
    rng = np.random.default_rng(1)
    means = rng.normal(size=(K, D)) + apart * np.arange(K)[:, np.newaxis]
    X = rng.normal(size=(700, D)) + means[rng.integers(K, size=700)]
    A = rng.normal(size=(K, D, D + 2))
    matrices = A @ A.transpose(0, 2, 1) / D + np.eye(D)
    parameters = Parameters(np.array(weights), means, matrices)
    density = full.prepare(parameters, np.dtype(float))
    statistics = zeros(K, D, full.second_shape(K, D))
    kernels.expectation.expectation(X, NO_WEIGHTS, density, statistics, len(X))

    r, log_density = reference.e_step(X, np.array(weights), means, matrices)
    centred = X[:, np.newaxis] - density.origins
    second = np.einsum("nk,nki,nkj->kij", r, centred, centred)[(..., *np.tril_indices(D))]
    assert statistics.log_likelihood == pytest.approx(log_density.sum(), rel=1e-12)
    np.testing.assert_allclose(statistics.counts, r.sum(axis=0), rtol=1e-10)
    first = np.einsum("nk,nki->ki", r, centred)
    for found, expected in [(statistics.first, first), (statistics.second, second)]:
        size = np.abs(expected).max(axis=1, keepdims=True)
        np.testing.assert_allclose(found / size, expected / size, atol=1e-10)
