"""Progress: what is told while a fit runs, and two who listen: a display and a trace.

A fit tells its observers small immutable events; an observer is any callable that takes one. They
are called on the thread that called ``fit``, so they may print, log or raise (which ends the fit).
One that returns True to ``IterationDone`` stops that model: early stopping.
"""

import os
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple, TextIO, TypeAlias

if TYPE_CHECKING:
    from tqdm import tqdm

    from fastgmm.parameters import Parameters


class FitBegan(NamedTuple):
    """A fit has its data and starts to work."""

    n_samples: int | None
    """Number of rows, None while no pass has counted them."""
    n_features: int
    n_models: int
    """Models that share the passes: restarts, or the candidates of a sweep."""


class PassBegan(NamedTuple):
    """The rows are about to be read once from the first to the last."""

    name: str
    """What the pass is for, in one or two words: "checking", "start", "iteration", "reseeding",
    "scoring"."""
    n_samples: int | None


class StartMade(NamedTuple):
    """One model of a sweep has its start; all have it before the first iteration."""

    model: int
    """Index of the model, from 0."""


class RowsDone(NamedTuple):
    """A piece of the current pass is finished."""

    rows: int
    """Rows in this piece, not the sum of all so far."""


class ModelResumed(NamedTuple):
    """One model goes on where an earlier run has left it (``resume=True``)."""

    model: int
    lower_bounds: list[float]
    """After each of its iterations: mean log likelihood per row (nats)."""
    gains: list[float]
    """By how much it rose in each."""
    seconds: list[float]
    """Durations of their passes."""
    rows: int
    """Rows of a pass."""


class IterationDone(NamedTuple):
    """One model has made one EM iteration."""

    model: int
    """Index of the model (start or candidate), from 0."""
    iteration: int
    """Iterations this model has made, from 1."""
    lower_bound: float
    """Mean log likelihood per row (nats) under the parameters before this iteration's update."""
    gain: float
    """By how much that rose (infinity after the first iteration)."""
    seconds: float
    """Duration of the pass; models that share it all report the same."""
    rows: int
    """Rows of the pass."""
    parameters: "Parameters"
    """After this iteration's update, in float64."""
    covariance_type: str = "full"
    """What its covariances are: a name in ``covariance.FAMILIES``."""
    n_collapsed: int = 0
    """Components that have collapsed and were kept."""


class PassEnded(NamedTuple):
    """A pass is over, and every model it served has been told of."""

    name: str
    """As in :class:`PassBegan`."""
    rows: int
    n_bytes: int
    """Of these rows and their weights in memory."""
    seconds: float
    """By the clock, up to the merged states."""
    read: float
    """Seconds of waiting for rows, summed over the threads that computed."""
    compute: float
    """Seconds in kernels, likewise."""
    merge: float
    """Seconds of merging states, likewise."""
    retries: int
    """Pieces of the pass that were handed out again because a cluster had lost them."""
    workers: int
    """Worker processes that took part; 0: threads of this process."""


class ComponentsReseeded(NamedTuple):
    """Components of a model had collapsed and were started anew (``on_collapse="reseed"``)."""

    model: int
    iteration: int
    """The iteration they collapsed in, which is told of next."""
    components: list[int]


class ModelEnded(NamedTuple):
    """One model has made its last iteration; the others go on."""

    model: int
    n_iter: int
    converged: bool
    """False: it stopped at ``max_iter`` or because an observer said so."""


class FitEnded(NamedTuple):
    """The fit is over and the best model chosen."""

    model: int
    """Index of the chosen model."""
    n_iter: int
    converged: bool
    lower_bound: float
    """Mean log likelihood per row (nats) of the chosen model."""
    seconds: float
    """Duration of the whole fit, its start included."""


Event: TypeAlias = (
    FitBegan
    | PassBegan
    | RowsDone
    | StartMade
    | ModelResumed
    | ComponentsReseeded
    | IterationDone
    | ModelEnded
    | PassEnded
    | FitEnded
)
Observer: TypeAlias = Callable[[Event], object]

