"""Every registered family keeps the same laws."""

import numpy as np
import pytest
from problems import scatter_of
from reference import as_matrices, e_step, from_matrices, m_step

from fastgmm import kernels
from fastgmm.covariance import FAMILIES
from fastgmm.exceptions import IllDefinedCovarianceError
from fastgmm.maximization import maximum_likelihood
from fastgmm.parameters import Parameters
from fastgmm.sources import NO_WEIGHTS
from fastgmm.statistics import merge, zeros


@pytest.fixture(params=sorted(FAMILIES))
def name(request):
    return request.param


@pytest.fixture(params=[(1, 1), (1, 3), (2, 1), (3, 4), (5, 2)], ids=str)
def problem(request, name):
    d, k = request.param
    rng = np.random.default_rng(d * 10 + k)
    X = rng.normal(size=(333, d)) * 2
    A = rng.normal(size=(k, d, d + 2))
    full = A @ A.transpose(0, 2, 1) / d
    covariances = from_matrices(full, name)
    return X, Parameters(rng.dirichlet(np.ones(k)), rng.normal(size=(k, d)), covariances)


def statistics_of(name, X, density, weights=NO_WEIGHTS):
    family = FAMILIES[name]
    k, d = density.means.shape
    state = zeros(k, d, family.second_shape(k, d))
    kernels.expectation.expectation(X, weights, density, state, len(X))
    return family.complete(state, density, scatter_of(X, weights if len(weights) else None))


