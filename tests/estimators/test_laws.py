"""Laws of EM that hold whatever the data: weights, shifts, monotonicity, company, far starts."""

import re

import numpy as np
import pytest
from problems import (
    COVARIANCE_TYPES,
    blobs,
    constants_of,
    distance,
    fingerprint,
    fit,
    parameters,
    start_of,
)
from reference import as_matrices, from_matrices, m_step

from fastgmm import GaussianMixture, em, select
from fastgmm.covariance import FAMILIES
from fastgmm.exceptions import DataError
from fastgmm.executors import ThreadExecutor
from fastgmm.initialization import START_NAMES, STARTS
from fastgmm.sources import ArraySource

every_shape = pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)


def farthest(a, b):
    return max(distance(x, y) for x, y in zip(parameters(a), parameters(b), strict=True))


@every_shape
def test_integer_weights_are_repeated_rows(covariance_type):
    X, means = blobs(700, 3, 3)
    counts = np.random.default_rng(0).integers(0, 5, size=len(X))
    settings = {"n_components": 3, "covariance_type": covariance_type, "tol": 0,
                **start_of(X, means, covariance_type)}  # fmt: skip
    for n_iter, limit in ((1, 1e-12), (50, 1e-10)):
        weighted = fit(X, counts, max_iter=n_iter, **settings)
        repeated = fit(np.repeat(X, counts, axis=0), max_iter=n_iter, **settings)
        assert farthest(weighted, repeated) < limit
        assert weighted.lower_bound_ == pytest.approx(repeated.lower_bound_, rel=1e-12)
    long = np.repeat(X, counts, axis=0)
    for method in ("score", "aic", "bic"):
        mine = getattr(weighted, method)(X, sample_weight=counts)
        assert mine == pytest.approx(getattr(repeated, method)(long), rel=1e-12)
    labels = GaussianMixture(max_iter=300, **settings | {"tol": 1e-3}).fit_predict(
        X, sample_weight=counts
    )
    assert np.array_equal(labels, fit(X, counts, **settings | {"tol": 1e-3}).predict(X))


@every_shape
@pytest.mark.parametrize("factor", [1e-6, 1e6])
def test_the_unit_of_weights_does_not_matter(covariance_type, factor):
    X, means = blobs(700, 3, 3)
    weights = np.random.default_rng(0).gamma(2.0, size=len(X))
    settings = {"n_components": 3, "covariance_type": covariance_type, "max_iter": 30,
                **start_of(X, means, covariance_type)}  # fmt: skip
    a, b = fit(X, weights, **settings), fit(X, weights * factor, **settings)
    assert farthest(a, b) < 1e-11
    assert a.n_iter_ == b.n_iter_


@every_shape
@pytest.mark.parametrize("factor", [2.0**-46, 2.0**46])
def test_powers_of_two_do_not_change_a_bit(covariance_type, factor):
    X, means = blobs(700, 3, 3)
    X, weights = X.astype(np.float32), np.random.default_rng(0).gamma(2.0, size=700)
    settings = {"n_components": 3, "covariance_type": covariance_type, "max_iter": 5, "tol": 0,
                **start_of(X, means, covariance_type)}  # fmt: skip
    assert farthest(fit(X, weights, **settings), fit(X, factor * weights, **settings)) == 0.0


@pytest.mark.parametrize("weight", [1e-40, 1e-16, 1e16, 1e40])
def test_weights_that_single_precision_cannot_add_up_are_refused(weight):
    X = blobs(700, 3, 3)[0]
    with pytest.raises(DataError, match="which float32 cannot add up: multiply all of sample_w"):
        fit(X.astype(np.float32), np.full(700, weight), n_components=3)
    fit(X, np.full(700, weight), n_components=3)
    with pytest.raises(DataError, match="which float64 cannot add up"):
        fit(X, np.full(700, weight**7), n_components=3)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("init_params", [*STARTS, "labels", "responsibilities"])
