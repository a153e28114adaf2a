"""Criteria: what a model's log likelihood is charged for its parameters; smaller is better.

All are in nats, totals over the rows, on the scale of -2 times the log likelihood.
"""

import math
import warnings

LIGHT = 1e-6
"""By so little the mean weight of the rows may miss 1: what rounding leaves of normalised ones."""


def warn_of_light_rows(row_weight: float, what: str, stacklevel: int = 1) -> None:
    """Warn where rows weigh less than one observation each: ``what`` takes them for so few.

    ``row_weight`` is the mean weight of the rows that have any.
    """
    if row_weight < 1.0 - LIGHT:
        warnings.warn(
            f"The mean weight of the rows is {row_weight:.3g}, but {what} the sum of the weights "
            "as the number of observations: multiply them so that they sum to that number",
            stacklevel=stacklevel + 1,
        )


def aic(log_likelihood: float, n_parameters: int) -> float:
    """Return Akaike's information criterion (Akaike 1974)."""
    return 2.0 * n_parameters - 2.0 * log_likelihood


def bic(log_likelihood: float, n_parameters: int, weight: float) -> float:
    """Return the Bayesian information criterion (Schwarz 1978); ``weight`` is how many rows."""
    return n_parameters * math.log(weight) - 2.0 * log_likelihood


def icl(log_likelihood: float, n_parameters: int, weight: float, entropy: float) -> float:
    """Return the integrated completed likelihood: BIC and twice the entropy of the labels.

    Biernacki, Celeux and Govaert (2000) with the responsibilities in the place of the labels.
    """
    return bic(log_likelihood, n_parameters, weight) + 2.0 * entropy
