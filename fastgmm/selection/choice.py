"""The choice: by which criterion, and among which candidates."""

import math
import warnings
from collections.abc import Callable, Sequence
from typing import TypeAlias

import numpy as np

from fastgmm._typing import Float64Array
from fastgmm.covariance import FAMILIES
from fastgmm.exceptions import FitError, IllDefinedCovarianceError
from fastgmm.initialization import DataConstants
from fastgmm.parameters import Parameters
from fastgmm.selection.results import Candidate

Loss: TypeAlias = Callable[[Candidate], float]

CRITERIA: dict[str, Loss] = {
    "aic": lambda candidate: candidate.aic,
    "bic": lambda candidate: candidate.bic,
    "icl": lambda candidate: candidate.icl,
    "cv": lambda candidate: math.inf if candidate.cv is None else -candidate.cv,
}
"""``criterion`` -> what the best candidate has the least of."""

NARROW = 10.0
"""Less than so many ridges of variance are the ridge's more than the data's."""


def degenerate(
    covariance_type: str,
    parameters: Parameters,
    ridge: Float64Array,
    constants: DataConstants,
    dtype: np.dtype[np.floating],
) -> bool:
    """Return whether a component is starved or, in some direction, hardly wider than its ridge.

    Starved: it holds at most d rows. Hardly wider: an eigenvalue of its covariance is at most
    ``NARROW`` ridges, so that nothing positive definite is left once these are taken off.
    """
    d = parameters.means.shape[1]
    rows = parameters.weights * (constants.total_weight / constants.row_weight)
    if bool((rows <= d).any()):
        return True
    family = FAMILIES[covariance_type]
    covariances = np.array(parameters.covariances)
    family.regularise(covariances, -NARROW * ridge[np.newaxis])
    try:
        family.prepare(parameters._replace(covariances=covariances), dtype)
    except IllDefinedCovarianceError:
        return True
    return False


def best_of(table: Sequence[Candidate], criterion: str, allow_degenerate: bool) -> int:
    """Return the index of the best candidate; of equal ones the first.

    Candidates that failed are none of them; a warning names them. Warns where there are only
    degenerate ones, too, and takes the best of these. Raises FitError where all have failed.
    """
    failed = [one for one in table if one.failure is not None]
    if failed:
        _tell_of(failed, len(table))
    losses = [CRITERIA[criterion](candidate) for candidate in table]
    fitted = [i for i, one in enumerate(table) if one.failure is None]
    sound = [i for i in fitted if allow_degenerate or not table[i].degenerate]
    if not sound:
        warnings.warn(
            "all candidates are degenerate (a component of no more rows than columns, or narrower "
            "than 10 reg_covar): ask for fewer components, look at the data's scale, or set "
            "regularization='relative'",
            stacklevel=3,
        )
    return min(sound or fitted, key=lambda i: losses[i])


def _tell_of(failed: Sequence[Candidate], n_candidates: int) -> None:
    """Warn of the candidates that failed; raise FitError if these are all."""
    names = [f"{one.covariance_type} {one.n_components}" for one in failed]
    if len(failed) == n_candidates:
        raise FitError(f"all candidates failed, {names[0]} thus: {failed[0].failure}")
    warnings.warn(
        f"{len(failed)} of {n_candidates} candidates failed: {', '.join(names)}; {names[0]} thus: "
        f"{failed[0].failure}",
        stacklevel=4,
    )
