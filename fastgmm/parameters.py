"""Parameters: the immutable record of what a mixture is."""

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
