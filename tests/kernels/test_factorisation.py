"""The parameter update against LAPACK."""

import numpy as np
import pytest

from fastgmm.covariance import triangles
from fastgmm.exceptions import IllDefinedCovarianceError
from fastgmm.executors.threads import ThreadExecutor
from fastgmm.kernels import bands
from fastgmm.sources import ArraySource


def matrices(k, d, seed=0):
    A = np.random.default_rng(seed).normal(size=(k, d, d + 2))
    return A @ A.transpose(0, 2, 1)


# within one panel of rows, one block of columns, at their edges and behind them
@pytest.mark.parametrize("d", [1, 2, 7, 8, 9, 16, 17, 40, 67])
def test_whitening_inverts_the_cholesky_factor(d):
    S = matrices(3, d)
    away = np.random.default_rng(0).normal(size=(3, d))
    whitening = triangles.whiten(S, 1.0, 1, np.dtype(float), away=away)
    packed, log_determinants = whitening.factors, whitening.log_determinants
    W = np.zeros((3, d, d))
    W[:, *np.tril_indices(d)] = packed
    np.testing.assert_allclose(W @ np.linalg.cholesky(S), [np.eye(d)] * 3, atol=1e-9)
    np.testing.assert_allclose(log_determinants, -0.5 * np.linalg.slogdet(S)[1], rtol=1e-12)
    np.testing.assert_array_equal(triangles.upper_factors(S), W.transpose(0, 2, 1))


@pytest.mark.parametrize("d", [1, 3, 8, 41])
@pytest.mark.parametrize("height", [1, 4, 6])
def test_biases_and_sharpness_are_of_the_factors(d, height):
    S = matrices(3, d)
    W = 0.5 * triangles.upper_factors(S).transpose(0, 2, 1)
    away = np.random.default_rng(0).normal(size=(3, d))
    whitening = triangles.whiten(S, 0.5, height, np.dtype(float), away=away)
    np.testing.assert_allclose(whitening.biases, np.einsum("kij,kj->ki", W, away), rtol=1e-9)
    units = np.sqrt(np.diagonal(S, axis1=1, axis2=2))
    norms = np.linalg.norm(W * units[:, np.newaxis], 2, axis=(1, 2))
    assert np.all(whitening.sharpness >= norms * (1 - 1e-12))
    assert np.all(whitening.sharpness <= np.sqrt(d) * norms * (1 + 1e-12))


@pytest.mark.parametrize("d", [3, 4, 11, 40])
@pytest.mark.parametrize("height", [1, 4, 6])
def test_bands_hold_the_columns_of_a_few_rows(d, height):
    S = matrices(2, d)
    W = triangles.upper_factors(S).transpose(0, 2, 1)
    found = triangles.whiten(S, 2.0, height, np.dtype(float)).factors
    at = 0
    for first, rows in bands.bands(d, height):
        end = first + rows
        band = found[:, at : at + rows * end].reshape(2, end, rows)
        np.testing.assert_array_equal(band, 2.0 * W[:, first:end, :end].transpose(0, 2, 1))
        at += rows * end
    assert at == found.shape[1]
    packed = np.ascontiguousarray(2.0 * W[0][np.tril_indices(d)])
    np.testing.assert_array_equal(triangles.in_bands(packed, d, height), found[0])


@pytest.mark.parametrize("height", [1, 4, 6])
def test_bands_are_all_rows_and_few_of_them_alone(height):
    for d in range(1, 200):
        heights = [rows for _, rows in bands.bands(d, height)]
        assert sum(heights) == d
        assert height == 1 or heights.count(1) == (d if d < 4 else d % {4: 4, 6: 2}[height])


@pytest.mark.parametrize("d", [1, 8, 9, 37])
def test_inverse(d):
    S = matrices(2, d)
    found = triangles.inverses(S, "full precision")
    np.testing.assert_allclose(found, np.linalg.inv(S), rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("bad", [np.zeros((2, 2)), -np.eye(2), np.full((2, 2), np.nan),
                                 np.array([[1.0, 2.0], [2.0, 1.0]]),
                                 np.array([[1.0, np.inf], [np.inf, 1.0]])])  # fmt: skip
def test_bad_matrices_are_named(bad):
    S = np.stack([np.eye(2), bad, bad])
    with pytest.raises(IllDefinedCovarianceError) as raised:
        triangles.whiten(S, 1.0, 1, np.dtype(np.float32))
    assert (raised.value.component, raised.value.components) == (1, (1, 2))


@pytest.mark.parametrize("d", [1, 7, 8, 9, 40])
@pytest.mark.parametrize("groups", [1, 3])
def test_covariances_from_scatter(d, groups):
    rng = np.random.default_rng(0)
    S, counts, delta = matrices(groups, d), 1.0 + rng.random(3), rng.normal(size=(3, d))
    second = np.ascontiguousarray(S[:, *np.tril_indices(d)])
    found = triangles.estimate(second, counts, delta)
    between = counts[:, None, None] * delta[:, :, None] * delta[:, None]
    n = counts.reshape(groups, -1).sum(axis=1)[:, None, None]
    expected = (S - between.reshape(groups, -1, d, d).sum(axis=1)) / n
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12)
    np.testing.assert_array_equal(found, found.transpose(0, 2, 1))


def test_any_number_of_threads_makes_the_same_bits():
    S = matrices(11, 67)  # enough for triangles.WORTH_SHARING
    assert S.shape[0] * 67**3 > triangles.WORTH_SHARING
    second, counts = np.ascontiguousarray(S[:, *np.tril_indices(67)]), np.full(11, 2.0)
    delta = np.random.default_rng(0).normal(scale=0.1, size=(11, 67))
    found = []
    for n_threads in (1, 2, 5, 16):
        placement = ThreadExecutor(n_threads).place(ArraySource(np.zeros((2, 2))))
        covariances = triangles.estimate(second, counts, delta, placement.share)
        covariances += 9.0 * np.eye(67)
        factors = triangles.whiten(covariances, 1.0, 4, np.dtype(float), placement.share).factors
        placement.close()
        found.append((covariances.tobytes(), factors.tobytes()))
    assert len(set(found)) == 1


def test_bad_matrices_are_named_whoever_finds_them():
    S = matrices(11, 67)
    S[[4, 9]] *= -1
    placement = ThreadExecutor(3).place(ArraySource(np.zeros((2, 2))))
    with pytest.raises(IllDefinedCovarianceError) as raised:
        triangles.whiten(S, 1.0, 4, np.dtype(float), placement.share)
    placement.close()
    assert (raised.value.component, raised.value.components) == (4, (4, 9))
