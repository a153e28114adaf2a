"""One covariance for all components: none has its own to lose, to replace or to be blamed for."""

from collections.abc import Iterator
from contextlib import contextmanager

from fastgmm._typing import Float64Array, IntArray
from fastgmm.exceptions import IllDefinedCovarianceError


def replace(covariances: Float64Array, components: IntArray, others: Float64Array) -> Float64Array:
    """Return the one covariance, which belongs to the other components as well."""
    return covariances


def rows_without_spread(n_features: int) -> int:
    """Return 0: a component has no covariance of its own."""
    return 0


@contextmanager
def no_component() -> Iterator[None]:
    """Have an ill-defined covariance blamed on no component: it belongs to all."""
    try:
        yield
    except IllDefinedCovarianceError:
        raise IllDefinedCovarianceError from None
