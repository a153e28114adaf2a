"""Worst-explained rows: the same whatever the cut, ties included; groups of equal size."""

import numpy as np
import pytest

from fastgmm.covariance import FAMILIES
from fastgmm.executors import ThreadExecutor
from fastgmm.initialization.gathering import smallest
from fastgmm.initialization.reseeding import WorstRows, groups
from fastgmm.parameters import Parameters
from fastgmm.sources import ArraySource

RNG = np.random.default_rng(0)
# half of the rows come several times: equal log densities
X = np.repeat(RNG.normal(size=(1000, 3)), RNG.integers(1, 4, size=1000), axis=0)
DENSITY = FAMILIES["diag"].prepare(
    Parameters(np.ones(1), np.zeros((1, 3)), np.ones((1, 3))), np.dtype(float)
)


def worst(limit, weights=None, n_threads=1, chunk_size=None):
    numbered = ThreadExecutor(n_threads).place(ArraySource(X, weights), chunk_size)
    (state,) = numbered.reduce([WorstRows(DENSITY, limit)])
    numbered.close()
    return np.concatenate(state.rows), np.concatenate(state.weights)


@pytest.mark.parametrize("limit", [1, 2, 50, 777, 5000])
def test_the_worst_rows_do_not_depend_on_blocks_or_threads(limit):
    distances = (X**2).sum(axis=1)
    order = np.argsort(-distances, kind="stable")[:limit]
    expected = X[np.sort(order)]
    for n_threads, chunk_size in ((1, None), (2, 7), (3, 128), (2, 1000)):
        rows, weights = worst(limit, None, n_threads, chunk_size)
        np.testing.assert_array_equal(rows, expected)
        assert (weights == 1.0).all()


def test_rows_of_weight_zero_are_nobodys_concern():
    weights = np.where((X**2).sum(axis=1) > 4.0, 0.0, 2.5)
    for chunk_size in (None, 100):
        rows, found = worst(50, weights, 2, chunk_size)
        assert (rows**2).sum(axis=1).max() <= 4.0
        assert (found == 2.5).all()
    assert len(worst(5000, weights)[0]) == np.count_nonzero(weights)


def test_of_equal_keys_the_first_are_the_smallest():
    keys = np.array([3.0, 1.0, 2.0, 1.0, 2.0, 2.0, 0.0])
    assert smallest(keys, 4).tolist() == [1, 2, 3, 6]
    assert smallest(keys, 9).tolist() == list(range(7))


@pytest.mark.parametrize("n_groups", [1, 2, 3, 7, 64])
def test_groups_are_of_equal_size_and_hold_every_row_once(n_groups):
    rows = RNG.standard_cauchy(size=(400, 3)) * [1e-9, 1.0, 1e150]
    cut = groups(rows, n_groups, np.array([1e-9, 1.0, 0.0]))
    assert sorted(np.concatenate(cut).tolist()) == list(range(400))
    sizes = [len(group) for group in cut]
    assert max(sizes) - min(sizes) <= 1
    assert all((np.diff(group) > 0).all() for group in cut)


def test_groups_lie_apart():
    rows = RNG.normal(size=(300, 3))
    rows[:, 1] += 50.0 * (np.arange(300) % 3)
    rows[:, 2] *= 1e6
    for group in groups(rows, 3, np.array([1.0, 1.0, 1e6])):
        assert len(set((group % 3).tolist())) == 1
