"""Some columns given, how the others are distributed: linear regression within a component."""

from typing import NamedTuple

import numpy as np

from fastgmm._typing import Float64Array, IntArray


class Regression(NamedTuple):
    """The rest of c given and e other columns: x_rest = mean + slopes (x_given - mean) + noise."""

    slopes: Float64Array
    """Broadcastable to (k, e, c)."""
    covariances: Float64Array
    """Of the noise, in the family's shape."""


def by_matrices(matrices: Float64Array, given: IntArray, rest: IntArray) -> Regression:
    """Return the regression for covariances (g, d, d) (Bishop 2006, eq. 2.81 and 2.82).

    With the given columns first, the Cholesky factor is [[A, 0], [B, C]]: the slopes are B A^-1 and
    the noise has the covariance C C^T, which is positive definite whatever the rounding. The
    difference of the textbook's formula is not.
    """
    order, c = np.concatenate([given, rest]), len(given)
    lower = np.linalg.cholesky(matrices[:, order[:, np.newaxis], order])
    a, b, noise = lower[:, :c, :c], lower[:, c:, :c], lower[:, c:, c:]
    slopes = np.linalg.solve(a.transpose(0, 2, 1), b.transpose(0, 2, 1)).transpose(0, 2, 1)
    return Regression(slopes, noise @ noise.transpose(0, 2, 1))


def independent(covariances: Float64Array, given: IntArray, rest: IntArray) -> Regression:
    """Return the regression where columns say nothing about each other within a component."""
    return Regression(np.zeros((1, len(rest), len(given))), covariances)
