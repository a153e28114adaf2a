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

TIED, SPHERICAL = FAMILIES["tied"], FAMILIES["spherical"]


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
    kernels.expectation.expectation(X, weights, density, statistics, len(X))
    scatter = scatter_of(X, weights if len(weights) else None)
    statistics = TIED.complete(statistics, density, scatter)
    new = maximum_likelihood(TIED, statistics, density.origins, np.zeros(d), 0.0)
    return statistics.log_likelihood[0], new


# components in blocks of one, two, four, six and eight, the last full or begun inside another;
# features in blocks of one, two and three; columns by shuffles and by transposes; of 48 columns,
# rows are added: as they are, where 8 to 48 components take the shares, else copied, with theirs
@pytest.mark.parametrize(
    ("d", "k"),
    [
        *((1, 1), (2, 2), (3, 5), (4, 8), (5, 11), (8, 9), (17, 7)),
        *((4, 6), (4, 7), (4, 10), (4, 13), (4, 14), (16, 7), (16, 20), (39, 12), (64, 3)),
        *((48, 9), (48, 44), (48, 52)),
    ],
)
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


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize(
    ("d", "k"), [(5, 6), (16, 7), (16, 20), (48, 7), (48, 9), (48, 60), (48, 85)]
)
def test_spheres_are_the_textbooks(d, k, dtype):
    rng = np.random.default_rng(d)
    memory = np.full((800, d), np.nan, dtype)  # nothing behind the last row is read
    X = memory[:777]
    X[:] = rng.normal(size=X.shape)
    parameters = Parameters(
        rng.dirichlet(np.full(k, 5.0)), rng.normal(size=(k, d)), rng.uniform(0.5, 2.0, size=k)
    )
    density = SPHERICAL.prepare(parameters, np.dtype(dtype))
    assert isinstance(density, kernels.linear.LinearDensity)
    statistics = zeros(k, d, SPHERICAL.second_shape(k, d))
    kernels.expectation.expectation(X, NO_WEIGHTS, density, statistics, len(X))
    matrices = as_matrices(parameters.covariances, "spherical", k, d)
    r, log_density = e_step(X.astype(float), parameters.weights, parameters.means, matrices)
    rtol = 1e-11 if dtype is np.float64 else 2e-5
    assert statistics.log_likelihood[0] == pytest.approx(log_density.sum(), rel=rtol)
    away = X - density.centre.astype(float)
    expected = r.sum(axis=0), r.T @ away, (r.T @ (away**2).sum(axis=1))[:, np.newaxis]
    for one, other in zip(statistics[1:], expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=rtol, atol=rtol * np.abs(other).max())


@pytest.mark.parametrize(("d", "k"), [(5, 6), (48, 7), (48, 44)])
def test_what_tied_densities_leave_out_is_added_where_rows_are_scored(d, k):
    X, parameters = mixture(d, k)
    density = TIED.prepare(parameters, np.dtype(float))
    assert isinstance(density, kernels.linear.LinearDensity)
    log_probability = np.empty(len(X))
    none = np.empty((0, 0))
    kernels.expectation.score(X, density, log_probability, np.empty(0, np.int64), none)
    matrices = as_matrices(parameters.covariances, "tied", k, d)
    _, expected = e_step(X, parameters.weights, parameters.means, matrices)
    np.testing.assert_allclose(log_probability, expected, rtol=1e-10)


def test_a_tied_pass_without_the_scatter_of_the_data_is_an_error():
    _, parameters = mixture(2, 2)
    density = TIED.prepare(parameters, np.dtype(float))
    statistics = zeros(2, 2, TIED.second_shape(2, 2))
    with pytest.raises(ValueError, match="total scatter"):
        TIED.complete(statistics, density, None)
