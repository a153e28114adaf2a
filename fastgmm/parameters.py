"""Parameters: the immutable record of what a mixture is, and of what is known of it beforehand."""

from collections.abc import Collection
from typing import NamedTuple

from fastgmm._typing import Float64Array


class Parameters(NamedTuple):
    """A Gaussian mixture with k components in d features, always float64.

    ``covariances`` has the shape of its covariance family: full (k, d, d), tied (d, d), diag
    (k, d), spherical (k,), as in scikit-learn; tied_diag (d,), tied_spherical (1,).
    """

    weights: Float64Array
    """(k,) mixing proportions; sum to 1."""
    means: Float64Array
    """(k, d)."""
    covariances: Float64Array


NAMES = Parameters._fields
"""What a mixture's parameters are called."""


class GivenParameters(NamedTuple):
    """Some of a mixture's parameters, as :class:`Parameters`; None where nothing is given."""

    weights: Float64Array | None = None
    means: Float64Array | None = None
    covariances: Float64Array | None = None

    def put_into(self, own: Parameters) -> Parameters:
        """Return a mixture's own parameters but for the given ones."""
        wishes = zip(own, self, strict=True)
        return Parameters(*(mine if wish is None else wish for mine, wish in wishes))


def given_of(parameters: Parameters, names: Collection[str]) -> GivenParameters:
    """Return the named ones of a mixture's parameters."""
    wanted = (part if name in names else None for name, part in parameters._asdict().items())
    return GivenParameters(*wanted)
