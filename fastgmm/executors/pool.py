"""A pool of threads that no signal leaves half done.

A signal may raise in the caller's thread between any two instructions. Python's own pool, events
and futures take their locks in Python, so that one may stay locked for ever, and a job that was to
stop waits for it. Here are queues and locks that are written in C, ``with`` as the only way to take
one, and nobody waits for a thread to begin.
"""

import _thread
import os
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from itertools import pairwise
from queue import Empty, SimpleQueue
from typing import Any, Generic, TypeAlias, TypeVar

T = TypeVar("T")
R = TypeVar("R")
Outcome: TypeAlias = tuple[list[R], BaseException | None]
"""The result of a call in a list, which is empty if there is none, and what it has raised."""


class Answer(Generic[R]):
    """What a call that another thread makes will return or raise; to be got once."""

    def __init__(self) -> None:
        self._outcome: Outcome[R] = [], None
        self._pending = _thread.allocate_lock()
        self._pending.acquire()

    def give(self, function: Callable[..., R], *arguments: Any) -> None:
        """Make the call."""
        try:
            self._outcome = [function(*arguments)], None
        except BaseException as error:
            self._outcome = [], error
        self._pending.release()

    def wait(self) -> None:
        """Wait until the call has ended."""
        with self._pending:
            pass

    def get(self) -> R:
        """Wait for the call; return or raise what it does."""
        self.wait()
        return _result(self._taken())

    def _taken(self) -> Outcome[R]:
        """Return the outcome, which an error's traceback would keep for ever if it stayed here."""
        outcome, self._outcome = self._outcome, ([], None)
        return outcome


Call: TypeAlias = tuple[Answer[Any], Callable[..., Any], tuple[Any, ...]]


class Pool:
    """Up to ``n_threads`` threads, begun as there are calls for them; they end with the pool."""

    def __init__(self, n_threads: int) -> None:
        self.n_threads = n_threads
        self._is_closed = False
        self._begin()

    def _begin(self) -> None:
        self._process = os.getpid()
        self._calls: SimpleQueue[Call | None] = SimpleQueue()
        self._threads: list[Answer[None]] = []

    def submit(self, function: Callable[..., R], *arguments: Any) -> Answer[R]:
        """Have a thread make a call; raises RuntimeError if the pool is closed."""
        if self._is_closed:
            raise RuntimeError("this pool of threads is closed")
        if self._process != os.getpid():  # threads are not copied by a fork
            self._begin()
        if len(self._threads) < self.n_threads:
            thread: Answer[None] = Answer()
            _thread.start_new_thread(thread.give, (_work, self._calls))
            self._threads.append(thread)
        answer: Answer[R] = Answer()
        self._calls.put((answer, function, arguments))
        return answer

    def map(self, function: Callable[[T], R], items: Iterable[T]) -> list[R]:
        """Return ``function(item)`` of every item, in order."""
        answers = [self.submit(function, item) for item in items]
        return [answer.get() for answer in answers]

    def share(self, function: Callable[[int, int], R], n: int) -> list[R]:
        """Return ``function(first, last)`` of neighbouring ranges that make up ``range(n)``.

        The last one is this thread's. What one raises, or a signal, is raised when all have ended.
        """
        wanted = max(min(self.n_threads, n), 1)
        *away, here = pairwise(n * i // wanted for i in range(wanted + 1))
        answers: list[Answer[R]] = []
        try:
            for range_ in away:
                answers.append(self.submit(function, *range_))  # noqa: PERF401 (some may begin)
            last = function(*here)
        finally:
            _wait(answers)
        return [*(answer.get() for answer in answers), last]

    def close(self) -> None:
        """End the threads when they have ended their calls; calls that wait raise RuntimeError.

        A signal ends the waiting: calls may take minutes, and who asks twice wants to leave.
        """
        self._is_closed = True
        if self._process != os.getpid():
            return
        with suppress(Empty):
            while True:
                if (call := self._calls.get_nowait()) is not None:
                    call[0].give(_refuse)
        self._calls.put(None)
        for thread in self._threads:
            thread.wait()

    def __del__(self) -> None:
        self._calls.put(None)


def _work(calls: SimpleQueue[Call | None]) -> None:
    """Make calls until there is a None, which is left for the other threads."""
    while (call := calls.get()) is not None:
        answer, function, arguments = call
        answer.give(function, *arguments)
        del call, answer, function, arguments  # and with them the rows they were given
    calls.put(None)


def _refuse() -> None:
    raise RuntimeError("this pool of threads was closed before the call was made")


def _wait(answers: Sequence[Answer[Any]]) -> None:
    """Wait until all calls have ended, even if a signal raises meanwhile."""
    try:
        for answer in answers:
            answer.wait()
    except BaseException:
        _wait(answers)
        raise


def _result(outcome: Outcome[R]) -> R:
    results, error = outcome
    if error is None:
        return results[0]
    try:
        raise error
    finally:  # else this frame and the error keep each other, and the caller's rows
        del outcome, results, error
