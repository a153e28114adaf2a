"""Spherical: one variance for every component, covariances (k,)."""

import math

import numpy as np

from fastgmm import kernels
from fastgmm._typing import Float64Array, FloatArray, IntArray
from fastgmm.covariance import replacing
from fastgmm.covariance.axes import (
    axes_about,
    axes_density,
    check_axes,
    reciprocal_deviations,
)
from fastgmm.covariance.conditioning import Regression, independent
from fastgmm.covariance.drawing import draw_axes
from fastgmm.covariance.nearness import common_centre
from fastgmm.covariance.protocol import Density, Share, alone
from fastgmm.covariance.scale import log_scale
from fastgmm.parameters import Parameters
from fastgmm.statistics import Scatter, Statistics

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
    d = parameters.means.shape[1]
    near = common_centre(parameters, parameters.covariances[:, np.newaxis], np.ones(1), dtype)
    if near.near:
        scale = log_scale(parameters.weights, d * np.log(factors), d)
        away = parameters.means - near.centre.astype(np.float64)
        precision = factors[:, np.newaxis] ** 2
        squares = 0.5 * ((away * factors[:, np.newaxis]) ** 2).sum(axis=1)
        slopes = np.hstack([away * precision, -0.5 * precision])
        return kernels.linear.LinearDensity(
            scale.astype(dtype),
            parameters.means.astype(dtype),
            squares.astype(dtype),
            slopes.astype(dtype),
            None,
            near.centre,
            near.origins,
        )
    return axes_density(parameters, factors[:, np.newaxis], dtype)


def complete(statistics: Statistics, density: Density, scatter: Scatter | None) -> Statistics:
    """Return the statistics as they are."""
    return statistics


def about(density: Density, origins: FloatArray) -> Density:
    """Move the origins."""
    if not isinstance(density, kernels.linear.LinearDensity):
        return axes_about(density, origins)
    means = density.means
    scales = np.repeat(np.sqrt(-density.slopes[:, -1:]), means.shape[1], axis=1)
    zeros = np.zeros_like(means)
    return kernels.axes.AxesDensity(
        density.log_scale, means, scales, zeros, zeros[0], math.inf, origins
    )


def estimate(
    second: Float64Array, counts: Float64Array, delta: Float64Array, share: Share = alone
) -> Float64Array:
    """Return the mean over the features of the diagonal family's variances."""
    spread: Float64Array = second[:, 0] / counts - (delta**2).sum(axis=1)
    return spread / delta.shape[1]


def regularise(covariances: Float64Array, ridge: Float64Array) -> None:
    """Add the mean of the columns' ridges to each variance."""
    covariances += ridge.mean(axis=1)


replace = replacing.replace


def rows_without_spread(n_features: int) -> int:
    """Return 1."""
    return 1


def join(seconds: list[Float64Array]) -> Float64Array:
    """Stack the components' variances."""
    return np.concatenate(seconds)


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
    check_axes(values, f"spherical {what}")


def from_precisions(precisions: Float64Array) -> Float64Array:
    """Return reciprocals."""
    check(precisions, "precision")
    return 1.0 / precisions


def precisions_cholesky(parameters: Parameters) -> Float64Array:
    """Return 1 / sigma (k,)."""
    return reciprocal_deviations(parameters.covariances)


def precisions(precisions_cholesky: Float64Array) -> Float64Array:
    """Return squares."""
    return precisions_cholesky**2


def draw(
    parameters: Parameters, counts: IntArray, random_state: np.random.RandomState
) -> Float64Array:
    """Draw each column on its own."""
    each = np.broadcast_to(parameters.covariances[:, np.newaxis], parameters.means.shape)
    return draw_axes(parameters.means, each, counts, random_state)
