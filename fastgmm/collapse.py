"""Collapse: when a component has nothing left to describe, and what is done about it.

A component has collapsed after an M-step if one of these holds:

* it is *starved*: it holds at most m + 1/2 rows, where m rows leave a covariance of its shape
  singular wherever they lie (full: the number of columns, diag and spherical 1, tied 0) and a row
  counts by the mean weight of the rows that have any;
* it has *no spread*: in every column its variance is at most twice what regularisation adds, so
  that the rows themselves contribute less than the regularisation does.
"""

import math
from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import numpy as np

from fastgmm._typing import Float64Array, IntArray
from fastgmm.covariance import FAMILIES, CovarianceFamily, Density
from fastgmm.exceptions import CollapseError
from fastgmm.executors import Placement
from fastgmm.folds import Part
from fastgmm.initialization import DataConstants, reseeded
from fastgmm.parameters import Parameters
from fastgmm.progress import Observer, PassBegan, reporting

MOST_RESEEDS = 5
"""A component that collapses again after so many new starts is kept as it is: on 5 distinct rows
no more than 5 components can live."""


def collapsed(
    family: CovarianceFamily,
    parameters: Parameters,
    ridge: Float64Array,
    constants: DataConstants,
) -> IntArray:
    """Return which components have collapsed, rising (see the head of this module)."""
    d = parameters.means.shape[1]
    rows = parameters.weights * (constants.total_weight / constants.row_weight)
    starved = rows <= family.rows_without_spread(d) + 0.5
    variances = family.variances(parameters.covariances, d)
    # written so that an undefined variance counts as none
    spread = (variances > 2.0 * ridge).any(axis=-1)
    return np.flatnonzero(starved | ~spread)


class Collapse(NamedTuple):
    """What a policy is told: some components of a model have collapsed in an iteration."""

    components: IntArray
    """Which, rising."""
    reseeds: IntArray
    """(k,) how often each component has been started anew."""
    iteration: int
    covariance_type: str
    parameters: Parameters
    """After the M-step."""
    density: Density
    """Before it."""
    ridge: Float64Array
    constants: DataConstants
    placement: Placement
    part: Part | None
    """Which of its rows the model is fitted to; None: all."""
    observe: Observer
    """Is told of passes and rows that a policy reads."""


class Outcome(NamedTuple):
    """What a policy decided."""

    parameters: Parameters
    reseeded: IntArray
    """Components that were started anew."""


Policy: TypeAlias = Callable[[Collapse], Outcome]


def _keep(collapse: Collapse) -> Outcome:
    return Outcome(collapse.parameters, np.empty(0, np.int64))


def _complain(collapse: Collapse) -> Outcome:
    first = int(collapse.components[0])
    (weights, means, covariances), constants = collapse.parameters, collapse.constants
    family = FAMILIES[collapse.covariance_type]
    variances = np.broadcast_to(family.variances(covariances, means.shape[1]), means.shape)
    n_rows = weights[first] * constants.total_weight / constants.row_weight
    deviation = math.sqrt(max(variances[first].max(), 0.0))
    raise CollapseError(first, collapse.iteration, float(n_rows), deviation)


def _reseed(collapse: Collapse) -> Outcome:
    components = collapse.components[collapse.reseeds[collapse.components] < MOST_RESEEDS]
    if len(components) == 0:
        return _keep(collapse)
    collapse.observe(PassBegan("reseeding", collapse.placement.grid.n_samples))
    return Outcome(
        *reseeded(
            collapse.placement,
            collapse.part,
            collapse.covariance_type,
            collapse.parameters,
            collapse.density,
            components,
            collapse.ridge,
            collapse.constants,
            reporting(collapse.observe),
        )
    )


ON_COLLAPSE: dict[str, Policy] = {"keep": _keep, "raise": _complain, "reseed": _reseed}
"""``on_collapse`` -> policy."""
