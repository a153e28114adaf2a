"""One covariance for all components: one triangular factor, pooled scatter."""

from typing import Any, NamedTuple

from fastgmm._jit import is_record, overload
from fastgmm._typing import FloatArray
from fastgmm.kernels.expectation import accumulate, log_density
from fastgmm.kernels.triangles import add_scatter, whitened_square


class TiedDensity(NamedTuple):
    """What a pass needs of a mixture with a tied covariance, in the compute dtype."""

    log_scale: FloatArray
    """(k,) log weight + log determinant of the whitening - d/2 log 2 pi."""
    means: FloatArray
    """(k, d)."""
    whitening: FloatArray
    """(d (d + 1) / 2,) packed rows of L^-1, where L L^T is the covariance."""
    origins: FloatArray
    """(k, d) what the statistics are centred about: the means, as a rule."""


@overload(log_density)
def _log_density(tile: Any, size: Any, density: Any, scratch: Any, out: Any) -> Any:
    if not is_record(density, TiedDensity):
        return None

    def implementation(tile: Any, size: Any, density: Any, scratch: Any, out: Any) -> None:
        half = tile.dtype.type(0.5)
        for k in range(out.shape[0]):
            whitened_square(tile, size, density.means[k], density.whitening, scratch, out[k])
            for t in range(size):
                out[k, t] = density.log_scale[k] - half * out[k, t]

    return implementation


@overload(accumulate)
def _accumulate(
    tile: Any, size: Any, responsibilities: Any, density: Any, scratch: Any, statistics: Any
) -> Any:
    if not is_record(density, TiedDensity):
        return None

    def implementation(
        tile: Any, size: Any, responsibilities: Any, density: Any, scratch: Any, statistics: Any
    ) -> None:
        for k in range(responsibilities.shape[0]):
            add_scatter(
                tile,
                size,
                responsibilities[k],
                density.origins[k],
                scratch,
                statistics.first[k],
                statistics.second,
            )

    return implementation
