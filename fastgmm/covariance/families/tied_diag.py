"""Tied diagonal: variances that all components share, covariances (d,)."""

import numpy as np

from fastgmm._typing import Float64Array, IntArray
from fastgmm.covariance import axes, shared
from fastgmm.covariance.conditioning import Regression, independent
from fastgmm.covariance.drawing import draw_axes
from fastgmm.covariance.protocol import Density, Share, alone
from fastgmm.parameters import Parameters

needs_scatter = False


def shape(n_components: int, n_features: int) -> tuple[int, ...]:
    """Return (d,)."""
    return (n_features,)


def second_shape(n_components: int, n_features: int) -> tuple[int, ...]:
    """Return (k, d): the components' own, pooled when they are estimated."""
    return n_components, n_features


def n_parameters(n_components: int, n_features: int) -> int:
    """Return d."""
    return n_features


def prepare(parameters: Parameters, dtype: np.dtype[np.floating], share: Share = alone) -> Density:
    """Take reciprocal standard deviations."""
    return axes.diagonal_density(parameters, precisions_cholesky(parameters), dtype)


def estimate(
    second: Float64Array, counts: Float64Array, delta: Float64Array, share: Share = alone
) -> Float64Array:
    """Return the mean over all rows of the squares about each row's component."""
    spread: Float64Array = (second - counts[:, np.newaxis] * delta**2).sum(axis=0)
    return spread / counts.sum()


def regularise(covariances: Float64Array, ridge: Float64Array) -> None:
    """Add the largest ridge of any component to the variances."""
    covariances += ridge.max(axis=0)


complete = axes.complete
about = axes.diagonal_about
join = axes.join
precisions = axes.precisions
replace = shared.replace
rows_without_spread = shared.rows_without_spread


def variances(covariances: Float64Array, n_features: int) -> Float64Array:
    """Return the variances (d,)."""
    return covariances


def dense(covariances: Float64Array, n_components: int, n_features: int) -> Float64Array:
    """Put the variances on diagonals, the same for every component."""
    return np.broadcast_to(np.diag(covariances), (n_components, n_features, n_features))


def select(covariances: Float64Array, components: IntArray, columns: IntArray) -> Float64Array:
    """Return these columns' variances."""
    return covariances[columns]


def regression(
    covariances: Float64Array, n_components: int, given: IntArray, rest: IntArray
) -> Regression:
    """Return slopes of zero and the other columns' variances."""
    return independent(covariances[rest], given, rest)


def check(values: Float64Array, what: str) -> None:
    """Check each variance."""
    axes.check_axes(values, f"tied_diag {what}", shared=True)


def from_precisions(precisions: Float64Array) -> Float64Array:
    """Return reciprocals."""
    check(precisions, "precision")
    return 1.0 / precisions


def precisions_cholesky(parameters: Parameters) -> Float64Array:
    """Return 1 / sigma (d,)."""
    with shared.no_component():
        return axes.reciprocal_deviations(parameters.covariances)


def draw(
    parameters: Parameters, counts: IntArray, random_state: np.random.RandomState
) -> Float64Array:
    """Draw each column on its own."""
    each = np.broadcast_to(parameters.covariances, parameters.means.shape)
    return draw_axes(parameters.means, each, counts, random_state)
