"""The books of a sweep: its passes, and what belongs to each candidate."""

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from fastgmm.estimators.callbacks import History
from fastgmm.exceptions import FitError
from fastgmm.progress import Event, IterationDone, ModelResumed, Observer, PassBegan
from fastgmm.selection.results import Passes


class Owner(NamedTuple):
    """Whose start one of the models in the passes is."""

    part: int
    """0: all rows, else outside of fold ``part`` - 1."""
    candidate: int
    start: int


class Books:
    """Write down the passes and what belongs to each candidate; hand everything on."""

    def __init__(self, owners: Sequence[Owner], n_candidates: int, observe: Observer) -> None:
        self.histories = [History() for _ in range(n_candidates)]
        self.seconds = [0.0] * n_candidates
        self._owners = owners
        self._observe = observe
        self._passes: Counter[str] = Counter()
        self._charged = [0] * n_candidates
        """The pass that each candidate was charged last."""
        self._failed: set[Owner] = set()

    def __call__(self, event: Event) -> object:
        """Take one event; the answer is the observer's."""
        match event:
            case PassBegan():
                # without rows: starts are made from those that the first pass gathered
                self._passes[event.name] += event.n_samples is not None
            case IterationDone():
                self._note(event)
            case ModelResumed():
                self._take_up(event)
        answer = self._observe(event)
        return answer or (isinstance(event, IterationDone) and self._is_given_up(event.model))

    def failing(self, model: int, error: FitError) -> None:
        """Take note that a model has failed: the others go on."""
        self._failed.add(self._owners[model])

    def _is_given_up(self, model: int) -> bool:
        """Return whether a model's numbers are not wanted any more.

        A candidate fails with any of its starts on all rows, and its cross-validation with any of
        its starts outside of a fold.
        """
        part, candidate, _ = self._owners[model]
        return any(
            other.candidate == candidate and (other.part == 0 or part > 0) for other in self._failed
        )

    def _note(self, event: IterationDone) -> None:
        part, candidate, start = self._owners[event.model]
        if part == 0:
            self.histories[candidate](event._replace(model=start))
        if self._charged[candidate] < self._passes["iteration"]:
            self._charged[candidate] = self._passes["iteration"]
            self.seconds[candidate] += event.seconds

    def _take_up(self, event: ModelResumed) -> None:
        part, candidate, start = self._owners[event.model]
        if part == 0:
            self.histories[candidate](event._replace(model=start))
        # its models shared their passes: the one that had the most had all of them
        self.seconds[candidate] = max(self.seconds[candidate], sum(event.seconds))

    def passes(self) -> Passes:
        """Return how often the rows were read, and what for."""
        count = self._passes
        return Passes(
            count["checking"] + count["start"],
            count["iteration"],
            count["reseeding"],
            count["scoring"],
        )
