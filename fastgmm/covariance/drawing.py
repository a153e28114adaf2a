"""Rows drawn from normal distributions, with scikit-learn's draws."""

import numpy as np

from fastgmm._typing import Float64Array, IntArray

FARTHEST_SCALES = 1e7
"""NumPy's draws are by singular values of the matrix as it is: with standard deviations from 1e-6
to 1e6 of 12 columns the narrow ones came out up to 2000 times too wide, with 1e-4 to 1e4 right."""


def draw_matrices(
    means: Float64Array,
    covariances: Float64Array,
    counts: IntArray,
    random_state: np.random.RandomState,
) -> Float64Array:
    """Draw ``counts`` (k,) rows of each component, one after the other; matrices (k, d, d)."""
    each = zip(means, covariances, counts, strict=True)
    return np.vstack([_draw(*one, random_state) for one in each])


def _draw(
    mean: Float64Array, covariance: Float64Array, count: int, random_state: np.random.RandomState
) -> Float64Array:
    deviations = np.sqrt(np.diagonal(covariance))
    if deviations.max() <= FARTHEST_SCALES * deviations.min():
        rows: Float64Array = random_state.multivariate_normal(mean, covariance, int(count))
        return rows
    # in units of their own, the same numbers of another matrix
    correlation = covariance / np.multiply.outer(deviations, deviations)
    return mean + deviations * random_state.multivariate_normal(
        np.zeros_like(mean), correlation, int(count)
    )


def draw_axes(
    means: Float64Array,
    variances: Float64Array,
    counts: IntArray,
    random_state: np.random.RandomState,
) -> Float64Array:
    """Draw the same for independent columns; variances (k, d)."""
    return np.vstack(
        [
            mean + random_state.standard_normal(size=(int(count), len(mean))) * np.sqrt(variance)
            for mean, variance, count in zip(means, variances, counts, strict=True)
        ]
    )
