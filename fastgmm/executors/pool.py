"""A pool of threads that no signal leaves half done.

A signal may raise in the caller's thread between any two instructions. Python's own pool, events
and futures take their locks in Python, so that one may stay locked for ever, and a job that was to
stop waits for it. Here are queues that are written in C, and nobody waits for a thread to begin.
"""

import _thread
from collections.abc import Callable, Iterable
from functools import partial
from itertools import pairwise
from queue import SimpleQueue
from typing import Any, Generic, TypeAlias, TypeVar

T = TypeVar("T")
R = TypeVar("R")
Outcome: TypeAlias = tuple[list[R], BaseException | None]
"""The result of a call in a list, which is empty if there is none, and what it has raised."""


class Answer(Generic[R]):
    """What a call that another thread makes will return or raise; to be asked once."""

    def __init__(self) -> None:
        self._outcomes: SimpleQueue[Outcome[R]] = SimpleQueue()

    def give(self, function: Callable[..., R], *arguments: Any) -> None:
        """Make the call."""
        try:
            self._outcomes.put(([function(*arguments)], None))
        except BaseException as error:
            self._outcomes.put(([], error))

    def outcome(self) -> Outcome[R]:
        """Wait until the call has ended."""
        return self._outcomes.get()

    def get(self) -> R:
        """Wait for the call; return or raise what it does."""
        return _result(self.outcome())


class Pool:
    """Up to ``n_threads`` threads, begun as there are calls for them."""

    def __init__(self, n_threads: int) -> None:
        self.n_threads = n_threads
        self._started = 0
        self._is_closed = False
        self._calls: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._ended: SimpleQueue[None] = SimpleQueue()

    def submit(self, function: Callable[..., R], *arguments: Any) -> Answer[R]:
        """Have a thread make a call; raises RuntimeError if the pool is closed."""
        if self._is_closed:
            raise RuntimeError("this pool of threads is closed")
        if self._started < self.n_threads:
            _thread.start_new_thread(self._work, ())
            self._started += 1
        answer: Answer[R] = Answer()
        self._calls.put(partial(answer.give, function, *arguments))
        return answer

    def map(self, function: Callable[[T], R], items: Iterable[T]) -> list[R]:
        """Return ``function(item)`` of every item, in order."""
        answers = [self.submit(function, item) for item in items]
        return [answer.get() for answer in answers]

    def share(self, function: Callable[[int, int], R], n: int) -> list[R]:
        """Return ``function(first, last)`` of neighbouring ranges that make up ``range(n)``.

        The last one is this thread's. What one raises is raised when all have ended.
        """
        wanted = max(min(self.n_threads, n), 1)
        *away, here = pairwise(n * i // wanted for i in range(wanted + 1))
        answers = [self.submit(function, *range_) for range_ in away]
        try:
            last = function(*here)
        finally:
            outcomes = [answer.outcome() for answer in answers]
        return [*map(_result, outcomes), last]

    def close(self) -> None:
        """End the threads when they have ended their calls; those that wait are not made."""
        self._is_closed = True
        self._calls.put(None)
        started, self._started = self._started, 0
        for _ in range(started):
            self._ended.get()

    def _work(self) -> None:
        while (call := self._calls.get()) is not None and not self._is_closed:
            call()
            del call  # and with it the rows it was given
        self._calls.put(None)  # the others are to end as well
        self._ended.put(None)


def _result(outcome: Outcome[R]) -> R:
    results, error = outcome
    if error is not None:
        raise error
    return results[0]