def test_rows_of_weight_zero_start_nothing(init_params, dtype):
    X, _ = blobs(700, 3, 3)
    nothing = np.sort(np.random.default_rng(0).choice(len(X) + 50, 50, replace=False))
    rows = np.full((len(X) + 50, 3), 1e20, dtype)
    weights = np.ones(len(rows))
    weights[nothing] = 0.0
    rows[weights > 0] = X
    given = {"labels": np.arange(len(rows)) % 3, "responsibilities": np.ones((len(rows), 3))}
    given["responsibilities"][:, 1] = np.arange(len(rows))
    given["responsibilities"] /= given["responsibilities"].sum(axis=1, keepdims=True)
    settings = {"n_components": 3, "random_state": 0, "chunk_size": 100, "max_iter": 3}
    start = given.get(init_params, init_params)
    with_them = fit(rows, weights, **settings, init_params=start)
    start = start if isinstance(start, str) else start[weights > 0]
    without = fit(X.astype(dtype), np.ones(len(X)), **settings, init_params=start)
    assert farthest(with_them, without) < (1e-10 if dtype == np.float64 else 1e-4)


def test_too_few_rows_of_positive_weight():
    X, _ = blobs(700, 3, 3)
    weights = np.zeros(len(X))
    weights[:2] = 1.0
    for name in START_NAMES:
        with pytest.raises(DataError, match="Only 2 rows have a positive weight: too few for 3"):
            GaussianMixture(3, init_params=name).fit(X, sample_weight=weights)


@every_shape
def test_rows_of_weight_zero_do_not_matter(covariance_type):
    X, means = blobs(700, 3, 3)
    others = np.random.default_rng(0).normal(scale=20.0, size=(300, 3))
    settings = {"n_components": 3, "covariance_type": covariance_type, "max_iter": 30, "tol": 0,
                **start_of(X, means, covariance_type)}  # fmt: skip
    both = fit(np.vstack([X, others]), np.repeat([1.0, 0.0], [700, 300]), **settings)
    assert farthest(both, fit(X, **settings)) < 1e-12


@every_shape
@pytest.mark.parametrize("method", ["score", "aic", "bic", "icl"])
def test_rows_of_weight_zero_do_not_matter_to_scores_however_far(covariance_type, method):
    X, means = blobs(700, 3, 3)
    model = fit(X, covariance_type=covariance_type, n_components=3, max_iter=3, means_init=means)
    both, weights = np.vstack([X, np.full((2, 3), 1e200)]), np.repeat([1.0, 0.0], [700, 2])
    expected = getattr(model, method)(X)
    assert getattr(model, method)(both, sample_weight=weights) == pytest.approx(expected, rel=1e-12)
    single = np.minimum(both, 1e30).astype(np.float32), weights
    expected = getattr(model, method)(X.astype(np.float32))
    assert getattr(model, method)(single[0], sample_weight=weights) == pytest.approx(expected)


LIGHT = (
    r"mean weight of the rows is 0\.00143, but .*: multiply them so that they sum to that number"
)


def test_light_rows_are_warned_of_where_weights_are_counted():
    X, _ = blobs(700, 3, 3)
    light, settings = np.full(700, 1 / 700), {"n_components": 3, "random_state": 0, "max_iter": 500}
    with pytest.warns(UserWarning, match=LIGHT) as told:
        model = GaussianMixture(**settings, tol="statistical").fit(X, sample_weight=light)
    assert len(told) == 1
    assert told[0].filename == __file__
    for criterion in (model.aic, model.bic, model.icl):
        with pytest.warns(UserWarning, match=LIGHT) as told:
            criterion(X, sample_weight=light)
        assert len(told) == 1
        assert told[0].filename == __file__
    for tol in (1e-3, "statistical"):
        with pytest.warns(UserWarning, match=LIGHT) as told:
            select(X, 2, "diag", tol=tol, n_init=1, max_iter=500, sample_weight=light)
        assert len(told) == 1
        assert told[0].filename == __file__


def test_rows_that_weigh_enough_are_not_warned_of():
    """Warnings are errors: absent rows count for nothing, normalised weights for the rows."""
    X, _ = blobs(700, 3, 3)
    draws = np.random.default_rng(0).gamma(2.0, size=700)
    for weights in (np.arange(700) % 2, draws / draws.mean(), np.full(700, 3)):
        settings = {"n_components": 3, "random_state": 0, "max_iter": 2000}
        model = GaussianMixture(**settings, tol="statistical").fit(X, sample_weight=weights)
        model.bic(X, sample_weight=weights)
    GaussianMixture(3, random_state=0, tol=1e-2).fit(X, sample_weight=draws / 1e3).score(
        X, sample_weight=draws / 1e3
    )


