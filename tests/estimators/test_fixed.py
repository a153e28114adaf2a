"""Parameters that stay: the others are the textbook's, the likelihood rises, nobody's bits move."""

from itertools import combinations

import numpy as np
import pytest
from problems import (
    COVARIANCE_TYPES,
    blobs,
    covariances_of,
    distance,
    fingerprint,
    fit,
    parameters,
    start_of,
)
from reference import em
from sklearn.base import clone

from fastgmm import GaussianMixture
from fastgmm.parameters import NAMES

CHOICES = [choice for m in (1, 2) for choice in combinations(NAMES, m)]
X, MEANS = blobs(700, 3, 3)

every_shape = pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
every_choice = pytest.mark.parametrize("fixed", CHOICES, ids="+".join)


def given(covariance_type):
    return {"n_components": 3, "covariance_type": covariance_type, "tol": 0,
            **start_of(X, MEANS, covariance_type)}  # fmt: skip


@every_shape
@every_choice
def test_the_others_are_the_textbooks(covariance_type, fixed):
    start = given(covariance_type)
    covariances = covariances_of(start, covariance_type)
    weights = np.random.default_rng(0).gamma(2.0, size=len(X))
    model = fit(X, weights, max_iter=6, fixed=fixed, **start)
    *expected, bounds = em(
        X, start["weights_init"], MEANS, covariances, covariance_type, 6,
        sample_weight=weights, fixed=fixed,
    )  # fmt: skip
    for name, mine, textbook in zip(NAMES, parameters(model), expected, strict=True):
        assert distance(mine, textbook) < 1e-10, name
    assert distance(model.lower_bounds_, bounds) < 1e-10


@every_shape
@every_choice
def test_the_likelihood_never_falls(covariance_type, fixed):
    model = fit(X, max_iter=60, reg_covar=0, fixed=fixed, **given(covariance_type))
    rises = np.diff(model.lower_bounds_)
    # terms are up to seven times as large as their mean, which errs by up to 9 eps here
    assert rises.min() > -12 * np.finfo(float).eps * abs(model.lower_bound_)
    assert rises[0] > 0


@every_shape
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_what_is_fixed_keeps_its_bits(covariance_type, dtype):
    settings, rows = given(covariance_type), X.astype(dtype)
    start = fit(rows, max_iter=0, **settings)._exact
    assert np.array_equal(start.means, MEANS)
    for fixed in CHOICES:
        model = fit(rows, max_iter=2, fixed=fixed, **settings)
        for name, exact, value in zip(NAMES, model._exact, start, strict=True):
            assert np.array_equal(exact, value) == (name in fixed)


@pytest.mark.parametrize("apart", [1.0, 1e8])
def test_means_kept_far_from_their_rows_widen_the_covariances(apart):
    mean = X.mean(axis=0) + apart
    model = fit(X, fixed="means", means_init=[mean], max_iter=3, reg_covar=0)
    expected = (X - mean).T @ (X - mean) / len(X)
    np.testing.assert_allclose(model.covariances_[0], expected, rtol=1e-12)


def test_fixed_parameters_are_not_counted():
    for covariance_type in COVARIANCE_TYPES:
        start = given(covariance_type)
        free = fit(X, max_iter=1, **start)
        numbers = {"weights": 2, "means": 9}
        numbers["covariances"] = free._n_parameters() - 11
        for fixed in CHOICES:
            model = fit(X, max_iter=1, fixed=fixed, **start)
            expected = sum(number for name, number in numbers.items() if name not in fixed)
            assert model._n_parameters() == expected
            assert model.aic(X) == pytest.approx(2 * expected - 2 * len(X) * model.score(X))


def test_values_come_from_a_model_labels_or_a_function():
    first = fit(X, n_components=3, random_state=0)
    again = clone(first).set_params(fixed=["covariances"], warm_start=True)
    known = GaussianMixture.from_parameters(*parameters(first))
    known.set_params(fixed=("covariances",), warm_start=True).fit(X + 0.1)
    np.testing.assert_array_equal(known.covariances_, first.covariances_)
    assert not np.array_equal(known.means_, first.means_)
    with pytest.raises(ValueError, match="keeps the covariances that a fit starts with"):
        again.fit(X)
    labels = np.where(X[:, 0] > np.median(X[:, 0]), 1, -1)
    labels[X[:, 1] > np.median(X[:, 1])] = 0
    for init_params in (labels, lambda rows, n_components, random_state: labels):
        model = fit(X, n_components=2, init_params=init_params, fixed=("weights", "means"))
        shares = np.array([np.mean(labels == 0), np.mean(labels == 1)])
        np.testing.assert_allclose(model.weights_, shares / shares.sum(), rtol=1e-12)
        np.testing.assert_allclose(model.means_[1], X[labels == 1].mean(axis=0), rtol=1e-9)


def test_bits_do_not_depend_on_threads():
    rows, means = blobs(20_000, 8, 5)
    settings = {"n_components": 5, "means_init": means, "fixed": "means", "max_iter": 4,
                "random_state": 0}  # fmt: skip
    assert fingerprint(fit(rows, n_threads=1, **settings)) == fingerprint(
        fit(rows, n_threads=3, **settings)
    )


def test_covariances_that_are_kept_get_no_ridge():
    tiny = {"n_components": 3, "means_init": MEANS, "precisions_init": [np.eye(3) * 1e8] * 3}
    model = fit(X, reg_covar=1.0, max_iter=2, fixed="covariances", random_state=0, **tiny)
    np.testing.assert_allclose(model.covariances_, [np.eye(3) * 1e-8] * 3, rtol=1e-12)
    assert model.collapsed_.tolist() == []


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"fixed": "means"}, "keeps the means .* set means_init"),
        ({"fixed": ("weights", "means"), "means_init": MEANS}, "keeps the weights"),
        ({"fixed": NAMES, **start_of(X, MEANS, "full")}, "leaves nothing to fit"),
        ({"fixed": "means", "means_init": MEANS, "on_collapse": "reseed"}, "components anew"),
        ({"fixed": ("mean",)}, "The 'fixed' parameter of GaussianMixture must be a tuple of str"),
        ({"fixed": 1}, "'weights', 'means', 'covariances'"),
    ],
)  # fmt: skip
def test_what_cannot_be_kept_is_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        GaussianMixture(3, **settings).fit(X)