UNWRITABLE = (OSError, ValueError)
"""What a stream raises that takes no more; the second where it was closed."""


def reporting(observe: Observer) -> Callable[[int], None]:
    """Return what tells an observer of rows that are done, by their number."""

    def report(rows: int) -> None:
        observe(RowsDone(rows))

    return report


class ParameterTrace:
    """Keep every model's parameters after every iteration of the last fit it listened to.

    Attributes
    ----------
    models : list of list of Parameters
        ``models[i][t]`` has ``weights`` (k,), ``means`` (k, d) and ``covariances`` of start i after
        iteration t + 1, in float64. That is k d^2 numbers an iteration: for small models.

    Examples
    --------
    >>> from fastgmm import GaussianMixture
    >>> from fastgmm.progress import ParameterTrace
    >>> trace = ParameterTrace()
    >>> gm = GaussianMixture(1).set_callbacks(trace).fit([[0.0], [1.0], [5.0]])
    >>> [step.means.tolist() for step in trace.models[0]]
    [[[2.0]], [[2.0]]]
    """

    def __init__(self) -> None:
        self.models: list[list[Parameters]] = []

    def __call__(self, event: Event) -> None:
        """Take one event."""
        match event:
            case FitBegan():
                self.models = [[] for _ in range(event.n_models)]
            case IterationDone():
                self.models[event.model].append(event.parameters)


