"""Rows drawn from normal distributions, with scikit-learn's draws."""

import numpy as np

from fastgmm._typing import Float64Array, IntArray


def draw_matrices(
    means: Float64Array,
    covariances: Float64Array,
    counts: IntArray,
    random_state: np.random.RandomState,
) -> Float64Array:
    """Draw ``counts`` (k,) rows of each component, one after the other; matrices (k, d, d)."""
    return np.vstack(
        [
            random_state.multivariate_normal(mean, covariance, int(count))
            for mean, covariance, count in zip(means, covariances, counts, strict=True)
        ]
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
