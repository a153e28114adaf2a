"""Diagonal: variances of its own for every component, covariances (k, d)."""

import numpy as np

from fastgmm._typing import Float64Array, IntArray
from fastgmm.covariance import axes, replacing
from fastgmm.covariance.conditioning import Regression, independent
from fastgmm.covariance.drawing import draw_axes
from fastgmm.covariance.protocol import Density, Share, alone
from fastgmm.parameters import Parameters

needs_scatter = False


def shape(n_components: int, n_features: int) -> tuple[int, ...]:
    """Return (k, d)."""
    return n_components, n_features


def second_shape(n_components: int, n_features: int) -> tuple[int, ...]:
    """Return (k, d)."""
    return n_components, n_features


def n_parameters(n_components: int, n_features: int) -> int:
    """Return k d."""
    return n_components * n_features


def prepare(parameters: Parameters, dtype: np.dtype[np.floating], share: Share = alone) -> Density:
    """Take reciprocal standard deviations."""
    return axes.diagonal_density(parameters, precisions_cholesky(parameters), dtype)


def estimate(
    second: Float64Array, counts: Float64Array, delta: Float64Array, share: Share = alone
) -> Float64Array:
    """Return second / counts - delta^2."""
    return second / counts[:, np.newaxis] - delta**2


def regularise(covariances: Float64Array, ridge: Float64Array) -> None:
    """Add to each variance."""
    covariances += ridge


complete = axes.complete
about = axes.diagonal_about
join = axes.join
precisions = axes.precisions
replace = replacing.replace


def rows_without_spread(n_features: int) -> int:
    """Return 1."""
    return 1


def variances(covariances: Float64Array, n_features: int) -> Float64Array:
    """Return the variances (k, d)."""
    return covariances


def dense(covariances: Float64Array, n_components: int, n_features: int) -> Float64Array:
    """Put the variances on diagonals."""
    return covariances[:, :, np.newaxis] * np.eye(n_features)


def select(covariances: Float64Array, components: IntArray, columns: IntArray) -> Float64Array:
    """Return these variances."""
    return covariances[np.ix_(components, columns)]


def regression(
    covariances: Float64Array, n_components: int, given: IntArray, rest: IntArray
) -> Regression:
    """Return slopes of zero and the other columns' variances."""
    return independent(select(covariances, np.arange(n_components), rest), given, rest)


def check(values: Float64Array, what: str) -> None:
    """Check each variance."""
    axes.check_axes(values, f"diag {what}")


def from_precisions(precisions: Float64Array) -> Float64Array:
    """Return reciprocals."""
    check(precisions, "precision")
    return 1.0 / precisions


def precisions_cholesky(parameters: Parameters) -> Float64Array:
    """Return 1 / sigma (k, d)."""
    return axes.reciprocal_deviations(parameters.covariances)


def draw(
    parameters: Parameters, counts: IntArray, random_state: np.random.RandomState
) -> Float64Array:
    """Draw each column on its own."""
    return draw_axes(parameters.means, parameters.covariances, counts, random_state)
