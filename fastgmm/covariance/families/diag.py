"""Diagonal: variances of its own for every component, covariances (k, d)."""

import numpy as np

from fastgmm._typing import Float64Array, FloatArray, IntArray
from fastgmm.covariance import replacing
from fastgmm.covariance.axes import (
    axes_about,
    check_axes,
    diagonal_density,
    reciprocal_deviations,
)
from fastgmm.covariance.conditioning import Regression, independent
from fastgmm.covariance.drawing import draw_axes
from fastgmm.covariance.protocol import Density, Share, alone
from fastgmm.parameters import Parameters
from fastgmm.statistics import Scatter, Statistics

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
    return diagonal_density(parameters, precisions_cholesky(parameters), dtype)


def complete(statistics: Statistics, density: Density, scatter: Scatter | None) -> Statistics:
    """Return the statistics as they are."""
    return statistics


def about(density: Density, origins: FloatArray) -> Density:
    """Move the origins."""
    return axes_about(density, origins)


def estimate(
    second: Float64Array, counts: Float64Array, delta: Float64Array, share: Share = alone
) -> Float64Array:
    """Return second / counts - delta^2."""
    return second / counts[:, np.newaxis] - delta**2


def regularise(covariances: Float64Array, ridge: Float64Array) -> None:
    """Add to each variance."""
    covariances += ridge


replace = replacing.replace


def rows_without_spread(n_features: int) -> int:
    """Return 1."""
    return 1


def join(seconds: list[Float64Array]) -> Float64Array:
    """Stack the components' variances."""
    return np.concatenate(seconds)


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
    check_axes(values, f"diag {what}")


def from_precisions(precisions: Float64Array) -> Float64Array:
    """Return reciprocals."""
    check(precisions, "precision")
    return 1.0 / precisions


def precisions_cholesky(parameters: Parameters) -> Float64Array:
    """Return 1 / sigma (k, d)."""
    return reciprocal_deviations(parameters.covariances)


def precisions(precisions_cholesky: Float64Array) -> Float64Array:
    """Return squares."""
    return precisions_cholesky**2


def draw(
    parameters: Parameters, counts: IntArray, random_state: np.random.RandomState
) -> Float64Array:
    """Draw each column on its own."""
    return draw_axes(parameters.means, parameters.covariances, counts, random_state)
