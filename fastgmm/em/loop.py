"""The loop: passes over the rows that serve all models which have not ended."""

import time
from collections.abc import Sequence

from fastgmm.checkpoint import UNKEPT, Unkept
from fastgmm.em.boarding import memory_of
from fastgmm.em.iteration import Run
from fastgmm.em.models import Failing, Fit, Model, Settings, Standing, Start, Training, fatal
from fastgmm.executors import Placement
from fastgmm.folds import within
from fastgmm.initialization import DataConstants
from fastgmm.progress import IterationDone, ModelEnded, Observer, PassBegan, PassEnded, reporting


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
    data = Run(placement, settings, training, observe, failing)
    runs = _runs(data, starts, checkpoint)
    unfinished = [model for model in runs if not model.is_over(settings.max_iter)]
    memory = memory_of(placement, unfinished, settings.memory_limit)
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
                    model.gain(),
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


def _runs(data: Run, starts: Sequence[Start], checkpoint: Unkept) -> list[Model]:
    """Return the models at their beginning, or where an earlier run has left them."""
    left = checkpoint.restored("models", list[Standing])
    if left is None:
        return [data.begin(start, i) for i, start in enumerate(starts)]
    made = max((len(one.lower_bounds) for one in left), default=0)
    checkpoint.check_not_beyond(made, data.settings.max_iter)
    return [data.resume(*one) for one in zip(starts, range(len(starts)), left, strict=True)]


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
