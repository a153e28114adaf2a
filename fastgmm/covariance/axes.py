"""What families with covariances along the axes have in common: rows about one centre, scaled."""

import numpy as np

from fastgmm import kernels
from fastgmm._typing import Float64Array, FloatArray
from fastgmm.covariance.nearness import apart, common_centre, far, middle
from fastgmm.covariance.protocol import Density
from fastgmm.covariance.scale import BITS, WHITENING, log_scale
from fastgmm.exceptions import IllDefinedCovarianceError
from fastgmm.parameters import Parameters
from fastgmm.statistics import Scatter, Statistics


def diagonal_density(
    parameters: Parameters, precisions_cholesky: Float64Array, dtype: np.dtype[np.floating]
) -> Density:
    """Return the density for variances and 1 / sigma (k, d) or (d,).

    In few columns it is that of full covariances whose triangles have nothing but a diagonal.
    """
    n_components, d = parameters.means.shape
    scaled = _scaled(parameters, parameters.covariances, precisions_cholesky, dtype)
    if d <= kernels.unrolled.MOST_COLUMNS:
        return kernels.unrolled.UnrolledDensity(*scaled, ((0,),) * d)
    if scaled.near and kernels.near_axes.keeps(n_components, d, dtype):
        fields = kernels.near_axes.NearAxesDensity._fields
        return kernels.near_axes.NearAxesDensity(*(getattr(scaled, name) for name in fields))
    return scaled


def diagonal_about(density: Density, origins: FloatArray) -> Density:
    """Move the origins: each component's rows are taken about its own."""
    if isinstance(density, kernels.near_axes.NearAxesDensity):
        density = kernels.axes.AxesDensity(near=True, **density._asdict())
    return apart(density, origins)


def _scaled(
    parameters: Parameters,
    variances: Float64Array,
    precisions_cholesky: Float64Array,
    dtype: np.dtype[np.floating],
) -> kernels.axes.AxesDensity:
    """Return the density for variances and 1 / sigma, both broadcastable to (k, d)."""
    means = parameters.means
    scales = _in_rows(precisions_cholesky, means)
    near = common_centre(means, middle(parameters, dtype), variances, np.ones(1))
    away = near.centre.astype(np.float64) - means if near.near else np.zeros_like(means)
    return kernels.axes.AxesDensity(
        log_scale(parameters.weights, np.log(scales).sum(axis=1), means.shape[1]).astype(dtype),
        means.astype(dtype),
        (WHITENING * scales).astype(dtype),
        (WHITENING * scales * away).astype(dtype),
        *near,
    )


def _in_rows(values: Float64Array, like: Float64Array) -> Float64Array:
    """Return values in the shape of ``like``, where kernels find them: not as a broadcast view."""
    rows = np.empty(like.shape)
    rows[:] = values
    return rows


def spheres_density(
    parameters: Parameters,
    variances: Float64Array,
    factors: Float64Array,
    dtype: np.dtype[np.floating],
) -> Density:
    """Return the density for variances (k,) or (1,) and 1 / sigma in the same shape.

    Log densities are linear in x and |x|^2 where the components lie near each other.
    """
    means, d = parameters.means, parameters.means.shape[1]
    centre = middle(parameters, dtype)
    near = common_centre(means, centre, variances[:, np.newaxis], np.ones(1))
    if not near.near:
        return _scaled(parameters, variances[:, np.newaxis], factors[:, np.newaxis], dtype)
    scale = log_scale(parameters.weights, d * np.log(factors), d)
    away = means - near.centre.astype(np.float64)
    precision = BITS * np.broadcast_to(factors[:, np.newaxis] ** 2, (len(means), 1))
    squares = ((away * WHITENING * factors[:, np.newaxis]) ** 2).sum(axis=1)
    slopes = np.hstack([away * precision, -0.5 * precision])
    return kernels.linear.LinearDensity(
        scale.astype(dtype),
        means.astype(dtype),
        squares.astype(dtype),
        slopes.astype(dtype),
        np.empty(0, dtype),
        near.centre,
        near.origins,
    )


def spheres_about(density: Density, origins: FloatArray) -> Density:
    """Move the origins."""
    if not isinstance(density, kernels.linear.LinearDensity):
        return apart(density, origins)
    if bool(np.all(origins == density.centre)):
        return density
    means = density.means
    scales = np.repeat(np.sqrt(-density.slopes[:, -1:]), means.shape[1], axis=1)
    return kernels.axes.AxesDensity(
        density.log_scale, means, scales, np.zeros_like(means), *far(origins)
    )


def complete(statistics: Statistics, density: Density, scatter: Scatter | None) -> Statistics:
    """Return the statistics as they are: they lack nothing."""
    return statistics


def join(seconds: list[Float64Array]) -> Float64Array:
    """Stack the components' squares."""
    return np.concatenate(seconds)


def precisions(precisions_cholesky: Float64Array) -> Float64Array:
    """Return squares."""
    return precisions_cholesky**2


def reciprocal_deviations(variances: Float64Array) -> Float64Array:
    """Return 1 / sigma of variances (k, ...).

    Raises IllDefinedCovarianceError, with the components to blame.
    """
    good = (variances > 0.0) & np.isfinite(variances)
    if not good.all():
        blamed = np.unique(np.nonzero(~good)[0])
        raise IllDefinedCovarianceError(tuple(blamed.tolist()))
    return 1.0 / np.sqrt(variances)


def check_axes(values: Float64Array, name: str, *, shared: bool = False) -> None:
    """Raise ValueError unless variances or precisions, (k, ...) or ``shared``, are positive.

    ``name`` is what they are called, "diag covariance".
    """
    bad = np.argwhere(~(values > 0.0))
    if len(bad):
        places = ["column"] if shared else ["component", "column"]
        named = zip(places, bad[0], strict=False)
        where = "" if values.size == 1 else ", ".join(f"{place} {i}" for place, i in named) + " "
        value = values[tuple(bad[0])]
        raise ValueError(f"'{name}' should be positive, but {where}has {value:.6g}: correct it")
