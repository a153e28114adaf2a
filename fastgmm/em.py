"""The loop: expectation-maximisation of a list of models in shared passes over the rows."""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Literal, NamedTuple, TypeAlias

import numpy as np

from fastgmm._typing import Float64Array, FloatArray, IntArray
from fastgmm.checkpoint import UNKEPT, Unkept
from fastgmm.collapse import ON_COLLAPSE, Collapse, Outcome, collapsed
from fastgmm.covariance import FAMILIES, Density
from fastgmm.exceptions import FitError, InvalidParameterError, RangeError
from fastgmm.executors import Placement
from fastgmm.expectation import ExpectationStep, expectation_step, reading_bytes, state_bytes
from fastgmm.folds import Part, within
from fastgmm.initialization import DataConstants
from fastgmm.maximization import cancels, count_floor, maximum_likelihood, prepared
from fastgmm.parameters import Parameters, given_of
from fastgmm.progress import (
    ComponentsReseeded,
    IterationDone,
    ModelEnded,
    ModelResumed,
    Observer,
    PassBegan,
    PassEnded,
    reporting,
)
from fastgmm.statistics import Statistics

Tolerance: TypeAlias = float | Literal["statistical"]

REMAINING_GAIN = 0.01
"""tol="statistical" stops when so much total log likelihood (nats) is left to gain: parameters
then are within sqrt(2 x 0.01) = 0.14 standard errors of the maximum, at any number of rows."""


@dataclass(frozen=True)
class Training:
    """The rows that a model is fitted to, and what follows from them."""

    part: Part | None
    """None: all rows."""
    constants: DataConstants
    ridge: Float64Array
    """(d,) added to the diagonals of covariances."""


@dataclass(frozen=True)
class Start:
    """A model before its first iteration."""

    covariance_type: str
    parameters: Parameters
    lower_bound: float = -math.inf
    """Where a warm start left off, else minus infinity."""
    training: Training | None = None
    """None: all rows, as the run says."""


@dataclass(frozen=True)
class Settings:
    """How long EM goes on and what the M-step adds; the same for all models of a pass."""

    tol: Tolerance
    max_iter: int
    ridge: Float64Array
    """(d,) added to the diagonals of covariances."""
    on_collapse: str = "keep"
    """What is done about components that collapse: a name in ``collapse.ON_COLLAPSE``."""
    memory_limit: int | None = None
    """Bytes of a pass; half of the memory there is if None. Models that do not fit wait."""
    fixed: tuple[str, ...] = ()
    """Names of the parameters that stay as a start has them. With covariances the ridge is 0."""


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
    lift: float
    """The most that was added to a covariance that the ridge did not make positive definite, as a
    share of its variances; 0 as a rule."""
    collapsed: IntArray
    """Components that had collapsed in the last iteration and were kept."""
    failure: str | None = None
    """What ended it if that was an error: the parameters are then those before it."""


Failing: TypeAlias = Callable[[int, FitError], None]
"""Is told that a model has failed, by its index; what it raises ends the run."""


def fatal(model: int, error: FitError) -> None:
    """End the run."""
    raise error


@dataclass
class _Run:
    """A model while it is fitted."""

    start: Start
    training: Training
    index: int
    parameters: Parameters
    reseeds: IntArray
    """(k,) how often each component was started anew."""
    collapsed: IntArray
    density: Density = field(init=False)
    """Of the parameters; a model that failed at once has none."""
    lift: float = 0.0
    recentred: bool = False
    lower_bounds: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    """Of each iteration's pass."""
    converged: bool = False
    stopped: bool = False
    """Whether an observer asked for no further iteration."""
    failure: str | None = None

    def step(self, placement: Placement) -> ExpectationStep:
        return expectation_step(self.start.covariance_type, self.density, placement.grid)

    def is_over(self, max_iter: int) -> bool:
        if self.recentred and self.failure is None:  # in the middle of an iteration
            return False
        ended = self.failure is not None or self.converged or self.stopped
        return ended or len(self.lower_bounds) >= max_iter

    def standing(self) -> "_Standing":
        return _Standing(
            self.parameters,
            self.density.origins if self.recentred and self.failure is None else None,
            self.lift,
            self.reseeds.copy(),
            self.collapsed,
            self.lower_bounds.copy(),
            self.seconds.copy(),
            self.converged,
            self.stopped,
            self.failure,
        )

    def fit(self) -> Fit:
        last = self.lower_bounds[-1] if self.lower_bounds else self.start.lower_bound
        n_iter = len(self.lower_bounds)
        return Fit(
            self.parameters,
            self.lower_bounds,
            n_iter,
            self.converged,
            last,
            self.lift,
            self.collapsed,
            self.failure,
        )


