"""Every registered start, and k-means next to scikit-learn's."""

import numpy as np
import pytest
from problems import COVARIANCE_TYPES, blobs
from sklearn.cluster import KMeans, kmeans_plusplus

from fastgmm.initialization import STARTS, Hard, StartRows, first_parameters
from fastgmm.initialization.kmeans import kmeans, kmeans_plus_plus


@pytest.fixture(params=sorted(STARTS))
def start(request):
    return STARTS[request.param]


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
def test_first_parameters_are_usable(start, covariance_type, weighted):
    X, _ = blobs(500, 3, 4)
    weights = np.random.default_rng(0).gamma(2.0, size=500) if weighted else None
    rows = StartRows(X + 1e7, weights)
    partition = start(rows, 4, np.random.RandomState(0), 2)
    parameters = first_parameters(partition, rows, 4, covariance_type, 1e-6, 1e-15)
    assert parameters.means.shape == (4, 3)
    assert (parameters.means > rows.rows.min(axis=0)).all()
    assert (parameters.means < rows.rows.max(axis=0)).all()
    assert 0 < parameters.weights.sum() < 1 + 1e-12
    assert np.isfinite(parameters.covariances).all()


def test_the_seed_decides(start):
    X, _ = blobs(500, 3, 4)
    rows = StartRows(X, None)

    def means(seed, n_threads=1):
        partition = start(rows, 4, np.random.RandomState(seed), n_threads)
        return first_parameters(partition, rows, 4, "full", 1e-6, 1e-15).means

    assert np.array_equal(means(0), means(0, n_threads=3))
    assert not np.array_equal(means(0), means(1))


def labels_of(partition, n):
    labels = np.full(n, -1)
    for k, rows in enumerate(partition.rows_of):
        labels[rows] = k
    return labels


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("weighted", [False, True])
def test_kmeans_is_scikit_learns_on_separated_data(seed, weighted):
    X, _ = blobs(800, 2, 6, seed=seed, spread=20.0)
    weights = np.random.default_rng(seed).gamma(3.0, size=800) if weighted else None
    ours = kmeans(StartRows(X, weights), 6, np.random.RandomState(seed), 2)
    theirs = KMeans(6, n_init=1, random_state=np.random.RandomState(seed))
    assert isinstance(ours, Hard)
    assert np.array_equal(labels_of(ours, 800), theirs.fit(X, sample_weight=weights).labels_)


@pytest.mark.parametrize("seed", range(5))
def test_seeds_are_scikit_learns(seed):
    X, _ = blobs(800, 2, 6, seed=seed)
    ours = kmeans_plus_plus(StartRows(X, None), 6, np.random.RandomState(seed), 2)
    _, theirs = kmeans_plusplus(X, 6, random_state=np.random.RandomState(seed))
    assert [rows[0] for rows in ours.rows_of] == theirs.tolist()


def test_kmeans_of_few_distinct_rows_leaves_nobody_undefined():
    X = np.repeat([[0.0, 0.0], [1.0, 1.0]], 50, axis=0)
    rows = StartRows(X, None)
    partition = kmeans(rows, 4, np.random.RandomState(0), 1)
    parameters = first_parameters(partition, rows, 4, "full", 1e-6, 1e-15)
    assert np.isfinite(parameters.means).all()
    assert (np.diagonal(parameters.covariances, axis1=1, axis2=2) > 0).all()
