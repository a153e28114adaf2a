"""Linear log densities: every block of components and features, next to the textbook."""

import numpy as np
import pytest
from problems import scatter_of
from reference import as_matrices, e_step

from fastgmm import kernels
from fastgmm.covariance import FAMILIES
from fastgmm.maximization import maximum_likelihood
from fastgmm.parameters import Parameters
from fastgmm.sources import NO_WEIGHTS
from fastgmm.statistics import zeros

TIED = FAMILIES["tied"]


def mixture(d, k):
    rng = np.random.default_rng(d)
    A = rng.normal(size=(d, d + 2))
    scales = np.geomspace(1.0, 1e4, d)
    means = scales * rng.normal(size=(k, d))
    covariance = scales * (A @ A.T / d + np.eye(d)) * scales[:, np.newaxis]
    X = means[rng.integers(k, size=777)] + scales * rng.normal(size=(777, d))
    return X, Parameters(rng.dirichlet(np.full(k, 5.0)), means, covariance)


def next_parameters(X, density, weights=NO_WEIGHTS):
    k, d = density.means.shape
    statistics = zeros(k, d, TIED.second_shape(k, d))
    kernels.expectation.expectation(X, weights, density, statistics)
    scatter = scatter_of(X, weights if len(weights) else None)
    statistics = TIED.complete(statistics, density, scatter)
    new = maximum_likelihood(TIED, statistics, density.origins, np.zeros(d), 0.0)
    return statistics.log_likelihood[0], new


# components in blocks of one, two, four and eight, the last full or begun inside its neighbour;
# features in blocks of two and three; columns by shuffles and by transposes
@pytest.mark.parametrize(("d", "k"), [(1, 1), (2, 2), (3, 5), (4, 8), (5, 11), (8, 9), (17, 7)])
@pytest.mark.parametrize("weighted", [False, True])
def test_both_forms_of_a_tied_mixture_are_the_textbooks(d, k, weighted):
    X, parameters = mixture(d, k)
    weights = np.random.default_rng(1).gamma(1.0, size=len(X)) if weighted else NO_WEIGHTS
    near = TIED.prepare(parameters, np.dtype(float))
    # columns of different scales are no reason to think components far apart
    assert isinstance(near, kernels.linear.LinearDensity)
    far = TIED.about(near, parameters.means)
    assert isinstance(far, kernels.triangles.TriangleDensity)
    matrices = as_matrices(parameters.covariances, "tied", k, d)
    _, log_density = e_step(X, parameters.weights, parameters.means, matrices)
    expected = log_density @ (weights if weighted else np.ones(len(X)))
    one, other = next_parameters(X, near, weights), next_parameters(X, far, weights)
    assert one[0] == pytest.approx(expected, rel=1e-11)
    assert other[0] == pytest.approx(expected, rel=1e-11)
    units = np.sqrt(np.diagonal(parameters.covariances))
    np.testing.assert_allclose(one[1].weights, other[1].weights, rtol=1e-10)
    np.testing.assert_allclose(one[1].means / units, other[1].means / units, atol=1e-10)
    scaled = one[1].covariances / units / units[:, np.newaxis]
    np.testing.assert_allclose(
        scaled, other[1].covariances / units / units[:, np.newaxis], atol=1e-10
    )


def test_a_tied_pass_without_the_scatter_of_the_data_is_an_error():
    _, parameters = mixture(2, 2)
    density = TIED.prepare(parameters, np.dtype(float))
    statistics = zeros(2, 2, TIED.second_shape(2, 2))
    with pytest.raises(ValueError, match="total scatter"):
        TIED.complete(statistics, density, None)
