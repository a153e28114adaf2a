"""Same start, same numbers: scikit-learn's, and a textbook's with weights."""

import warnings

import numpy as np
import pytest
from problems import (
    COVARIANCE_TYPES,
    SCIKIT_LEARNS_TYPES,
    blobs,
    covariances_of,
    distance,
    fit,
    parameters,
    start_of,
)
from reference import em
from sklearn.mixture import GaussianMixture as SklearnGaussianMixture

GRID = [(d, k) for d in (1, 2, 5, 16) for k in (1, 3, 10)]


@pytest.mark.parametrize("covariance_type", SCIKIT_LEARNS_TYPES)
@pytest.mark.parametrize(("d", "k"), GRID)
@pytest.mark.parametrize("n_iter", [1, 5, 50])
def test_equals_scikit_learn(d, k, covariance_type, n_iter):
    X, means = blobs(1500, d, k, seed=d * 100 + k)
    start = start_of(X, means, covariance_type)
    settings = {"n_components": k, "covariance_type": covariance_type, "tol": 0, **start}
    ours = fit(X, max_iter=n_iter, **settings)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = SklearnGaussianMixture(max_iter=n_iter, **settings).fit(X)
    for mine, his in zip(parameters(ours), parameters(theirs), strict=True):
        assert distance(mine, his) < 1e-10
    assert distance(ours.lower_bound_, theirs.lower_bound_) < 1e-10
    assert distance(ours.precisions_cholesky_, theirs.precisions_cholesky_) < 1e-9
    assert distance(ours.precisions_, theirs.precisions_) < 1e-9
    assert ours.n_iter_ == theirs.n_iter_


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
@pytest.mark.parametrize(("d", "k"), GRID)
def test_equals_the_textbook(d, k, covariance_type, weighted):
    X, means = blobs(1000, d, k, seed=d * 100 + k)
    start = start_of(X, means, covariance_type)
    weights = np.random.default_rng(5).gamma(2.0, size=len(X)) if weighted else None
    for n_iter in (1, 5, 50):
        ours = fit(
            X, weights, n_components=k, covariance_type=covariance_type, tol=0,
            max_iter=n_iter, **start,
        )  # fmt: skip
        *expected, bounds = em(
            X, start["weights_init"], start["means_init"],
            covariances_of(start, covariance_type), covariance_type, n_iter,
            sample_weight=weights,
        )  # fmt: skip
        for mine, reference in zip(parameters(ours), expected, strict=True):
            assert distance(mine, reference) < 1e-10
        assert distance(ours.lower_bounds_, bounds) < 1e-10


@pytest.mark.parametrize("covariance_type", SCIKIT_LEARNS_TYPES)
@pytest.mark.parametrize("init_params", ["kmeans", "random"])
def test_starts_are_scikit_learns(covariance_type, init_params):
    X, _ = blobs(2000, 3, 4, seed=3, spread=8.0)
    settings = {
        "n_components": 4, "covariance_type": covariance_type, "init_params": init_params,
        "max_iter": 1, "random_state": 3,
    }  # fmt: skip
    ours = fit(X, **settings)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = SklearnGaussianMixture(**settings).fit(X)
    for mine, his in zip(parameters(ours), parameters(theirs), strict=True):
        assert distance(mine, his) < 1e-9


@pytest.mark.parametrize("init_params", ["k-means++", "random_from_data"])
def test_starts_from_single_rows_are_scikit_learns(init_params):
    # not tied: scikit-learn's first tied covariance then sums all rows over k of them
    X, _ = blobs(2000, 3, 4, seed=3, spread=8.0)
    settings = {"n_components": 4, "init_params": init_params, "max_iter": 1, "random_state": 3}
    ours = fit(X, **settings)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = SklearnGaussianMixture(**settings).fit(X)
    for mine, his in zip(parameters(ours), parameters(theirs), strict=True):
        assert distance(mine, his) < 1e-9


@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
def test_single_precision_is_close_to_double(covariance_type):
    X, means = blobs(3000, 5, 3)
    start = start_of(X, means, covariance_type)
    settings = {"n_components": 3, "covariance_type": covariance_type, "tol": 0, "max_iter": 10}
    double = fit(X, **settings, **start)
    single = fit(X.astype(np.float32), **settings, **start)
    for name in ("weights_", "means_", "covariances_", "precisions_", "precisions_cholesky_"):
        assert getattr(single, name).dtype == np.float32
    for mine, reference in zip(parameters(single), parameters(double), strict=True):
        assert np.allclose(mine, reference, rtol=1e-3, atol=1e-3)
    assert single.score_samples(X.astype(np.float32)).dtype == np.float32
