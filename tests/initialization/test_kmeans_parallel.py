"""k-means||: the same start however the rows are cut, as good as k-means from all rows."""

import numpy as np
import pytest
from problems import COVARIANCE_TYPES, blobs, fingerprint, fit, parameters
from reference import m_step

from fastgmm import open_dataset

X, _ = blobs(3000, 3, 6, spread=8.0)
SETTINGS = {"n_components": 6, "init_params": "k-means||", "random_state": 0}


def start(rows=X, weights=None, **settings):
    return fit(rows, weights, **{**SETTINGS, "max_iter": 0, **settings})


def inertia(rows, means):
    return ((rows[:, None] - means) ** 2).sum(axis=2).min(axis=1).sum()


@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
@pytest.mark.parametrize("weighted", [False, True])
def test_a_start_is_the_maximisation_step_of_a_partition(covariance_type, weighted):
    weights = np.random.default_rng(0).gamma(2.0, size=len(X)) if weighted else None
    model = start(X, weights, covariance_type=covariance_type)
    # Lloyd's iterations have ended: the means are those of the rows nearest to them
    labels = ((X[:, None] - model.means_) ** 2).sum(axis=2).argmin(axis=1)
    counted = np.ones(len(X)) if weights is None else weights
    expected = m_step(X, np.eye(6)[labels], counted, covariance_type, 1e-6)
    for mine, textbook in zip(parameters(model), expected, strict=True):
        np.testing.assert_allclose(mine, textbook, rtol=1e-9, atol=1e-9)


def test_bits_depend_on_the_grid_only(tmp_path):
    np.save(tmp_path / "rows.npy", X)
    expected = fingerprint(start(n_threads=1))
    for rows, n_threads in ((X, 3), (open_dataset(tmp_path / "rows.npy"), 2)):
        assert fingerprint(start(rows, n_threads=n_threads)) == expected
    assert fingerprint(start(random_state=1)) != expected


def test_the_rows_drawn_do_not_depend_on_the_grid():
    # sums round differently, nothing else does
    for chunk_size in (100, 1000):
        other = start(chunk_size=chunk_size)
        np.testing.assert_allclose(other.means_, start().means_, rtol=1e-12, atol=1e-12)


def test_it_is_as_good_as_kmeans_of_all_rows():
    ours = np.mean([inertia(X, start(random_state=s).means_) for s in range(5)])
    greedy = [inertia(X, start(random_state=s, init_params="kmeans").means_) for s in range(5)]
    assert ours < 1.1 * np.mean(greedy)


def test_starts_share_passes_and_are_the_same_alone():
    many = fit(X, **SETTINGS, n_init=3, max_iter=2).history_
    shared = np.random.RandomState(0)
    for i in range(3):
        alone = fit(X, **{**SETTINGS, "random_state": shared}, max_iter=2).history_
        assert [line.lower_bound for line in alone] == [
            line.lower_bound for line in many if line.start == i
        ]


def test_few_distinct_rows_leave_nobody_undefined():
    rows = np.repeat([[0.0, 0.0, 0.0], [1.0, 1.0, 1.0]], 50, axis=0)
    model = start(rows)
    assert np.isfinite(model.means_).all()
    assert np.isfinite(model.covariances_).all()


def test_rows_of_weight_zero_are_nobodys_start():
    weights = np.where(X[:, 0] > 0, 1.0, 0.0)
    model = start(X, weights)
    some = start(X[weights > 0])
    assert (model.means_[:, 0] > 0).all()
    assert inertia(X[weights > 0], model.means_) < 1.5 * inertia(X[weights > 0], some.means_)
    far = np.where(weights[:, np.newaxis] > 0, X, 1e100)
    assert np.allclose(start(far, weights).means_, model.means_, rtol=1e-12)