class _Standing(NamedTuple):
    """What a checkpoint keeps of a model between two passes; the rest follows from it."""

    parameters: Parameters
    origins: FloatArray | None
    """Where the pass has to be repeated about the new means."""
    lift: float
    reseeds: IntArray
    collapsed: IntArray
    lower_bounds: list[float]
    seconds: list[float]
    converged: bool
    stopped: bool
    failure: str | None


@dataclass(frozen=True)
class _Data:
    """What the models of a pass share."""

    placement: Placement
    settings: Settings
    training: Training
    observe: Observer
    failing: Failing

    @property
    def dtype(self) -> np.dtype[np.floating]:
        return self.placement.source.dtype

    def floor(self, training: Training) -> float:
        mean_weight = training.constants.total_weight / self.placement.grid.n_samples
        return count_floor(self.dtype, mean_weight)

    def begin(self, start: Start, index: int) -> _Run:
        family = FAMILIES[start.covariance_type]
        training = start.training or self.training
        reseeds = np.zeros(len(start.parameters.weights), np.int64)
        model = _Run(start, training, index, start.parameters, reseeds, reseeds[:0])
        try:
            model.parameters, model.density, model.lift = prepared(
                family, start.parameters, training.ridge, self.dtype
            )
        except FitError as error:
            self.fail(model, error)
            self.observe(ModelEnded(index, 0, converged=False))
        return model

    def resume(self, start: Start, index: int, standing: _Standing) -> _Run:
        """Return a model as it was, and tell of what it has done."""
        model = _Run(
            start,
            start.training or self.training,
            index,
            standing.parameters,
            standing.reseeds,
            standing.collapsed,
            standing.lift,
            standing.origins is not None,
            standing.lower_bounds,
            standing.seconds,
            standing.converged,
            standing.stopped,
        )
        if standing.failure is not None:
            self.fail(model, FitError(standing.failure))
        else:
            model.density = self._density(start.covariance_type, standing)
        n_iter = len(model.lower_bounds)
        gains = [_gain(model, n_iter - i) for i in range(n_iter)]
        rows = self.placement.grid.n_samples
        self.observe(ModelResumed(index, model.lower_bounds, gains, model.seconds, rows))
        if model.is_over(self.settings.max_iter):
            self.observe(ModelEnded(index, n_iter, model.converged))
        return model

    def _density(self, covariance_type: str, standing: _Standing) -> Density:
        family, origins = FAMILIES[covariance_type], standing.origins
        density = family.prepare(standing.parameters, self.dtype, self.placement.share)
        return density if origins is None else family.about(density, origins)

    def fail(self, model: _Run, error: FitError) -> None:
        """Give a model up, unless its error ends the run."""
        self.failing(model.index, error)
        model.failure = str(error)

    def advance(self, model: _Run, statistics: Statistics) -> bool:
        """Make the M-step if that is possible; return whether the model has one iteration more."""
        try:
            return _advance(model, statistics, self)
        except FitError as error:
            self.fail(model, error)
            return False


