"""Who is told of a fit: plain callables, and callbacks by scikit-learn's protocol (SLEP023)."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple, TypeAlias, TypeVar

import numpy as np

from fastgmm import _sklearn
from fastgmm.progress import (
    Event,
    FitBegan,
    FitEnded,
    IterationDone,
    ModelEnded,
    ModelResumed,
    Observer,
    PassBegan,
)

Callback: TypeAlias = Any
"""An object that follows scikit-learn's FitCallback protocol."""

Result = TypeVar("Result")

HOOKS = ("setup", "on_fit_task_begin", "on_fit_task_end", "teardown")


class PlainCallback:
    """A callable in the list of scikit-learn's callbacks, deaf to what is told there.

    One list for both: scikit-learn's searches and pipelines put their own callbacks into it and
    take them off again, and must find there what they shall leave alone.
    """

    def __init__(self, observer: Observer) -> None:
        self.observer = observer

    def setup(self, estimator: Any, context: Any) -> None:
        """Do nothing."""

    def on_fit_task_begin(self, estimator: Any, context: Any) -> None:
        """Do nothing."""

    def on_fit_task_end(self, estimator: Any, context: Any) -> None:
        """Do nothing."""

    def teardown(self, estimator: Any, context: Any) -> None:
        """Do nothing."""


def as_callback(callback: Any) -> Callback:
    """Return a callback of scikit-learn's as it is, a callable wrapped; else raise TypeError."""
    if not isinstance(callback, type):
        if all(callable(getattr(callback, hook, None)) for hook in HOOKS):
            return callback
        if callable(callback):
            return PlainCallback(callback)
    raise TypeError(
        "callbacks must be instances following the FitCallback protocol or callables that take "
        f"an event, but {callback!r} is neither"
    )


class Occasion(NamedTuple):
    """What ``fit`` was called with."""

    X: Any
    y: Any
    sample_weight: Any


AttributesAt: TypeAlias = Callable[[IterationDone, bool], dict[str, Any]]
"""Returns the fitted attributes as if the fit had ended there, converged or not."""


class FitTasks:
    """Tell scikit-learn's callbacks of a fit: its tasks are the fit, its starts, their iterations.

    Starts share their passes, so their iterations take turns.
    """

    def __init__(
        self, estimator: Any, support: Any, occasion: Occasion, attributes_at: AttributesAt
    ) -> None:
        self._estimator = estimator
        self._attributes_at = attributes_at
        self._support = support
        metadata = occasion.sample_weight
        self._told = {
            "estimator": estimator,
            "X": occasion.X,
            "y": occasion.y,
            "metadata": None if metadata is None else {"sample_weight": metadata},
        }
        self._fit: Any = None
        self._starts: dict[int, Any] = {}
        self._iterations: dict[int, Any] = {}
        self._last: dict[int, IterationDone] = {}
        self._enough = False

    def __call__(self, event: Event) -> bool:
        """Take one event; True stops the model it is about."""
        match event:
            case FitBegan():
                self._begin(event.n_models)
            case PassBegan(name="iteration"):
                self._begin_iterations()
            case IterationDone():
                return self._end_iteration(event)
            case ModelEnded():
                self._end_start(event.model, event.converged)
            case FitEnded():
                for model in list(self._starts):  # max_iter=0: starts without an iteration
                    self._end_start(model, False)
                self._fit.call_on_fit_task_end(**self._told, reconstruction_attributes=dict)
        return False

    def _begin(self, n_models: int) -> None:
        context = self._support.CallbackSupportMixin._init_callback_context
        self._fit = context(self._estimator, max_subtasks=n_models)
        self._fit.call_on_fit_task_begin(**self._told)
        for model in range(n_models):
            start = self._fit.subcontext("start", max_subtasks=self._estimator.max_iter)
            self._starts[model] = start.call_on_fit_task_begin(**self._told)

    def _begin_iterations(self) -> None:
        for model, start in self._starts.items():
            if model not in self._iterations:  # else the pass is repeated about the new means
                iteration = start.subcontext("iteration")
                self._iterations[model] = iteration.call_on_fit_task_begin(**self._told)

    def _end_iteration(self, event: IterationDone) -> bool:
        self._last[event.model] = event
        iteration = self._iterations.pop(event.model)
        stop = iteration.call_on_fit_task_end(
            **self._told, reconstruction_attributes=partial(self._attributes_at, event, False)
        )
        return bool(stop) or self._enough

    def _end_start(self, model: int, converged: bool) -> None:
        last = self._last.get(model)
        attributes = None if last is None else partial(self._attributes_at, last, converged)
        start = self._starts.pop(model)
        self._enough |= start.call_on_fit_task_end(
            **self._told, reconstruction_attributes=attributes
        )


def told_of(
    estimator: Any,
    occasion: Occasion,
    attributes_at: AttributesAt,
    fit: Callable[[Sequence[Observer]], Result],
) -> Result:
    """Call ``fit`` with the estimator's observers; whatever happens, callbacks are torn down."""
    callbacks = getattr(estimator, "_skl_callbacks", [])
    plain = [one.observer for one in callbacks if isinstance(one, PlainCallback)]
    # below a search or pipeline that has callbacks, its contexts are continued here
    if len(plain) == len(callbacks) and not hasattr(estimator, "_parent_callback_ctx"):
        return fit(plain)
    support = _sklearn.asked_for("sklearn.callback")

    def told(estimator: Any) -> Result:
        return fit([*plain, FitTasks(estimator, support, occasion, attributes_at)])

    result: Result = support.with_callbacks(told)(estimator)
    return result


class Observers:
    """Several observers as one; True if any of them says so."""

    def __init__(self, *observers: Observer) -> None:
        self._observers = observers

    def __call__(self, event: Event) -> bool:
        """Hand an event to all of them, in order."""
        stop = False
        for observer in self._observers:
            answer = observer(event)
            # nothing but True: what a lambda around print or write returns is no answer
            if answer is True or isinstance(answer, np.bool_):
                stop |= bool(answer)
        return stop


class Iteration(NamedTuple):
    """One line of ``history_``."""

    start: int
    """Index of the start, from 0."""
    iteration: int
    """From 1."""
    lower_bound: float
    """Mean log likelihood per row (nats) before this iteration's M-step."""
    gain: float
    """By how much that rose (infinity after the first)."""
    seconds: float
    """Duration of the pass; starts that share it all report the same."""
    rows: int
    """Rows of the pass."""


class History:
    """Keep every start's every iteration."""

    def __init__(self) -> None:
        self.iterations: list[Iteration] = []

    def lower_bounds(self, start: int) -> list[float]:
        """Return those of one start."""
        return [line.lower_bound for line in self.iterations if line.start == start]

    def __call__(self, event: Event) -> None:
        """Take one event."""
        if isinstance(event, ModelResumed):
            self._resume(event)
        elif isinstance(event, IterationDone):
            self.iterations.append(
                Iteration(
                    event.model,
                    event.iteration,
                    event.lower_bound,
                    event.gain,
                    event.seconds,
                    event.rows,
                )
            )

    def _resume(self, event: ModelResumed) -> None:
        told = zip(event.lower_bounds, event.gains, event.seconds, strict=True)
        self.iterations += [
            Iteration(event.model, number, *line, event.rows) for number, line in enumerate(told, 1)
        ]
        # in turns, as they were told of at first
        self.iterations.sort(key=lambda line: line.iteration)