@every_shape
def test_the_likelihood_never_falls(covariance_type):
    X, means = blobs(400, 2, 3)
    model = fit(
        X, n_components=3, covariance_type=covariance_type, reg_covar=0, tol=0, max_iter=600,
        **start_of(X, means, covariance_type),
    )  # fmt: skip
    rises = np.diff(model.lower_bounds_)
    # at the maximum the last bits of a sum of 400 logarithms may go either way: each is the widest
    # component's log density, here down to -14, and what the others' are above it
    assert rises.min() > -8 * np.finfo(float).eps * abs(model.lower_bound_)
    assert rises[:8].min() > 0


@every_shape
def test_shifted_rows_give_shifted_means_and_the_same_covariances(covariance_type):
    X, means = blobs(2000, 3, 3)
    start = start_of(X, means, covariance_type)
    settings = {"n_components": 3, "covariance_type": covariance_type, "max_iter": 20, "tol": 0}
    near = fit(X, **settings, **start)
    far = fit(X + 1e7, **settings, **{**start, "means_init": means + 1e7})
    assert np.abs(near.covariances_ - far.covariances_).max() < 1e-6
    assert np.abs(near.means_ - (far.means_ - 1e7)).max() < 1e-6


@every_shape
def test_scaled_rows_give_scaled_parameters(covariance_type):
    X, means = blobs(2000, 3, 3)
    start = start_of(X, means, covariance_type)
    settings = {"n_components": 3, "covariance_type": covariance_type, "max_iter": 20, "tol": 0}
    small = fit(X, reg_covar=1e-6, **settings, **start)
    start |= {"means_init": means * 1024, "precisions_init": start["precisions_init"] / 2**20}
    large = fit(X * 1024, reg_covar=1e-6 * 2**20, **settings, **start)
    assert distance(large.covariances_ / 2**20, small.covariances_) < 1e-12
    assert distance(large.means_ / 1024, small.means_) < 1e-11  # one of them is 0.003


@every_shape
def test_a_start_far_away_costs_no_digits(covariance_type):
    X = np.random.default_rng(0).normal(size=(5000, 3))
    model = fit(X, covariance_type=covariance_type, means_init=[[1e8] * 3], reg_covar=0, max_iter=1)
    expected = sample_covariance(X, covariance_type)
    found = as_matrices(model.covariances_, covariance_type, 1, 3)[0]
    assert np.abs(found - expected).max() < 1e-6


@pytest.mark.parametrize("d", [2, 8, 9])
@pytest.mark.parametrize(("dtype", "rtol"), [(np.float64, 1e-9), (np.float32, 1e-6)])
@every_shape
def test_components_that_become_narrow_at_once_keep_their_digits(covariance_type, dtype, rtol, d):
    low = np.arange(200) < 100
    X = 1e-3 * np.random.default_rng(d).normal(size=(200, d))
    X = (X + np.where(low, -30.0, 30.0)[:, np.newaxis]).astype(dtype)
    wide = from_matrices(np.tile(np.eye(d), (2, 1, 1)), covariance_type)
    means = np.tile([[-30.0], [30.0]], d)
    narrow = fit(
        X, n_components=2, covariance_type=covariance_type, tol=0, max_iter=1, reg_covar=1e-30,
        weights_init=[0.5, 0.5], means_init=means, precisions_init=wide,
    )  # fmt: skip
    r = np.stack([low, ~low], axis=1).astype(float)
    expected = m_step(X.astype(float), r, np.ones(200), covariance_type, 0.0)
    # in units of the variances, whatever these are
    assert np.abs(narrow.covariances_ - expected[2]).max() < rtol * expected[2].max()


