"""Tied spherical: one variance for all components and columns, covariances (1,)."""

import numpy as np

from fastgmm._typing import Float64Array, IntArray
from fastgmm.covariance import axes, shared
from fastgmm.covariance.conditioning import Regression, independent
from fastgmm.covariance.drawing import draw_axes
from fastgmm.covariance.protocol import Density, Share, alone
from fastgmm.parameters import Parameters

needs_scatter = False


def shape(n_components: int, n_features: int) -> tuple[int, ...]:
    """Return (1,)."""
    return (1,)


def second_shape(n_components: int, n_features: int) -> tuple[int, ...]:
    """Return (k, 1): sums of squared distances, pooled when they are estimated."""
    return n_components, 1


def n_parameters(n_components: int, n_features: int) -> int:
    """Return 1."""
    return 1


def prepare(parameters: Parameters, dtype: np.dtype[np.floating], share: Share = alone) -> Density:
    """Take the reciprocal standard deviation."""
    factors = precisions_cholesky(parameters)
    return axes.spheres_density(parameters, parameters.covariances, factors, dtype)


def estimate(
    second: Float64Array, counts: Float64Array, delta: Float64Array, share: Share = alone
) -> Float64Array:
    """Return the mean over all rows and columns of the squares about each row's component."""
    spread = (second[:, 0] - counts * (delta**2).sum(axis=1)).sum()
    return np.array([spread / (counts.sum() * delta.shape[1])])


def regularise(covariances: Float64Array, ridge: Float64Array) -> None:
    """Add the largest of the components' mean ridges to the variance."""
    covariances += ridge.mean(axis=1).max()


complete = axes.complete
about = axes.spheres_about
join = axes.join
precisions = axes.precisions
replace = shared.replace
rows_without_spread = shared.rows_without_spread


def variances(covariances: Float64Array, n_features: int) -> Float64Array:
    """Return the variance (1,)."""
    return covariances


def dense(covariances: Float64Array, n_components: int, n_features: int) -> Float64Array:
    """Put the variance on diagonals, the same for every component."""
    matrix = covariances[0] * np.eye(n_features)
    return np.broadcast_to(matrix, (n_components, n_features, n_features))


def select(covariances: Float64Array, components: IntArray, columns: IntArray) -> Float64Array:
    """Return the one variance."""
    return covariances.copy()


def regression(
    covariances: Float64Array, n_components: int, given: IntArray, rest: IntArray
) -> Regression:
    """Return slopes of zero and the one variance."""
    return independent(covariances.copy(), given, rest)


def check(values: Float64Array, what: str) -> None:
    """Check the variance."""
    axes.check_axes(values, f"tied_spherical {what}", shared=True)


def from_precisions(precisions: Float64Array) -> Float64Array:
    """Return the reciprocal."""
    check(precisions, "precision")
    return 1.0 / precisions


def precisions_cholesky(parameters: Parameters) -> Float64Array:
    """Return 1 / sigma (1,)."""
    with shared.no_component():
        return axes.reciprocal_deviations(parameters.covariances)


def draw(
    parameters: Parameters, counts: IntArray, random_state: np.random.RandomState
) -> Float64Array:
    """Draw each column on its own."""
    each = np.broadcast_to(parameters.covariances, parameters.means.shape)
    return draw_axes(parameters.means, each, counts, random_state)
