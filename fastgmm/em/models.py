"""The models of a run: what they start from, where they stand and what they end as."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias

from fastgmm._typing import Float64Array, FloatArray, IntArray
from fastgmm.covariance import Density
from fastgmm.em.convergence import Tolerance, gain_of
from fastgmm.exceptions import FitError
from fastgmm.executors import Placement
from fastgmm.expectation import ExpectationStep, expectation_step
from fastgmm.folds import Part
from fastgmm.initialization import DataConstants
from fastgmm.parameters import Parameters


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
    failure: str | None = None
    """Why there is none: the parameters are then only their shapes."""


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
    row_weight: float
    """Mean weight of the rows that have any."""
    failure: str | None = None
    """What ended it if that was an error: the parameters are then those before it."""


Failing: TypeAlias = Callable[[int, FitError], None]
"""Is told that a model has failed, by its index; what it raises ends the run."""


def fatal(model: int, error: FitError) -> None:
    """End the run."""
    raise error


@dataclass
class Model:
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

    def gain(self, back: int = 1) -> float:
        """Return by how much the lower bound rose in the last iteration, or ``back`` - 1 before."""
        return gain_of([self.start.lower_bound, *self.lower_bounds[-back - 1 :]], back)

    def step(self, placement: Placement) -> ExpectationStep:
        """Return the work of its next pass."""
        return expectation_step(self.start.covariance_type, self.density, placement.grid)

    def is_over(self, max_iter: int) -> bool:
        """Return whether it takes part in no further pass."""
        if self.recentred and self.failure is None:  # in the middle of an iteration
            return False
        ended = self.failure is not None or self.converged or self.stopped
        return ended or len(self.lower_bounds) >= max_iter

    def standing(self) -> "Standing":
        """Return what a checkpoint keeps of it."""
        return Standing(
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
        """Return what has come out."""
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
            self.training.constants.row_weight,
            self.failure,
        )


class Standing(NamedTuple):
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
    failure: str | None = None