def sample_covariance(X, covariance_type):
    """As far as the type can have it."""
    matrix = np.cov(X.T, bias=True)
    if covariance_type.endswith("diag"):
        return np.diag(np.diag(matrix))
    if covariance_type.endswith("spherical"):
        return np.eye(len(matrix)) * np.trace(matrix) / len(matrix)
    return matrix


@every_shape
def test_one_component_is_the_sample_covariance(covariance_type):
    X = blobs(501, 5, 2)[0]
    model = GaussianMixture(covariance_type=covariance_type, reg_covar=0).fit(X)
    expected = sample_covariance(X, covariance_type)
    dense = as_matrices(model.covariances_, covariance_type, 1, 5)[0]
    np.testing.assert_allclose(dense, expected, rtol=0, atol=1e-13)
    np.testing.assert_allclose(model.means_[0], X.mean(axis=0), rtol=0, atol=1e-14)


def test_company_does_not_change_a_bit():
    X, _ = blobs(9000, 3, 3)
    placement = ThreadExecutor(2).place(ArraySource(X))
    family_start = {
        name: em.Start(name, fit(X, n_components=k, covariance_type=name, max_iter=1)._exact)
        for name, k in zip(COVARIANCE_TYPES, (3, 2, 5, 40, 4, 6), strict=True)
    }
    settings = em.Settings(tol=1e-4, max_iter=30, ridge=np.full(3, 1e-6))
    data = constants_of(X)
    together = em.run(placement, list(family_start.values()), settings, data, lambda _: None)
    for start, shared in zip(family_start.values(), together, strict=True):
        (alone,) = em.run(placement, [start], settings, data, lambda _: None)
        assert alone.lower_bounds == shared.lower_bounds
        for mine, other in zip(alone.parameters, shared.parameters, strict=True):
            assert np.array_equal(mine, other)
    placement.close()


@every_shape
def test_starts_share_passes_and_the_best_is_kept(covariance_type):
    X, _ = blobs(3000, 2, 6, spread=2.0)
    settings = {"n_components": 6, "covariance_type": covariance_type, "init_params": "random",
                "max_iter": 15, "random_state": 0}  # fmt: skip
    many = fit(X, n_init=4, **settings)
    random_state = np.random.RandomState(0)
    singles = [fit(X, **settings | {"random_state": random_state}) for _ in range(4)]
    best = max(singles, key=lambda model: model.lower_bound_)
    assert fingerprint(many) == fingerprint(best)


@every_shape
def test_warm_start_goes_on_where_it_stopped(covariance_type):
    X, means = blobs(1000, 2, 3)
    start = start_of(X, means, covariance_type)
    settings = {"n_components": 3, "covariance_type": covariance_type, "tol": 0, **start}
    whole = fit(X, max_iter=6, **settings)
    steps = GaussianMixture(max_iter=2, warm_start=True, **settings)
    for _ in range(3):
        with pytest.warns(UserWarning, match="did not converge"):
            steps.fit(X)
    assert farthest(steps, whole) == 0
    steps.means_ = steps.means_ + 0.5  # a change by hand counts
    with pytest.warns(UserWarning, match="did not converge"):
        steps.set_params(max_iter=1).fit(X)
    assert farthest(steps, whole) > 1e-3


@every_shape
def test_a_warm_start_of_another_type_says_which_shapes_differ(covariance_type):
    X, _ = blobs(100, 3, 3)
    model = fit(X, n_components=3, covariance_type=covariance_type, max_iter=1, warm_start=True)
    for other in set(COVARIANCE_TYPES) - {covariance_type}:
        model.set_params(covariance_type=other)
        shapes = FAMILIES[covariance_type].shape(3, 3), FAMILIES[other].shape(3, 3)
        there, here = (re.escape(f"shape {shape} of covariance_type ") for shape in shapes)
        message = f"covariances_ has {there}'{covariance_type}', but {here}'{other}' is needed: set"
        with pytest.raises(ValueError, match=message):
            model.fit(X)


def test_no_iterations_give_the_start():
    X, means = blobs(500, 2, 3)
    model = GaussianMixture(3, means_init=means.tolist(), max_iter=0, random_state=0).fit(X)
    assert np.array_equal(model.means_, means)
    assert model.n_iter_ == 0
    assert not model.converged_