def test_one_iteration_is_the_textbooks(name, problem):
    X, parameters = problem
    k, d = parameters.means.shape
    weights = np.random.default_rng(0).gamma(1.0, size=len(X))
    density = FAMILIES[name].prepare(parameters, np.dtype(float))
    statistics = statistics_of(name, X, density, weights)
    matrices = as_matrices(parameters.covariances, name, k, d)
    r, log_density = e_step(X, parameters.weights, parameters.means, matrices)
    np.testing.assert_allclose(statistics.log_likelihood[0], weights @ log_density, rtol=1e-12)
    new = maximum_likelihood(FAMILIES[name], statistics, density.origins, 1e-6, 0.0)
    for mine, reference in zip(new, m_step(X, r, weights, name, 1e-6), strict=True):
        np.testing.assert_allclose(mine, reference, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("n", [1, 2, 127, 128, 129, 256, 300])
def test_every_tail_of_a_tile(name, problem, n):
    X, parameters = problem
    X = X[:n]
    density = FAMILIES[name].prepare(parameters, np.dtype(float))
    whole = statistics_of(name, X, density)
    rows = [statistics_of(name, X[i : i + 1], density) for i in range(n)]
    total = rows[0]
    for row in rows[1:]:
        total = merge(total, row)
    for mine, reference in zip(whole, total, strict=True):
        np.testing.assert_allclose(mine, reference, rtol=1e-11, atol=1e-11)


def test_scores_agree_with_the_textbook(name, problem):
    X, parameters = problem
    k, d = parameters.means.shape
    density = FAMILIES[name].prepare(parameters, np.dtype(float))
    matrices = as_matrices(parameters.covariances, name, k, d)
    r, log_density = e_step(X, parameters.weights, parameters.means, matrices)
    out = np.empty(len(X)), np.empty(len(X), np.int64), np.empty((len(X), k))
    kernels.expectation.score(X, density, *out)
    np.testing.assert_allclose(out[0], log_density, rtol=1e-11, atol=1e-11)
    np.testing.assert_allclose(out[2], r, rtol=1e-9, atol=1e-13)
    assert np.array_equal(out[1], r.argmax(axis=1))


def test_responsibilities_are_never_subnormal(name):
    """A subnormal operand costs a hundred cycles; log densities here differ by up to 800."""
    X = np.linspace(0.0, 40.0, 4001)[:, np.newaxis]
    covariances = from_matrices(np.ones((2, 1, 1)), name)
    parameters = Parameters(np.array([0.1, 0.9]), np.array([[0.0], [40.0]]), covariances)
    r = np.empty((len(X), 2))
    density = FAMILIES[name].prepare(parameters, np.dtype(float))
    kernels.expectation.score(X, density, np.empty(0), np.empty(0, np.int64), r)
    assert np.any(r == 0)
    assert np.all((r == 0) | (r > 1e-290))


def test_shapes_and_inverses(name, problem):
    _, parameters = problem
    family = FAMILIES[name]
    k, d = parameters.means.shape
    assert parameters.covariances.shape == family.shape(k, d)
    factors = family.precisions_cholesky(parameters)
    precisions = family.precisions(factors)
    assert precisions.shape == factors.shape == family.shape(k, d)
    np.testing.assert_allclose(
        family.from_precisions(precisions), parameters.covariances, rtol=1e-8, atol=1e-10
    )
    dense = family.dense(parameters.covariances, k, d)
    np.testing.assert_array_equal(dense, as_matrices(parameters.covariances, name, k, d))
    variances = np.broadcast_to(family.variances(parameters.covariances, d), (k, d))
    np.testing.assert_array_equal(variances, np.diagonal(dense, axis1=1, axis2=2))


def test_joined_components_are_one_statistics(name, problem):
    _, parameters = problem
    family = FAMILIES[name]
    k, d = parameters.means.shape
    rng = np.random.default_rng(0)
    seconds = [rng.random(family.second_shape(1, d)) for _ in range(k)]
    assert family.join(seconds).shape == family.second_shape(k, d)


@pytest.mark.parametrize("wrong", [0.0, -1.0, np.nan, np.inf])
def test_a_bad_covariance_is_refused(name, problem, wrong):
    _, parameters = problem
    bad = np.full_like(parameters.covariances, wrong)
    with pytest.raises(IllDefinedCovarianceError, match="ill-defined empirical covariance"):
        FAMILIES[name].prepare(parameters._replace(covariances=bad), np.dtype(float))


def test_a_ridge_widens_what_components_and_columns_share(name, problem):
    _, parameters = problem
    family = FAMILIES[name]
    k, d = parameters.means.shape
    ridge = np.random.default_rng(0).random((k, d))
    widened = parameters.covariances.copy()
    family.regularise(widened, ridge)
    expected = np.repeat(ridge.mean(axis=1, keepdims=True), d, axis=1)
    expected = expected if name.endswith("spherical") else ridge
    if name.startswith("tied"):
        expected = np.repeat(expected.max(axis=0, keepdims=True), k, axis=0)
    before, after = (family.dense(c, k, d) for c in (parameters.covariances, widened))
    np.testing.assert_allclose(after - before, expected[:, :, None] * np.eye(d), atol=1e-13)


def test_a_selection_has_the_covariances_of_its_components_and_columns(name, problem):
    _, parameters = problem
    family = FAMILIES[name]
    k, d = parameters.means.shape
    components, columns = np.arange(k)[::2], np.arange(d)[::-2]
    kept = family.select(parameters.covariances, components, columns)
    assert kept.shape == family.shape(len(components), len(columns))
    expected = family.dense(parameters.covariances, k, d)[np.ix_(components, columns, columns)]
    np.testing.assert_array_equal(family.dense(kept, *expected.shape[:2]), expected)
    kept += 1.0
    assert not np.shares_memory(kept, parameters.covariances)


def test_free_parameters_count(name):
    expected = {"full": 3 * 10, "tied": 10, "diag": 12, "spherical": 3,
                "tied_diag": 4, "tied_spherical": 1}  # fmt: skip
    assert FAMILIES[name].n_parameters(3, 4) == expected[name]


@pytest.mark.parametrize("apart", [10.0, 900.0, 1e4, 1e7])
def test_components_far_apart_cost_no_digits(name, apart):
    rng = np.random.default_rng(0)
    means = np.array([[-apart, 0.0, apart], [apart, apart, 0.0]])
    X = np.repeat(means, 200, axis=0) + rng.normal(size=(400, 3))
    covariances = from_matrices(np.stack([np.eye(3)] * 2), name)
    start = Parameters(np.array([0.5, 0.5]), means, covariances)
    density = FAMILIES[name].prepare(start, np.dtype(float))
    statistics = statistics_of(name, X, density)
    r, log_density = e_step(X, start.weights, means, as_matrices(covariances, name, 2, 3))
    np.testing.assert_allclose(statistics.log_likelihood[0], log_density.sum(), rtol=1e-9)
    new = maximum_likelihood(FAMILIES[name], statistics, density.origins, 0.0, 0.0)
    expected = m_step(X, r, np.ones(400), name, 0.0)
    np.testing.assert_allclose(new.means, expected[1], rtol=1e-14, atol=1e-8)
    np.testing.assert_allclose(new.covariances, expected[2], rtol=0, atol=1e-8)