class Unheard:
    """A stream that may be full, closed, a pipe that nobody reads: words get lost, no work does."""

    def __init__(self, stream: TextIO | None) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write a text if that is possible."""
        if self._stream is not None:
            with suppress(*UNWRITABLE):
                self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        """Write what waits if that is possible."""
        if self._stream is not None:
            with suppress(*UNWRITABLE):
                self._stream.flush()

    def isatty(self) -> bool:
        """Return whether it is a terminal."""
        return self._stream is not None and self._stream.isatty()

    def __getattr__(self, name: str) -> Any:
        if name == "_stream":  # asked by copy and pickle before there is one
            raise AttributeError(name)
        return getattr(self._stream, name)


class TqdmProgress:
    """Show a fit's progress: a bar on a terminal, a plain line every few seconds elsewhere.

    The bar runs over the rows of the current pass; beside it stand the iteration, the log
    likelihood per row of the best model, its gain, and rows per second. Where it cannot be written
    (a full disk, a pipe that nobody reads any more, no standard error) the words are lost, and the
    fit goes on.

    Parameters
    ----------
    stream : text file, optional
        Where to show it; standard error by default.
    interval : float
        Seconds between two plain lines (batch jobs keep their logs: a line per iteration of a
        fast fit would fill them).
    clock : callable
        Returns seconds; only differences are used.

    Examples
    --------
    >>> from fastgmm import GaussianMixture
    >>> from fastgmm.progress import TqdmProgress
    >>> gm = GaussianMixture(2).set_callbacks(TqdmProgress())
    """

    def __init__(
        self,
        stream: TextIO | None = None,
        *,
        interval: float = 5.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        # there is no standard error where it was closed
        self._stream: Any = Unheard(sys.stderr if stream is None else stream)
        self._interval = interval
        self._clock = clock
        self._terminal = self._stream.isatty() and _is_wide(self._stream)
        self._bar: tqdm[Any] | None = None
        self._name = ""
        self._total: int | None = None
        self._done = 0
        self._best: IterationDone | None = None
        self._n_models = self._n_started = self._n_ended = 0
        self._resumed_at = 0
        self._last_line = self._pass_began = clock()

    def __call__(self, event: Event) -> None:
        """Take one event."""
        match event:
            case FitBegan():
                self._begin(event)
            case PassBegan():
                self._begin_pass(event)
            case RowsDone():
                self._advance(event)
            case StartMade():
                self._start(event)
            case ModelResumed():
                self._resumed_at = max(self._resumed_at, len(event.lower_bounds))
            case IterationDone():
                self._iterate(event)
            case ModelEnded():
                self._n_ended += 1
            case FitEnded():
                self._end(event)

    def close(self) -> None:
        """Take the bar off the terminal; needed only when a fit ended with an exception."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def _begin(self, event: FitBegan) -> None:
        self.close()
        self._best = None
        self._n_models, self._n_started, self._n_ended = event.n_models, 0, 0
        self._resumed_at = 0
        self._total = event.n_samples
        self._last_line = self._clock()
        if self._terminal:
            from tqdm import tqdm

            self._bar = tqdm(
                total=event.n_samples,
                unit_scale=True,
                file=self._stream,
                dynamic_ncols=True,
                leave=False,
                miniters=0,  # refresh by time alone: rows come in unequal pieces
                bar_format="{desc}: {percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} rows{postfix}"
                if event.n_samples is not None
                else "{desc}: {n_fmt} rows{postfix}",
            )

    def _begin_pass(self, event: PassBegan) -> None:
        self._name = event.name
        self._total = event.n_samples
        self._done = 0
        self._pass_began = self._clock()
        if self._bar is not None:
            # not reset(): that writes to the terminal, and a small fit makes 1000 passes a second
            self._bar.n = self._bar.last_print_n = 0
            self._bar.total = event.n_samples
            self._bar.set_description_str(self._what(), refresh=False)

    def _advance(self, event: RowsDone) -> None:
        self._done += event.rows
        if self._bar is not None:
            self._bar.update(event.rows)
        elif self._due() and self._clock() - self._pass_began >= self._interval:
            # only in long passes: else an iteration's end has more to say
            total = "" if self._total is None else f" of {self._total:,}"
            self._write(f"{self._what()}: {self._done:,}{total} rows")

    def _start(self, event: StartMade) -> None:
        self._n_started = event.model + 1
        if self._bar is not None:
            self._bar.set_description_str(self._what())
        elif self._due():
            self._write(self._what())

    def _iterate(self, event: IterationDone) -> None:
        if self._best is None or not event.lower_bound < self._best.lower_bound:
            self._best = event
        stand = standing(self._best)
        if self._n_ended:
            stand = f"{self._n_ended} of {self._n_models} models done, {stand}"
        if self._bar is not None:
            self._bar.set_postfix_str(stand, refresh=False)
        elif self._due():
            self._write(f"iteration {self._best.iteration}: {stand}")

    def _end(self, event: FitEnded) -> None:
        self.close()
        outcome = "converged" if event.converged else "not converged"
        plural = "" if event.n_iter == 1 else "s"
        self._write(
            f"{outcome} after {event.n_iter} iteration{plural} in {event.seconds:.1f} s: "
            f"log likelihood {event.lower_bound:.6f} per row"
        )

    def _what(self) -> str:
        """Name the current pass; an iteration and a start by their numbers."""
        if self._name == "start" and self._n_started:
            return f"start {self._n_started} of {self._n_models}"
        if self._name != "iteration":
            return self._name
        past = self._resumed_at if self._best is None else self._best.iteration
        return f"iteration {past + 1}"

    def _due(self) -> bool:
        return not self._terminal and self._clock() - self._last_line >= self._interval

    def _write(self, line: str) -> None:
        self._last_line = self._clock()
        print(f"fastgmm: {line}", file=self._stream, flush=True)


def _is_wide(terminal: Any) -> bool:
    """Return whether a bar has room: terminals of jobs, and of ``script``, have no columns."""
    try:
        return os.get_terminal_size(terminal.fileno()).columns > 0
    except (OSError, ValueError, AttributeError):  # nobody knows
        return True


def standing(event: IterationDone) -> str:
    """Say in one line where a model stands after an iteration."""
    speed = event.rows / event.seconds if event.seconds > 0 else float("inf")
    return (
        f"log likelihood {event.lower_bound:.6f}, gain {event.gain:.1e}, "
        f"{speed / 1e6:.3g} million rows/s"
    )
