"""Spherical covariances: one scale a component."""

from typing import Any, NamedTuple

from fastgmm._jit import is_record, overload
from fastgmm._typing import FloatArray
from fastgmm.kernels.expectation import accumulate, log_density


class SphericalDensity(NamedTuple):
    """What a pass needs of a mixture with spherical covariances, in the compute dtype."""

    log_scale: FloatArray
    """(k,) log weight + log determinant of the whitening - d/2 log 2 pi."""
    means: FloatArray
    """(k, d)."""
    whitening: FloatArray
    """(k,) reciprocal standard deviations."""
    origins: FloatArray
    """(k, d) what the statistics are centred about: the means, as a rule."""


@overload(log_density)
def _log_density(tile: Any, size: Any, density: Any, scratch: Any, out: Any) -> Any:
    if not is_record(density, SphericalDensity):
        return None

    def implementation(tile: Any, size: Any, density: Any, scratch: Any, out: Any) -> None:
        half = tile.dtype.type(0.5)
        for k in range(out.shape[0]):
            for t in range(size):
                out[k, t] = 0
            for i in range(tile.shape[0]):
                mean = density.means[k, i]
                for t in range(size):
                    away = tile[i, t] - mean
                    out[k, t] += away * away
            factor = half * density.whitening[k] * density.whitening[k]
            for t in range(size):
                out[k, t] = density.log_scale[k] - factor * out[k, t]

    return implementation


@overload(accumulate)
def _accumulate(
    tile: Any, size: Any, responsibilities: Any, density: Any, scratch: Any, statistics: Any
) -> Any:
    if not is_record(density, SphericalDensity):
        return None

    def implementation(
        tile: Any, size: Any, responsibilities: Any, density: Any, scratch: Any, statistics: Any
    ) -> None:
        for k in range(responsibilities.shape[0]):
            second = tile.dtype.type(0)
            for i in range(tile.shape[0]):
                origin = density.origins[k, i]
                first = tile.dtype.type(0)
                for t in range(size):
                    away = tile[i, t] - origin
                    weighted = responsibilities[k, t] * away
                    first += weighted
                    second += weighted * away
                statistics.first[k, i] += first
            statistics.second[k] += second

    return implementation
