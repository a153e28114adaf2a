"""The parameter update against LAPACK."""

import numpy as np
import pytest

from fastgmm import kernels
from fastgmm.covariance.triangles import packed_size, unpack_lower


def matrices(k, d, seed=0):
    A = np.random.default_rng(seed).normal(size=(k, d, d + 2))
    return A @ A.transpose(0, 2, 1)


@pytest.mark.parametrize("d", [1, 2, 7, 40])
def test_whitening_inverts_the_cholesky_factor(d):
    S = matrices(3, d)
    whitening, log_determinants = np.empty((3, packed_size(d))), np.empty(3)
    assert kernels.factorisation.whiten(S, whitening, log_determinants) == -1
    W = unpack_lower(whitening, d)
    np.testing.assert_allclose(W @ np.linalg.cholesky(S), [np.eye(d)] * 3, atol=1e-10)
    np.testing.assert_allclose(log_determinants, -0.5 * np.linalg.slogdet(S)[1], rtol=1e-12)


def test_inverse():
    S = matrices(2, 9)
    inverse = np.empty_like(S)
    assert kernels.factorisation.invert_positive_definite(S, inverse) == -1
    np.testing.assert_allclose(inverse, np.linalg.inv(S), rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("bad", [np.zeros((2, 2)), -np.eye(2), np.full((2, 2), np.nan),
                                 np.array([[1.0, 2.0], [2.0, 1.0]])])  # fmt: skip
def test_the_first_bad_matrix_is_named(bad):
    S = np.stack([np.eye(2), bad, bad])
    assert kernels.factorisation.whiten(S, np.empty((3, 3)), np.empty(3)) == 1
