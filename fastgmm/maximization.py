"""The M-step: from the statistics of all rows to the next parameters, and to their density."""

from collections.abc import Callable, Collection
from dataclasses import dataclass

import numpy as np

from fastgmm._typing import Float64Array
from fastgmm.covariance import CovarianceFamily, Density, Share, alone
from fastgmm.exceptions import PASS_FLOAT64, IllDefinedCovarianceError, RangeError
from fastgmm.parameters import GivenParameters, Parameters
from fastgmm.statistics import Statistics

NOTHING = GivenParameters()

CANCELLATION = 1e-12 / np.finfo(np.float64).eps
"""Largest delta^2 / variance at which second / counts - delta^2 keeps 12 digits in float64."""

LEAST_LIFT = 64
"""In d eps: with less the lower bound is rounding noise (of 16 fits of singular data 10 took more
than 10 iterations at 1 d eps, 6 at 64)."""

MOST_LIFT = 1e-2
"""No covariance is lifted by more than this share of its variances to become invertible."""


@dataclass(frozen=True)
class Regularization:
    """What ``reg_covar`` means: how it becomes the ridge on the diagonals of covariances."""

    ridge: Callable[[float, Float64Array], Float64Array]
    """ridge(reg_covar, variances of the columns (d,)) -> (d,)."""
    needs_variances: bool
    """Whether the first pass has to find the variances of the columns."""


def _absolute(reg_covar: float, variances: Float64Array) -> Float64Array:
    return np.full(len(variances), reg_covar)


def _relative(reg_covar: float, variances: Float64Array) -> Float64Array:
    """A constant column has no scale of its own: its ridge is ``reg_covar`` itself."""
    return reg_covar * np.where(variances > 0.0, variances, 1.0)


REGULARIZATIONS: dict[str, Regularization] = {
    "absolute": Regularization(_absolute, needs_variances=False),
    "relative": Regularization(_relative, needs_variances=True),
}
"""``regularization`` -> what it does."""


def ridge_beside(fixed: Collection[str], ridge: Float64Array) -> Float64Array:
    """Return the ridge of a fit: covariances that are kept get none."""
    return np.zeros_like(ridge) if "covariances" in fixed else ridge


def count_floor(dtype: np.dtype[np.floating], mean_weight: float) -> float:
    """Return what is added to every count, so that a component without rows divides by something.

    10 machine epsilons as in scikit-learn, in the unit of the weights: multiplying all weights by
    a constant leaves a fit as it is.
    """
    return float(10 * np.finfo(dtype).eps * mean_weight)


@np.errstate(over="ignore", invalid="ignore")  # what is no number cannot be factorised
def maximum_likelihood(
    family: CovarianceFamily,
    statistics: Statistics,
    origins: Float64Array,
    ridge: Float64Array,
    floor: float,
    share: Share = alone,
    fixed: GivenParameters = NOTHING,
) -> Parameters:
    """Return the parameters that maximise the expected log likelihood (Bishop 2006, 9.24 to 9.26).

    Parameters
    ----------
    family : covariance family
    statistics : Statistics
        About ``origins``.
    origins : (k, d)
    ridge : (d,)
        Added to the covariances' diagonals.
    floor : float
        Added to every count, see :func:`count_floor`.
    share : callable
        How the components are shared out over threads; the bits do not depend on it.
    fixed : GivenParameters
        What is kept as it is; the others are the best that go with it. Covariances are about the
        means that are kept, and covariances that are kept get no ridge.
    """
    counts = statistics.counts + floor
    delta = statistics.first / counts[:, np.newaxis]
    means = origins + delta
    if fixed.covariances is not None:
        found = Parameters(counts / counts.sum(), means, fixed.covariances)
        return fixed.put_into(found)
    covariances = family.estimate(statistics.second, counts, delta, share)
    if fixed.means is not None:
        # E (x - m)(x - m)^T is the covariance plus (mean - m)(mean - m)^T, and what a family
        # estimates from no scatter is less such a square, pooled as its covariances are
        away = (fixed.means - origins) - delta
        covariances -= family.estimate(np.zeros_like(statistics.second), counts, away, share)
    family.regularise(covariances, np.atleast_2d(ridge))
    return fixed.put_into(Parameters(counts / counts.sum(), means, covariances))


