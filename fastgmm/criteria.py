"""Criteria: what a model's log likelihood is charged for its parameters; smaller is better.

All are in nats, totals over the rows, on the scale of -2 times the log likelihood.
"""

import math


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
