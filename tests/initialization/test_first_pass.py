"""The first pass: what it refuses, and a sample that is the same for any cut of the rows."""

import dataclasses

import numpy as np
import pytest

from fastgmm.exceptions import DataError
from fastgmm.executors import ThreadExecutor
from fastgmm.initialization import first_pass
from fastgmm.initialization.first_pass import sampling, survey
from fastgmm.sources import ArraySource

X = np.arange(6000.0).reshape(3000, 2)


def place(rows, weights=None, n_threads=2, chunk_size=None):
    return ThreadExecutor(n_threads).place(ArraySource(rows, weights), chunk_size)


def sample(n_threads=1, chunk_size=None, weights=None, seed=7, limit=100):
    work = sampling(limit, len(X), weights is not None, seed)
    (state,) = place(X, weights, n_threads, chunk_size).reduce([work])
    return work.material(state, False).rows[:, 0]


@pytest.mark.parametrize("weights", [None, np.random.default_rng(0).gamma(1.0, size=3000)])
def test_the_sample_does_not_depend_on_blocks_or_threads(weights):
    expected = sample(weights=weights)
    assert len(expected) == 100
    assert (np.diff(expected) > 0).all()
    for n_threads in (1, 2, 5):
        for chunk_size in (7, 128, 1000, 5000):
            again = sample(n_threads, chunk_size, weights)
            assert np.array_equal(again, expected)


def test_the_sample_is_spread_over_the_rows_and_differs_by_seed():
    drawn = sample(limit=1000)
    # uniform over 3000 rows: mean 1500 with a standard error of 22 rows
    assert abs(drawn.mean() / 2 - 1500) < 5 * 22
    assert len(np.intersect1d(drawn, sample(limit=1000, seed=8))) < 500


def test_the_bound_changes_nothing_but_memory():
    work = sampling(100, len(X), False, 7)
    assert 100 / 3000 < work.bound < 300 / 3000
    (state,) = place(X).reduce([dataclasses.replace(work, bound=np.inf)])
    assert np.array_equal(work.material(state, False).rows[:, 0], sample())


def test_rows_are_drawn_in_proportion_to_their_weight():
    weights = np.where(np.arange(3000) < 1500, 4.0, 1.0)
    drawn = sum((sample(weights=weights, seed=s, limit=50) < 3000).sum() for s in range(40))
    # 2000 draws at a chance of 0.8: standard error 18
    assert abs(drawn - 1600) < 5 * 18
    weights[:2000] = 0.0
    assert sample(weights=weights).min() >= 4000


def test_small_data_are_gathered_whole(monkeypatch):
    found = survey(place(X, chunk_size=100), 2, np.random.RandomState(0))
    assert np.array_equal(found.start_rows(2).rows, X)
    assert found.constants.total_weight == 3000
    state = np.random.RandomState(0)
    survey(place(X), 2, state)
    assert state.uniform() == np.random.RandomState(0).uniform()  # no draw was used up
    monkeypatch.setattr(first_pass, "WHOLE_ELEMENTS", 5000)
    monkeypatch.setattr(first_pass, "SAMPLE_ELEMENTS", 400)
    found = survey(place(X, chunk_size=100), 2, np.random.RandomState(0))
    assert found.start_rows(2).rows.shape == (200, 2)


def with_value(value, row, column):
    bad = X.copy()
    bad[row, column] = value
    return bad


@pytest.mark.parametrize("chunk_size", [None, 10])
@pytest.mark.parametrize(
    ("rows", "weights", "message"),
    [
        (
            with_value(np.nan, 2345, 1),
            None,
            r"contains NaN: row 2345, column 1; missing=.drop. lets",
        ),
        (with_value(np.inf, 17, 0), None, r"contains infinity.*row 17, column 0"),
        (with_value(-np.inf, 17, 0), None, r"contains infinity.*row 17, column 0"),
        (X, np.where(np.arange(3000) == 99, -1.0, 1.0), r"sample_weight is -1.0 in row 99"),
        (X, np.where(np.arange(3000) == 99, np.nan, 1.0), r"sample_weight is nan in row 99"),
        (X, np.zeros(3000), "All weights are zero"),
        (X[:0], None, "0 sample"),
        (X[:1], None, "minimum of 2 is required"),
        (X[:3], None, "Expected n_samples >= n_components but got n_components = 5"),
    ],
)
def test_unusable_rows_are_named(rows, weights, message, chunk_size):
    with pytest.raises(DataError, match=message):
        survey(place(rows, weights, chunk_size=chunk_size), 5 if len(rows) == 3 else 1, None)
