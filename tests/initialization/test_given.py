"""Starts that the user hands over: labels, responsibilities, parameters, a function."""

import numpy as np
import pytest
from problems import COVARIANCE_TYPES, blobs, covariances_of, fit, parameters, start_of
from reference import m_step

from fastgmm import GaussianMixture

X, MEANS = blobs(700, 3, 3)
LABELS = np.argmin(((X[:, None] - MEANS) ** 2).sum(axis=2), axis=1)
RESPONSIBILITIES = np.random.default_rng(0).dirichlet(np.ones(3), size=len(X))

every_shape = pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)


def start(init_params, sample_weight=None, **settings):
    return fit(X, sample_weight, n_components=3, max_iter=0, init_params=init_params, **settings)


@every_shape
@pytest.mark.parametrize("weighted", [False, True])
def test_responsibilities_start_from_their_maximisation_step(covariance_type, weighted):
    weights = np.random.default_rng(1).gamma(2.0, size=len(X)) if weighted else None
    counted = np.ones(len(X)) if weights is None else weights
    one_hot = np.eye(3)[LABELS]
    for given, responsibilities in (
        (RESPONSIBILITIES, RESPONSIBILITIES),
        (LABELS, one_hot),
        (LABELS.tolist(), one_hot),
        (one_hot, one_hot),
    ):
        model = start(given, weights, covariance_type=covariance_type)
        expected = m_step(X, responsibilities, counted, covariance_type, 1e-6)
        for mine, textbook in zip(parameters(model), expected, strict=True):
            np.testing.assert_allclose(mine, textbook, rtol=1e-9, atol=1e-12)


@every_shape
def test_parameters_are_the_start(covariance_type):
    given = start_of(X, MEANS, covariance_type)
    covariances = covariances_of(given, covariance_type)
    triple = (given["weights_init"], given["means_init"], covariances)
    model = start(triple, covariance_type=covariance_type)
    for mine, theirs in zip(parameters(model), triple, strict=True):
        np.testing.assert_array_equal(mine, theirs)
    model = start("kmeans", covariance_type=covariance_type, **given)
    np.testing.assert_allclose(model.precisions_, given["precisions_init"], rtol=1e-12)
    settings = {"n_components": 3, "covariance_type": covariance_type, "max_iter": 5}
    np.testing.assert_allclose(
        fit(X, init_params=triple, **settings).means_,
        fit(X, **given, **settings).means_,
        rtol=1e-9,
    )
    moved = start(triple, covariance_type=covariance_type, means_init=MEANS + 1)
    np.testing.assert_array_equal(moved.means_, MEANS + 1)
    np.testing.assert_array_equal(moved.weights_, given["weights_init"])


def test_rows_may_begin_in_no_component():
    labels = np.where(np.arange(len(X)) % 2, LABELS, -1)
    model = start(labels)
    for k in range(3):
        np.testing.assert_allclose(model.means_[k], X[labels == k].mean(axis=0), rtol=1e-12)
    same = start(np.where(labels[:, None] == np.arange(3), 1.0, 0.0))
    np.testing.assert_allclose(same.means_, model.means_, rtol=1e-12)


def test_a_function_is_asked_for_each_start_with_the_fits_draws():
    asked = []

    def choose(rows, n_components, random_state):
        asked.append((rows.copy(), n_components))
        return random_state.randint(n_components, size=len(rows))

    model = fit(X, n_components=3, n_init=3, init_params=choose, random_state=5)
    assert len(asked) == 3
    assert all(np.array_equal(rows, X) and k == 3 for rows, k in asked)
    draws = np.random.RandomState(5)
    bounds = [
        fit(X, n_components=3, init_params=draws.randint(3, size=len(X))).lower_bound_
        for _ in range(3)
    ]
    assert model.lower_bound_ == max(bounds)


def test_what_is_given_is_one_start():
    model = fit(X, n_components=3, n_init=4, init_params=LABELS)
    assert {line.start for line in model.history_} == {0}


@pytest.mark.parametrize("init_params", ["kmeans", "random", "random_from_data", "k-means++"])
def test_starts_draw_the_same_whatever_their_number(init_params):
    settings = {"n_components": 3, "init_params": init_params, "random_state": 0, "max_iter": 3}
    many = fit(X, n_init=3, **settings).history_
    shared = np.random.RandomState(0)
    for i in range(3):
        alone = fit(X, **{**settings, "random_state": shared}).history_
        assert [line.lower_bound for line in alone] == [
            line.lower_bound for line in many if line.start == i
        ]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (LABELS[:-1], r"shape \(699,\).* for the 700 rows .* missing='drop' leaves out"),
        (LABELS[:, None, None], "give labels"),
        (np.array(["a"] * len(X)), r"no array of numbers \(but .* ndarray\) for the 700"),
        ([[0.0], [1.0, 2.0]], "no array of numbers .* type list"),
        (lambda rows, n_components, random_state: None, r"gives None \(a function that returns"),
        (lambda rows, n_components, random_state: {"means": 1}, "no array of numbers .* dict"),
        (lambda rows, n_components, random_state: "kmeans", "no array of numbers .* str"),
        (LABELS + 0.5, "not whole numbers"),
        (LABELS + 1, "from 1 to 3"),
        (LABELS - 2, "from -2 to 0"),
        (np.minimum(LABELS, 1), "no row to component 2"),
        (np.zeros((700, 3)), "no row to component 0: begin"),
        (RESPONSIBILITIES * [1.0, 0.0, 1.0], "no row to component 1: begin"),
        (RESPONSIBILITIES[:, :2], "responsibilities of 2 components"),
        (np.where(np.arange(700)[:, None] == 3, np.nan, RESPONSIBILITIES), "nan in row 3"),
        (RESPONSIBILITIES - 1, "not negative"),
        (7.0 * RESPONSIBILITIES, r"sum to 7 in row \d+: divide"),
        ((MEANS, MEANS), "a tuple of 2"),
        (([0.5, 0.5, 0.5], MEANS, MEANS), "should be normalized"),
        ((np.full(3, 1 / 3), MEANS, MEANS), "'covariances' should have the shape"),
        ({"a": 1}, "init_params"),
        (3, "init_params"),
    ],
)
def test_what_is_no_start_is_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        GaussianMixture(3, init_params=wrong).fit(X)


def test_models_forget_what_they_were_given_when_saved(tmp_path):
    model = start(LABELS)
    model.save(tmp_path / "model.npz")
    again = GaussianMixture.load(tmp_path / "model.npz")
    assert again.init_params == "kmeans"
    np.testing.assert_array_equal(again.means_, model.means_)


def test_a_start_of_single_rows_without_a_ridge_is_told_to_be_the_starts():
    with pytest.raises(ValueError, match=r"ill-defined .* another init_params"):
        GaussianMixture(3, init_params="k-means++", reg_covar=0.0, random_state=0).fit(X)