def n_free_parameters(
    family: CovarianceFamily, n_components: int, n_features: int, fixed: Collection[str] = ()
) -> int:
    """Return how many numbers a fit chooses: those of parameters that are not fixed."""
    numbers = {
        "weights": n_components - 1,
        "means": n_components * n_features,
        "covariances": family.n_parameters(n_components, n_features),
    }
    return sum(number for name, number in numbers.items() if name not in fixed)


@np.errstate(over="ignore", invalid="ignore")
def cancels(family: CovarianceFamily, parameters: Parameters, origins: Float64Array) -> bool:
    """Whether the means moved so many standard deviations that the covariances lost digits.

    From a start 1e8 standard deviations away, second / counts and delta^2 agree in all their
    digits and their difference is noise, so that pass has to be repeated about the new means.
    """
    delta_squared = (parameters.means - origins) ** 2
    variances = family.variances(parameters.covariances, delta_squared.shape[1])
    # written so that a negative or undefined variance counts as lost digits, too
    return not bool((delta_squared <= CANCELLATION * variances).all())


def prepared(
    family: CovarianceFamily,
    parameters: Parameters,
    ridge: Float64Array,
    dtype: np.dtype[np.floating],
    share: Share = alone,
) -> tuple[Parameters, Density, float]:
    """Return the density of parameters, lifted where their ridge was lost in rounding.

    Columns that add up leave a covariance with an eigenvalue of zero; 1e-6 on the diagonal cannot
    raise it where variances are 1e12, since it is less than their last digit. Such a component's
    diagonal is lifted by a share of itself, from ``LEAST_LIFT`` d eps (of the data's dtype) on,
    until there is a Cholesky factor. A ridge of zero asks for the error instead, as in
    scikit-learn.

    Returns
    -------
    parameters, density, lift
        ``lift`` is the largest share that was added, 0 as a rule.

    Raises
    ------
    IllDefinedCovarianceError
        A covariance is not positive definite and the ridge is zero, or nothing helps.
    RangeError
        Variances or precisions are numbers that the data's dtype does not have.
    """
    k, d = parameters.means.shape
    lifts = None
    while True:
        try:
            density = family.prepare(parameters, dtype, share)
            _check_range(family.variances(parameters.covariances, d), dtype)
            return parameters, density, 0.0 if lifts is None else float(lifts.max())
        except IllDefinedCovarianceError as error:
            # squares that the data's dtype does not have leave variances next to zero, or below
            variances = np.abs(family.variances(parameters.covariances, d))
            _check_range(variances[variances > 0], dtype)
            # a matrix that all components share has no number
            which = np.array(error.components) if error.components else np.arange(k)
            lifts = np.zeros((k, 1)) if lifts is None else lifts
            least = LEAST_LIFT * d * float(np.finfo(dtype).eps)
            lifts[which] = np.maximum(4.0 * lifts[which], least)
            if not ridge.all() or lifts.max() > MOST_LIFT:
                advice = PASS_FLOAT64 if dtype == np.float32 else ""
                raise IllDefinedCovarianceError(error.components, advice) from None
            lift = np.zeros((k, 1))
            lift[which] = lifts[which]
            covariances = parameters.covariances.copy()
            family.regularise(covariances, lift * family.variances(covariances, d))
            parameters = parameters._replace(covariances=covariances)


def _check_range(variances: Float64Array, dtype: np.dtype[np.floating]) -> None:
    largest = float(np.finfo(dtype).max)
    for variance in (float(variances.max(initial=1.0)), float(variances.min(initial=1.0))):
        if not 1.0 / largest <= variance <= largest:
            advice = "scale the columns" + (", or pass float64" if dtype == np.float32 else "")
            raise RangeError(
                f"A component's variance is {variance:.1e}: {dtype.name} has no such number or not "
                f"its reciprocal; {advice}"
            )
