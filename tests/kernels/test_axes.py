"""Register blocks along the axes: every height, every way into columns, full and overlapping."""

import numpy as np
import pytest
from reference import as_matrices, e_step

from fastgmm import kernels
from fastgmm.covariance import FAMILIES
from fastgmm.parameters import Parameters
from fastgmm.sources import NO_WEIGHTS
from fastgmm.statistics import zeros

# columns by shuffles, by a whole transpose and by one with empty lanes; components in blocks of
# one, two, four and eight whose last one is full, or begins inside its neighbour
SHAPES = [(1, 1), (2, 2), (3, 5), (4, 8), (5, 11), (8, 9), (9, 16), (17, 7)]


@pytest.mark.parametrize("name", ["diag", "spherical"])
@pytest.mark.parametrize(("d", "k"), SHAPES)
@pytest.mark.parametrize("away", [0.0, 1e4], ids=["product", "centred"])
def test_moments_are_those_of_the_textbook(name, d, k, away):
    rng = np.random.default_rng(d)
    means = rng.normal(size=(k, d)) + away * np.arange(k)[:, np.newaxis]
    X = means[rng.integers(k, size=777)] + rng.normal(size=(777, d))
    variances = rng.gamma(3.0, size=(k, d)) + 0.2
    variances = variances if name == "diag" else variances[:, 0].copy()
    parameters = Parameters(rng.dirichlet(np.full(k, 5.0)), means, variances)
    family = FAMILIES[name]
    statistics = zeros(k, d, family.second_shape(k, d))
    density = family.prepare(parameters, np.dtype(float))
    kernels.expectation.expectation(X, NO_WEIGHTS, density, statistics, len(X))
    matrices = as_matrices(variances, name, k, d)
    r, log_density = e_step(X, parameters.weights, means, matrices)
    origins = density.origins  # a sphere near the others is about the centre
    z = X[:, np.newaxis] - origins
    second = np.einsum("nk,nkd->kd", r, z**2)
    second = second if name == "diag" else second.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(statistics.log_likelihood[0], log_density.sum(), rtol=1e-12)
    np.testing.assert_allclose(statistics.counts, r.sum(axis=0), rtol=1e-10)
    np.testing.assert_allclose(statistics.first, np.einsum("nk,nkd->kd", r, z), atol=1e-9)
    np.testing.assert_allclose(statistics.second, second, rtol=1e-9, atol=1e-9)
