"""What a mixture says about rows, component for component, next to SciPy and to direct formulas."""

import copy
import pickle

import numpy as np
import pytest
from problems import COVARIANCE_TYPES, blobs, fit
from reference import as_matrices, from_matrices
from scipy.integrate import quad
from scipy.special import logsumexp
from scipy.stats import multivariate_normal

from fastgmm import GaussianMixture

X, _ = blobs(500, 3, 3, spread=6.0)


@pytest.fixture(params=COVARIANCE_TYPES)
def model(request):
    return fit(X, n_components=3, covariance_type=request.param, random_state=0)


def matrices_of(model):
    return as_matrices(model.covariances_, model.covariance_type, *model.means_.shape)


def test_component_densities_are_scipys(model):
    found = model.component_log_density(X)
    expected = [
        multivariate_normal(mean, matrix).logpdf(X)
        for mean, matrix in zip(model.means_, matrices_of(model), strict=True)
    ]
    np.testing.assert_allclose(found, np.transpose(expected), rtol=1e-10, atol=1e-10)
    total = logsumexp(found + np.log(model.weights_), axis=1)
    np.testing.assert_allclose(model.score_samples(X), total, rtol=1e-12)


def test_distances_are_in_standard_deviations(model):
    found = model.mahalanobis(X)
    for k, (mean, matrix) in enumerate(zip(model.means_, matrices_of(model), strict=True)):
        z = X - mean
        squares = np.einsum("ni,ni->n", z, np.linalg.solve(matrix, z.T).T)
        np.testing.assert_allclose(found[:, k], np.sqrt(squares), rtol=1e-9)
    np.testing.assert_array_equal(np.diagonal(model.mahalanobis(model.means_)), 0.0)


@pytest.mark.parametrize("offset", [0.0, 1e7])
def test_small_distances_keep_their_digits(offset):
    """Differences of log densities would leave nothing of a distance of 1e-9."""
    model = GaussianMixture.from_parameters(
        [1.0], [[offset, offset]], 1e-12 * np.eye(2)[np.newaxis]
    )
    step = np.spacing(offset) if offset else 1e-15
    np.testing.assert_allclose(
        model.mahalanobis([[offset + step, offset]]), [[step * 1e6]], rtol=1e-12
    )


def test_components_of_weight_zero_have_densities():
    model = GaussianMixture.from_parameters([0.0, 1.0], [[0.0], [1.0]], [[[1.0]], [[1.0]]])
    np.testing.assert_allclose(model.component_log_density([[0.0]])[0, 0], -0.9189385332046727)
    np.testing.assert_array_equal(model.mahalanobis([[0.0]]), [[0.0, 1.0]])


def test_components_of_single_precision(model):
    rows = X.astype(np.float32)
    single = fit(rows, n_components=3, covariance_type=model.covariance_type, random_state=0)
    for name in ("component_log_density", "mahalanobis"):
        found = getattr(single, name)(rows)
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, getattr(model, name)(X), rtol=5e-3, atol=5e-3)


def test_components_stream_to_files_and_stay_lazy(tmp_path):
    import dask.array as da

    model = fit(X, n_components=3, random_state=0)
    for method in (model.component_log_density, model.mahalanobis):
        out = method(X, out=tmp_path / f"{method.__name__}.npy")
        np.testing.assert_array_equal(np.load(out), method(X))
        lazy = method(da.from_array(X, chunks=(200, 3)))
        assert lazy.shape == (500, 3)
        np.testing.assert_allclose(lazy.compute(), method(X), rtol=1e-12)
        with pytest.raises(ValueError, match="Input X contains NaN: row 1"):
            method([[0.0, 0.0, 0.0], [0.0, np.nan, 0.0]])


def test_entropy_of_one_component_is_that_of_the_formula(model):
    one = fit(X, n_components=1, covariance_type=model.covariance_type)
    exact = 0.5 * np.linalg.slogdet(2 * np.pi * np.e * matrices_of(one)[0])[1]
    value, error = one.entropy(20_000, random_state=0)
    assert abs(value - exact) < 4 * error
    assert error == pytest.approx(np.sqrt(1.5 / 20_000), rel=0.05)  # a third of chi-square(3)


def test_entropy_takes_whole_numbers_however_they_are_written(model):
    assert model.entropy(1e3, random_state=0) == model.entropy(1000, random_state=0)
    for wrong in (None, 10.5, "many", 1):
        with pytest.raises(ValueError, match=r"whole number|2 rows or more"):
            model.entropy(wrong)


def test_entropy_of_a_mixture_is_its_integral_within_the_stated_error():
    model = GaussianMixture.from_parameters([0.3, 0.7], [[0.0], [3.0]], [[[1.0]], [[0.25]]])

    def integrand(x):
        parts = [0.3, 2.0 * 0.7] * np.exp([-(x**2) / 2, -2 * (x - 3) ** 2]) / np.sqrt(2 * np.pi)
        return -parts.sum() * np.log(parts.sum())

    exact = quad(integrand, -9.0, 9.0, points=[0.0, 3.0])[0]
    found = [model.entropy(400, random_state=seed) for seed in range(100)]
    scores = [(one.value - exact) / one.standard_error for one in found]
    assert abs(np.mean(scores)) < 4 / np.sqrt(100)
    assert 0.8 < np.std(scores) < 1.25
    assert model.entropy(random_state=1).standard_error < 0.003
    assert model.set_params(random_state=7).entropy(300) == model.entropy(300, random_state=7)
    with pytest.raises(ValueError, match="2 rows or more, not 1"):
        model.entropy(1)


@pytest.mark.parametrize("covariance_type", ["full", "tied", "diag", "spherical"])
@pytest.mark.parametrize("apart", [1.0, 1e4])
def test_rows_whose_squares_overflow_have_density_zero(covariance_type, apart):
    unit = from_matrices(np.tile(np.eye(9), (2, 1, 1)), covariance_type)
    means = np.array([np.zeros(9), np.full(9, apart)])
    model = GaussianMixture.from_parameters(
        [0.5, 0.5], means, unit, covariance_type=covariance_type
    )
    rows = np.array([np.full(9, 1e155), np.zeros(9), np.full(9, -1e155)])
    found = model.score_samples(rows)
    assert found[0] == found[2] == -np.inf
    assert np.isfinite(found[1])
    assert model.score(rows) == -np.inf


def test_what_rows_are_scored_with_is_made_once(model, monkeypatch):
    expected, size = model.score_samples(X), len(pickle.dumps(model))
    family, made = model._family, []
    prepare = family.prepare
    monkeypatch.setattr(family, "prepare", lambda *given: made.append(1) or prepare(*given))
    for _ in range(3):
        np.testing.assert_array_equal(model.score_samples(X), expected)
        model.predict(X[:1])
    assert not made
    assert len(pickle.dumps(model)) == size
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(model)).score_samples(X), expected)


@pytest.mark.parametrize("name", ["weights_", "means_", "covariances_"])
def test_what_was_changed_in_place_counts(model, name):
    expected, other = model.score_samples(X), copy.deepcopy(model)
    before = getattr(other, name).copy()
    getattr(other, name)[0] *= 1.25
    assert (other.score_samples(X) != expected).any()
    getattr(other, name)[:] = before
    np.testing.assert_array_equal(other.score_samples(X), expected)
    np.testing.assert_array_equal(model.score_samples(X), expected)


def test_another_fit_scores_by_itself(model):
    before = model.score_samples(X)
    model.fit(X + 1.0)
    np.testing.assert_allclose(model.score_samples(X + 1.0), before, rtol=1e-9)
    assert (model.score_samples(X) != before).any()
