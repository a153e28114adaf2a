"""An iteration of one model: from the statistics of a pass to the next parameters."""

import math
from dataclasses import dataclass

import numpy as np

from fastgmm.collapse import ON_COLLAPSE, Collapse, Outcome, collapsed
from fastgmm.covariance import FAMILIES, Density
from fastgmm.em.convergence import has_converged
from fastgmm.em.models import Failing, Model, Settings, Standing, Start, Training
from fastgmm.exceptions import FitError, IllDefinedCovarianceError, RangeError
from fastgmm.executors import Placement
from fastgmm.maximization import cancels, count_floor, maximum_likelihood, prepared
from fastgmm.parameters import Parameters, given_of
from fastgmm.progress import ComponentsReseeded, ModelEnded, ModelResumed, Observer
from fastgmm.statistics import Statistics

OF_THE_START = " These are the start's: another init_params may begin components with more rows."


@dataclass(frozen=True)
class Run:
    """What the models of a pass share."""

    placement: Placement
    settings: Settings
    training: Training
    observe: Observer
    failing: Failing

    @property
    def dtype(self) -> np.dtype[np.floating]:
        """The rows'."""
        return self.placement.source.dtype

    def is_converged(self, model: Model) -> bool:
        """Return whether a model has gained enough."""
        bounds = [model.start.lower_bound, *model.lower_bounds]
        total_weight = model.training.constants.total_weight
        return has_converged(self.settings.tol, bounds, total_weight, self.dtype)

    def floor(self, training: Training) -> float:
        """Return what is added to counts."""
        mean_weight = training.constants.total_weight / self.placement.grid.n_samples
        return count_floor(self.dtype, mean_weight)

    def begin(self, start: Start, index: int) -> Model:
        """Return a model before its first iteration."""
        family = FAMILIES[start.covariance_type]
        training = start.training or self.training
        reseeds = np.zeros(len(start.parameters.weights), np.int64)
        model = Model(start, training, index, start.parameters, reseeds, reseeds[:0])
        try:
            if start.failure is not None:
                raise FitError(start.failure)
            model.parameters, model.density, model.lift = prepared(
                family, start.parameters, training.ridge, self.dtype
            )
        except FitError as error:
            if isinstance(error, IllDefinedCovarianceError):
                error = IllDefinedCovarianceError(error.components, error.advice + OF_THE_START)
            self.fail(model, error)
            self.observe(ModelEnded(index, 0, converged=False))
        return model

    def resume(self, start: Start, index: int, standing: Standing) -> Model:
        """Return a model as it was, and tell of what it has done."""
        model = Model(
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
        gains = [model.gain(n_iter - i) for i in range(n_iter)]
        rows = self.placement.grid.n_samples
        self.observe(ModelResumed(index, model.lower_bounds, gains, model.seconds, rows))
        if model.is_over(self.settings.max_iter):
            self.observe(ModelEnded(index, n_iter, model.converged))
        return model

    def _density(self, covariance_type: str, standing: Standing) -> Density:
        family, origins = FAMILIES[covariance_type], standing.origins
        density = family.prepare(standing.parameters, self.dtype, self.placement.share)
        return density if origins is None else family.about(density, origins)

    def fail(self, model: Model, error: FitError) -> None:
        """Give a model up, unless its error ends the run."""
        self.failing(model.index, error)
        model.failure = str(error)

    def advance(self, model: Model, statistics: Statistics) -> bool:
        """Make the M-step if that is possible; return whether the model has one iteration more."""
        try:
            return _advance(model, statistics, self)
        except FitError as error:
            self.fail(model, error)
            return False


def _advance(model: Model, statistics: Statistics, data: Run) -> bool:
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
    model.converged = len(outcome.reseeded) == 0 and data.is_converged(model)
    return True


def _outcome(model: Model, parameters: Parameters, data: Run) -> Outcome:
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
