"""Spherical: one variance for every component, covariances (k,)."""

import numpy as np

from fastgmm._typing import Float64Array, IntArray
from fastgmm.covariance import axes, replacing
from fastgmm.covariance.conditioning import Regression, independent
from fastgmm.covariance.drawing import draw_axes
from fastgmm.covariance.protocol import Density, Share, alone
from fastgmm.parameters import Parameters

needs_scatter = False


def shape(n_components: int, n_features: int) -> tuple[int, ...]:
    """Return (k,)."""
    return (n_components,)


def second_shape(n_components: int, n_features: int) -> tuple[int, ...]:
    """Return (k, 1): sums of squared distances."""
    return n_components, 1


def n_parameters(n_components: int, n_features: int) -> int:
    """Return k."""
    return n_components


def prepare(parameters: Parameters, dtype: np.dtype[np.floating], share: Share = alone) -> Density:
    """Take reciprocal standard deviations."""
    factors = precisions_cholesky(parameters)
    return axes.spheres_density(parameters, parameters.covariances, factors, dtype)


def estimate(
    second: Float64Array, counts: Float64Array, delta: Float64Array, share: Share = alone
) -> Float64Array:
    """Return the mean over the features of the diagonal family's variances."""
    spread: Float64Array = second[:, 0] / counts - (delta**2).sum(axis=1)
    return spread / delta.shape[1]


def regularise(covariances: Float64Array, ridge: Float64Array) -> None:
    """Add the mean of the columns' ridges to each variance."""
    covariances += ridge.mean(axis=1)


complete = axes.complete
about = axes.spheres_about
join = axes.join
precisions = axes.precisions
replace = replacing.replace


def rows_without_spread(n_features: int) -> int:
    """Return 1."""
    return 1


def variances(covariances: Float64Array, n_features: int) -> Float64Array:
    """Return the variances (k, 1)."""
    return covariances[:, np.newaxis]


def dense(covariances: Float64Array, n_components: int, n_features: int) -> Float64Array:
    """Put the variance on diagonals."""
    return covariances[:, np.newaxis, np.newaxis] * np.eye(n_features)


def select(covariances: Float64Array, components: IntArray, columns: IntArray) -> Float64Array:
    """Return these components' variances."""
    return covariances[components]


def regression(
    covariances: Float64Array, n_components: int, given: IntArray, rest: IntArray
) -> Regression:
    """Return slopes of zero and the variances as they are."""
    return independent(covariances.copy(), given, rest)


def check(values: Float64Array, what: str) -> None:
    """Check each variance."""
    axes.check_axes(values, f"spherical {what}")


def from_precisions(precisions: Float64Array) -> Float64Array:
    """Return reciprocals."""
    check(precisions, "precision")
    return 1.0 / precisions


def precisions_cholesky(parameters: Parameters) -> Float64Array:
    """Return 1 / sigma (k,)."""
    return axes.reciprocal_deviations(parameters.covariances)


def draw(
    parameters: Parameters, counts: IntArray, random_state: np.random.RandomState
) -> Float64Array:
    """Draw each column on its own."""
    each = np.broadcast_to(parameters.covariances[:, np.newaxis], parameters.means.shape)
    return draw_axes(parameters.means, each, counts, random_state)
