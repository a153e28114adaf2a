"""The M-step: from the statistics of all rows to the next parameters."""

import numpy as np

from fastgmm._typing import Float64Array
from fastgmm.covariance import CovarianceFamily, Share, alone
from fastgmm.parameters import Parameters
from fastgmm.statistics import Statistics

CANCELLATION = 1e-12 / np.finfo(np.float64).eps
"""Largest delta^2 / variance at which second / counts - delta^2 keeps 12 digits in float64."""


def count_floor(dtype: np.dtype[np.floating], mean_weight: float) -> float:
    """Return what is added to every count, so that a component without rows divides by something.

    10 machine epsilons as in scikit-learn, in the unit of the weights: multiplying all weights by
    a constant leaves a fit as it is.
    """
    return float(10 * np.finfo(dtype).eps * mean_weight)


def maximum_likelihood(
    family: CovarianceFamily,
    statistics: Statistics,
    origins: Float64Array,
    reg_covar: float,
    floor: float,
    share: Share = alone,
) -> Parameters:
    """Return the parameters that maximise the expected log likelihood (Bishop 2006, 9.24 to 9.26).

    Parameters
    ----------
    family : covariance family
    statistics : Statistics
        About ``origins``.
    origins : (k, d)
    reg_covar : float
        Added to the covariances' diagonals.
    floor : float
        Added to every count, see :func:`count_floor`.
    share : callable
        How the components are shared out over threads; the bits do not depend on it.
    """
    counts = statistics.counts + floor
    delta = statistics.first / counts[:, np.newaxis]
    return Parameters(
        weights=counts / counts.sum(),
        means=origins + delta,
        covariances=family.estimate(statistics.second, counts, delta, reg_covar, share),
    )


def cancels(family: CovarianceFamily, parameters: Parameters, origins: Float64Array) -> bool:
    """Whether the means moved so many standard deviations that the covariances lost digits.

    From a start 1e8 standard deviations away, second / counts and delta^2 agree in all their
    digits and their difference is noise, so that pass has to be repeated about the new means.
    """
    delta_squared = (parameters.means - origins) ** 2
    variances = family.variances(parameters.covariances, delta_squared.shape[1])
    # written so that a negative or undefined variance counts as lost digits, too
    return not bool(np.all(delta_squared <= CANCELLATION * variances))
