"""The M-step's regularisation: units of columns, constant columns, ridges lost in rounding."""

import pickle

import numpy as np
import pytest
from problems import COVARIANCE_TYPES, blobs, covariances_of, distance, fit, start_of

from fastgmm.covariance import FAMILIES, triangles
from fastgmm.exceptions import DataError, IllDefinedCovarianceError
from fastgmm.maximization import REGULARIZATIONS, prepared
from fastgmm.parameters import Parameters

every_shape = pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
UNITS = np.array([2.0**-30, 1.0, 2.0**30])


@pytest.mark.parametrize("covariance_type", ["full", "tied", "diag"])
def test_relative_regularisation_does_not_know_the_units_of_columns(covariance_type):
    X, means = blobs(2000, 3, 3)
    start = start_of(X, means, covariance_type)
    covariances = covariances_of(start, covariance_type)
    scale = {"full": np.outer(UNITS, UNITS), "tied": np.outer(UNITS, UNITS), "diag": UNITS**2}
    settings = {"n_components": 3, "covariance_type": covariance_type, "reg_covar": 1e-2,
                "regularization": "relative", "tol": 1e-6, "max_iter": 30}  # fmt: skip
    plain = fit(X, **settings, **start)
    scaled = fit(X * UNITS, **settings, **start | {
        "means_init": means * UNITS,
        "precisions_init": start["precisions_init"] / scale[covariance_type],
    })  # fmt: skip
    assert distance(scaled.weights_, plain.weights_) < 1e-10
    assert distance(scaled.means_ / UNITS, plain.means_) < 1e-10
    back = scaled.covariances_ / scale[covariance_type]
    assert distance(back, plain.covariances_) < 1e-10
    assert plain.n_iter_ == scaled.n_iter_
    assert covariances.shape == back.shape


@every_shape
def test_relative_is_absolute_for_columns_of_unit_variance(covariance_type):
    X, means = blobs(1000, 3, 3)
    X = (X - X.mean(axis=0)) / X.std(axis=0)
    settings = {"n_components": 3, "covariance_type": covariance_type, "means_init": means / 4,
                "reg_covar": 1e-3, "random_state": 0}  # fmt: skip
    a, b = (fit(X, regularization=name, **settings) for name in REGULARIZATIONS)
    assert distance(a.covariances_, b.covariances_) < 1e-8


def test_a_constant_column_counts_as_of_variance_one():
    X, _ = blobs(500, 3, 2)
    X[:, 1] = 1e9 / 3
    model = fit(X, n_components=2, random_state=0, regularization="relative", reg_covar=1e-4)
    np.testing.assert_allclose(model.covariances_[:, 1, 1], 1e-4, rtol=1e-6)


def singular(covariance_type, size):
    """Components whose columns follow from one another, and round ones."""
    line = size * np.ones((3, 3))
    return {"full": np.stack([np.eye(3), line, line]), "tied": line}[covariance_type]


@pytest.mark.parametrize("covariance_type", ["full", "tied"])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_a_ridge_lost_in_rounding_is_made_up_for(covariance_type, dtype):
    family, dtype = FAMILIES[covariance_type], np.dtype(dtype)
    model = Parameters(np.full(3, 1 / 3), np.zeros((3, 3)), singular(covariance_type, 1e12))
    family.regularise(model.covariances, np.full((3, 3), 1e-6))
    before = model.covariances.copy()
    lifted, density, lift = prepared(family, model, np.full(3, 1e-6), dtype)
    assert 0 < lift < 1e4 * np.finfo(dtype).eps
    assert all(np.isfinite(part).all() for part in (*lifted, density.log_scale))
    np.testing.assert_array_equal(model.covariances, before)
    np.testing.assert_allclose(lifted.covariances, before, rtol=1e4 * np.finfo(dtype).eps)
    if covariance_type == "full":
        np.testing.assert_array_equal(lifted.covariances[0], before[0])
    with pytest.raises(IllDefinedCovarianceError) as caught:
        prepared(family, model, np.zeros(3), dtype)
    assert ("passing float64 data" in str(caught.value)) == (dtype == np.float32)
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


def test_all_components_that_need_it_are_lifted_together(monkeypatch):
    calls = []
    whiten = triangles.whiten

    def counted(*arguments):
        calls.append(arguments)
        return whiten(*arguments)

    monkeypatch.setattr(triangles, "whiten", counted)
    rounds = set()
    for k in (1, 2, 40):
        calls.clear()
        model = Parameters(np.full(k, 1 / k), np.zeros((k, 3)), np.full((k, 3, 3), 1e12))
        _, _, lift = prepared(FAMILIES["full"], model, np.full(3, 1e-6), np.dtype(float))
        assert lift > 0
        rounds.add(len(calls))
    assert len(rounds) == 1


@every_shape
def test_what_can_be_inverted_is_left_alone(covariance_type):
    X, means = blobs(10, 3, 2)
    start = start_of(X, means, covariance_type)
    model = Parameters(start["weights_init"], means, covariances_of(start, covariance_type))
    again, _, lift = prepared(FAMILIES[covariance_type], model, np.zeros(3), np.dtype(float))
    assert again is model
    assert lift == 0.0


def test_numbers_beyond_single_precision_are_an_error_with_advice():
    X = (1e-25 * blobs(300, 3, 2)[0]).astype(np.float32)
    settings = {"n_components": 2, "covariance_type": "diag", "random_state": 0}
    assert np.isfinite(fit(X, **settings).score(X))
    with pytest.raises(DataError, match=r"float32 has no such number.* scale the columns, or pass"):
        fit(X, regularization="relative", **settings)
