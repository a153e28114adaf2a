"""The loop: expectation-maximisation of a list of models in shared passes over the rows."""

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Literal, TypeAlias

import numpy as np

from fastgmm.covariance import FAMILIES, Density
from fastgmm.exceptions import DataError
from fastgmm.executors import Placement
from fastgmm.expectation import ExpectationStep, expectation_step
from fastgmm.maximization import cancels, count_floor, maximum_likelihood
from fastgmm.parameters import Parameters
from fastgmm.progress import IterationDone, ModelEnded, Observer, PassBegan, RowsDone
from fastgmm.statistics import Statistics

Tolerance: TypeAlias = float | Literal["statistical"]

REMAINING_GAIN = 0.01
"""tol="statistical" stops when so much total log likelihood (nats) is left to gain: parameters
then are within sqrt(2 x 0.01) = 0.14 standard errors of the maximum, at any number of rows."""


@dataclass(frozen=True)
class Start:
    """A model before its first iteration."""

    covariance_type: str
    parameters: Parameters
    lower_bound: float = -math.inf
    """Where a warm start left off, else minus infinity."""


@dataclass(frozen=True)
class Settings:
    """How long EM goes on and what the M-step adds; the same for all models of a pass."""

    tol: Tolerance
    max_iter: int
    reg_covar: float


@dataclass(frozen=True)
class Fit:
    """A model after its last iteration."""

    parameters: Parameters
    lower_bounds: list[float]
    """Mean log likelihood per row (nats) before each iteration's M-step."""
    n_iter: int
    converged: bool
    lower_bound: float
    """The last of ``lower_bounds``, or where a start without iterations stood."""


@dataclass
class _Run:
    """A model while it is fitted."""

    start: Start
    index: int
    density: Density
    parameters: Parameters
    recentred: bool = False
    lower_bounds: list[float] = field(default_factory=list)
    converged: bool = False
    stopped: bool = False
    """Whether an observer asked for no further iteration."""

    def step(self, placement: Placement) -> ExpectationStep:
        return expectation_step(self.start.covariance_type, self.density, placement.grid)

    def is_over(self, max_iter: int) -> bool:
        if self.recentred:  # in the middle of an iteration
            return False
        return self.converged or self.stopped or len(self.lower_bounds) >= max_iter

    def fit(self) -> Fit:
        last = self.lower_bounds[-1] if self.lower_bounds else self.start.lower_bound
        n_iter = len(self.lower_bounds)
        return Fit(self.parameters, self.lower_bounds, n_iter, self.converged, last)


def run(
    placement: Placement,
    starts: Sequence[Start],
    settings: Settings,
    total_weight: float,
    observe: Observer,
) -> list[Fit]:
    """Fit every start; a pass serves all models that have not converged.

    A model's numbers do not depend on its company: it gets the bits that it would get alone.

    Parameters
    ----------
    placement : Placement
        The rows.
    starts : list of Start
        They may differ in covariance family and number of components.
    settings : Settings
    total_weight : float
        Sum of the rows' weights (their number without weights).
    observe : callable
        Is told of passes, rows and iterations; a true answer to an iteration stops its model.

    Raises
    ------
    IllDefinedCovarianceError
        A covariance is not positive definite; ``reg_covar`` keeps them so.
    DataError
        The log likelihood is not finite: rows infinitely far from every component.
    """
    dtype = placement.source.dtype
    n_samples = placement.grid.n_samples
    floor = count_floor(dtype, total_weight / n_samples)
    runs = [
        _Run(
            start,
            i,
            FAMILIES[start.covariance_type].prepare(start.parameters, dtype),
            start.parameters,
        )
        for i, start in enumerate(starts)
    ]
    active = runs if settings.max_iter > 0 else []
    while active:
        began = time.perf_counter()
        observe(PassBegan("iteration", n_samples))
        results = placement.reduce(
            [model.step(placement) for model in active], lambda rows: observe(RowsDone(rows))
        )
        seconds = time.perf_counter() - began
        for model, statistics in zip(active, results, strict=True):
            if _advance(model, statistics, settings, floor, total_weight, dtype):
                iteration = IterationDone(
                    model.index,
                    len(model.lower_bounds),
                    model.lower_bounds[-1],
                    _gain(model),
                    seconds,
                    n_samples,
                    model.parameters,
                )
                model.stopped = bool(observe(iteration))
            if model.is_over(settings.max_iter):
                observe(ModelEnded(model.index, len(model.lower_bounds), model.converged))
        active = [model for model in active if not model.is_over(settings.max_iter)]
    return [model.fit() for model in runs]


def _advance(
    model: _Run,
    statistics: Statistics,
    settings: Settings,
    floor: float,
    total_weight: float,
    dtype: np.dtype[np.floating],
) -> bool:
    """Make the M-step; False if the pass has to be repeated about the new means instead."""
    family = FAMILIES[model.start.covariance_type]
    origins = model.density.origins.astype(np.float64)
    lower_bound = float(statistics.log_likelihood[0]) / total_weight
    if not math.isfinite(lower_bound):
        raise DataError(
            f"The log likelihood is {lower_bound} in iteration {len(model.lower_bounds) + 1}: some "
            "rows are too far from every component for their density to be told from zero. Start "
            "nearer to the data, or scale the columns."
        )
    parameters = maximum_likelihood(family, statistics, origins, settings.reg_covar, floor)
    if not model.recentred and cancels(family, parameters, origins):
        model.density = family.about(model.density, parameters.means.astype(dtype))
        model.recentred = True
        return False
    model.recentred = False
    model.density = family.prepare(parameters, dtype)
    model.parameters = parameters
    model.lower_bounds.append(lower_bound)
    model.converged = _converged(model, settings.tol, total_weight, dtype)
    return True


def _gain(model: _Run, back: int = 1) -> float:
    """Return by how much the lower bound rose in the last iteration, or ``back`` - 1 before."""
    bounds = [model.start.lower_bound, *model.lower_bounds]
    if len(bounds) < back + 1:
        return math.inf
    return bounds[-back] - bounds[-back - 1]


def _converged(
    model: _Run, tol: Tolerance, total_weight: float, dtype: np.dtype[np.floating]
) -> bool:
    if tol != "statistical":
        return bool(abs(_gain(model)) < tol)
    gains = [_gain(model, back) * total_weight for back in (1, 2, 3)]
    noise = _noise(abs(model.lower_bounds[-1]), total_weight, dtype)
    return all(
        _remaining(now, before, noise) <= max(REMAINING_GAIN, noise)
        # twice in a row: one lucky ratio on a plateau is not the tail
        for now, before in pairwise(gains)
    )


def _noise(log_density: float, total_weight: float, dtype: np.dtype[np.floating]) -> float:
    """Return how far rounding moves the total log likelihood from one iteration to the next.

    Its sum rounds once in float64; rows that are computed in float32 each err on their own, which
    adds up like a random walk (measured: 1e-3 nats at 200,000 rows of log density -3.5).
    """
    summing = 8 * np.finfo(np.float64).eps * log_density * total_weight
    rows = 16 * np.finfo(dtype).eps * max(log_density, 1.0) * math.sqrt(total_weight)
    return float(max(summing, rows))


def _remaining(gain: float, previous: float, noise: float) -> float:
    """Return what is left of a geometric tail (Aitken): g (r + r^2 + ...) with r = g / previous."""
    if abs(gain) <= max(REMAINING_GAIN * 1e-3, noise):
        return abs(gain)
    if math.isinf(previous) or not 0.0 < gain < previous:
        return math.inf
    ratio = gain / previous
    return gain * ratio / (1.0 - ratio)