def run(
    placement: Placement,
    starts: Sequence[Start],
    settings: Settings,
    constants: DataConstants,
    observe: Observer,
    checkpoint: Unkept = UNKEPT,
    failing: Failing = fatal,
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
    constants : DataConstants
        What the rows weigh.
    observe : callable
        Is told of passes, rows and iterations; a true answer to an iteration stops its model.
    checkpoint : Checkpoint
        Where the models stand is kept in it after every pass, under "models" and in the order of
        ``starts``; if an earlier run has left them there, they go on.
    failing : callable
        Is told of models that fail. The others go on unless it raises, which it does by default:

    Raises
    ------
    IllDefinedCovarianceError
        A covariance is not positive definite; any positive ``reg_covar`` keeps them so.
    CollapseError
        A component has collapsed and ``settings.on_collapse`` is "raise".
    RangeError
        The log likelihood is not finite: rows infinitely far from every component.
    InvalidParameterError
        One model alone takes more than ``settings.memory_limit``.
    """
    n_samples = placement.grid.n_samples
    training = Training(None, constants, settings.ridge)
    data = _Data(placement, settings, training, observe, failing)
    runs = _runs(data, starts, checkpoint)
    unfinished = [model for model in runs if not model.is_over(settings.max_iter)]
    memory = _memory(placement, unfinished, settings.memory_limit)
    placement.warm_up([model.step(placement) for model in unfinished])
    while unfinished:
        active = memory.aboard(unfinished)
        began = time.perf_counter()
        observe(PassBegan("iteration", n_samples))
        works = [within(model.training.part, model.step(placement)) for model in active]
        results = placement.reduce(works, reporting(observe))
        seconds = time.perf_counter() - began
        for model, statistics in zip(active, results, strict=True):
            if data.advance(model, statistics):
                model.seconds.append(seconds)
                iteration = IterationDone(
                    model.index,
                    len(model.lower_bounds),
                    model.lower_bounds[-1],
                    _gain(model),
                    seconds,
                    n_samples,
                    model.parameters,
                    model.start.covariance_type,
                    len(model.collapsed),
                )
                model.stopped = bool(observe(iteration))
            if model.is_over(settings.max_iter):
                observe(ModelEnded(model.index, len(model.lower_bounds), model.converged))
        unfinished = [model for model in unfinished if not model.is_over(settings.max_iter)]
        checkpoint.keep("models", lambda: [model.standing() for model in runs])
        observe(_pass_ended(placement, seconds))
    return [model.fit() for model in runs]


def _runs(data: _Data, starts: Sequence[Start], checkpoint: Unkept) -> list[_Run]:
    """Return the models at their beginning, or where an earlier run has left them."""
    left = checkpoint.restored("models", list[_Standing])
    if left is None:
        return [data.begin(start, i) for i, start in enumerate(starts)]
    return [data.resume(*one) for one in zip(starts, range(len(starts)), left, strict=True)]


@dataclass(frozen=True)
class _Memory:
    """What there is for the statistics of a pass, and what each model needs of it, in bytes."""

    room: int
    needs: dict[int, int]
    """By a model's index."""
    limit: int | None
    """What the user allows a pass."""
    n_threads: int

    def aboard(self, unfinished: Sequence[_Run]) -> Sequence[_Run]:
        """Return the models of the next pass: the first ones that fit into memory together.

        A model that has begun stays, since those that finish leave room to those behind them.
        """
        taken, aboard = 0, 0
        for model in unfinished:
            taken += self.needs[model.index]
            if taken > self.room and (aboard or self.limit is not None):
                break
            aboard += 1
        if aboard == 0 and self.limit is not None:
            first = unfinished[0]
            raise InvalidParameterError(
                f"memory_limit={self.limit} is too little: a pass with "
                f"{len(first.density.means)} components takes "
                f"{self.limit - self.room + self.needs[first.index]} bytes on {self.n_threads} "
                "threads; allow as many, or take fewer threads or smaller blocks (chunk_size)"
            )
        return unfinished[:aboard]


def _memory(placement: Placement, unfinished: Sequence[_Run], limit: int | None) -> _Memory:
    n_threads, grid = placement.n_threads, placement.grid
    room = placement.memory // 2 if limit is None else limit
    room -= reading_bytes(placement.source, grid, n_threads)
    needs = {one.index: state_bytes(one.step(placement), grid, n_threads) for one in unfinished}
    return _Memory(room, needs, limit, n_threads)


def _pass_ended(placement: Placement, seconds: float) -> PassEnded:
    source, rows, costs = placement.source, placement.grid.n_samples, placement.costs
    n_bytes = rows * (source.n_features * source.dtype.itemsize + 8 * source.weighted)
    return PassEnded(
        "iteration",
        rows,
        n_bytes,
        seconds,
        costs.read,
        costs.compute,
        costs.merge,
        costs.retries,
        len(costs.workers),
    )


def _advance(model: _Run, statistics: Statistics, data: _Data) -> bool:
    """Make the M-step; False if the pass has to be repeated about the new means instead."""
    family, training = FAMILIES[model.start.covariance_type], model.training
    ridge = training.ridge
    statistics = family.complete(statistics, model.density, training.constants.scatter)
    origins = model.density.origins.astype(np.float64)
    lower_bound = float(statistics.log_likelihood[0]) / training.constants.total_weight
    if not math.isfinite(lower_bound):
        raise RangeError(
            f"The log likelihood is {lower_bound} in iteration {len(model.lower_bounds) + 1}: some "
            "rows are too far from every component for their density to be told from zero. Start "
            "nearer to the data, or scale the columns."
        )
    fixed = given_of(model.parameters, data.settings.fixed)
    parameters = maximum_likelihood(
        family, statistics, origins, ridge, data.floor(training), data.placement.share, fixed
    )
    if not model.recentred and cancels(family, parameters, origins):
        model.density = family.about(model.density, parameters.means.astype(data.dtype))
        model.recentred = True
        return False
    model.recentred = False
    outcome = _outcome(model, parameters, data)
    model.parameters, model.density, lift = prepared(
        family, outcome.parameters, ridge, data.dtype, data.placement.share
    )
    model.lift = max(model.lift, lift)
    model.lower_bounds.append(lower_bound)
    # a gain is no news about what has just been started
    model.converged = len(outcome.reseeded) == 0 and _converged(model, data)
    return True


def _outcome(model: _Run, parameters: Parameters, data: _Data) -> Outcome:
    """Do about collapsed components what the policy says."""
    training = model.training
    family = FAMILIES[model.start.covariance_type]
    model.collapsed = collapsed(family, parameters, training.ridge, training.constants)
    if len(model.collapsed) == 0:
        return Outcome(parameters, model.collapsed)
    iteration = len(model.lower_bounds) + 1
    outcome = ON_COLLAPSE[data.settings.on_collapse](
        Collapse(
            model.collapsed,
            model.reseeds,
            iteration,
            model.start.covariance_type,
            parameters,
            model.density,
            training.ridge,
            training.constants,
            data.placement,
            training.part,
            data.observe,
        )
    )
    model.reseeds[outcome.reseeded] += 1
    model.collapsed = np.setdiff1d(model.collapsed, outcome.reseeded)
    if len(outcome.reseeded):
        data.observe(ComponentsReseeded(model.index, iteration, outcome.reseeded.tolist()))
    return outcome


def _gain(model: _Run, back: int = 1) -> float:
    """Return by how much the lower bound rose in the last iteration, or ``back`` - 1 before."""
    bounds = [model.start.lower_bound, *model.lower_bounds]
    if len(bounds) < back + 1:
        return math.inf
    return bounds[-back] - bounds[-back - 1]


def _converged(model: _Run, data: _Data) -> bool:
    tol, total_weight = data.settings.tol, model.training.constants.total_weight
    if tol != "statistical":
        return bool(abs(_gain(model)) < tol)
    gains = [_gain(model, back) * total_weight for back in (1, 2, 3)]
    noise = _noise(abs(model.lower_bounds[-1]), total_weight, data.dtype)
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
