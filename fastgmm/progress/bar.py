"""A bar on a terminal, a plain line every few seconds elsewhere."""

import os
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TextIO

from fastgmm.progress.events import (
    Event,
    FitBegan,
    FitEnded,
    IterationDone,
    ModelEnded,
    ModelResumed,
    PassBegan,
    RowsDone,
    StartMade,
    standing,
)
from fastgmm.progress.streams import Unheard

if TYPE_CHECKING:
    from tqdm import tqdm


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
