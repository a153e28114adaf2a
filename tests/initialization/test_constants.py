"""Data constants: the variances of the columns, however the rows are cut."""

import numpy as np
import pytest

from fastgmm.executors import ThreadExecutor
from fastgmm.initialization import survey
from fastgmm.sources import ArraySource

X = np.random.default_rng(0).normal(size=(3000, 3)) * [1e-3, 1.0, 1e6] + 1e8


def constants(rows, weights=None, chunk_size=None, variances=True, scatter=False):
    placement = ThreadExecutor(2).place(ArraySource(rows, weights), chunk_size)
    found = survey(placement, 1, None, variances=variances, scatter=scatter)
    placement.close()
    assert found.gathered is None
    return found.constants


@pytest.mark.parametrize("chunk_size", [None, 1, 7, 1000])
def test_variances_do_not_cancel_far_from_the_origin(chunk_size):
    expected = (X - X[0]).var(axis=0)
    np.testing.assert_allclose(constants(X, None, chunk_size).variances, expected, rtol=1e-12)


@pytest.mark.parametrize("chunk_size", [None, 7])
def test_weights_are_frequencies(chunk_size):
    counts = np.random.default_rng(1).integers(0, 4, size=len(X)).astype(float)
    counts[:50] = 0.0
    found = constants(X, 0.5 * counts, chunk_size)
    repeated = np.repeat(X - X[0], counts.astype(int), axis=0)
    np.testing.assert_allclose(found.variances, repeated.var(axis=0), rtol=1e-12)
    assert found.total_weight == 0.5 * counts.sum()
    assert found.row_weight == found.total_weight / np.count_nonzero(counts)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_a_constant_column_has_no_variance_at_all(dtype):
    rows = np.column_stack([X[:, 2], np.full(len(X), 1e15 / 3)]).astype(dtype)
    found = constants(rows, None, 100).variances
    assert found[1] == 0.0
    assert found[0] > 0.0


def test_nobody_pays_for_what_is_not_asked():
    assert np.isnan(constants(X, variances=False).variances).all()


@pytest.mark.parametrize("chunk_size", [None, 7, 1000])
@pytest.mark.parametrize("weighted", [False, True])
def test_the_total_scatter_does_not_cancel_far_from_the_origin(chunk_size, weighted):
    weights = np.random.default_rng(1).integers(0, 4, size=len(X)).astype(float)
    weights[:50] = 0.0
    found = constants(X, weights if weighted else None, chunk_size, scatter=True).scatter
    w = weights if weighted else np.ones(len(X))
    away = X - X[0]
    mean = w @ away / w.sum()
    z = away - mean
    units = np.sqrt(w @ z**2)
    expected = (w * z.T) @ z
    np.testing.assert_allclose(
        found.matrix / np.outer(units, units), expected / np.outer(units, units), rtol=0, atol=1e-12
    )
    beyond = (found.origin - X[0]) + found.means
    np.testing.assert_allclose(beyond / units, mean / units, rtol=0, atol=1e-13)
    assert found.weight == w.sum()
