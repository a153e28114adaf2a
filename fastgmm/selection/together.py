"""Passes together: what several ask for at the same time is read once."""

from collections.abc import Callable, Sequence
from contextlib import closing
from functools import partial
from queue import SimpleQueue
from typing import Any, TypeAlias, TypeVar

from fastgmm.executors import Pool, Work

R = TypeVar("R")
Read: TypeAlias = Callable[[Sequence[Work[Any]]], list[Any]]


def together(functions: Sequence[Callable[[Read], R]], read: Read) -> list[R]:
    """Return the results of functions that each read all rows as often as they like.

    Each runs on a thread of its own. When all that have not ended wait for a pass, their works make
    one, by ``read`` on the caller's thread: n functions of m passes take m, not n m.
    """
    asked: SimpleQueue[tuple[int, Sequence[Work[Any]] | None]] = SimpleQueue()
    answers: list[SimpleQueue[Any]] = [SimpleQueue() for _ in functions]

    def wait(i: int, works: Sequence[Work[Any]]) -> list[Any]:
        asked.put((i, works))
        answer = answers[i].get()
        if isinstance(answer, BaseException):
            answers[i].put(answer)  # whoever asks again is told again
            raise answer
        found: list[Any] = answer
        return found

    def run(i: int) -> R:
        try:
            return functions[i](partial(wait, i))
        finally:
            asked.put((i, None))

    with closing(Pool(len(functions))) as pool:
        try:
            results = [pool.submit(run, i) for i in range(len(functions))]
            running = len(functions)
            while running:
                waiting: dict[int, Sequence[Work[Any]]] = {}
                while len(waiting) < running:
                    i, works = asked.get()
                    if works is None:
                        running -= 1
                    else:
                        waiting[i] = works
                if waiting:
                    _serve(dict(sorted(waiting.items())), read, answers)
        except BaseException as error:  # of a pass, or Ctrl-C between two: nobody waits for ever
            for answer in answers:
                answer.put(error)
            raise
    return [result.get() for result in results]


def _serve(
    waiting: dict[int, Sequence[Work[Any]]], read: Read, answers: Sequence[SimpleQueue[Any]]
) -> None:
    """Make one pass for all."""
    states = iter(read([work for works in waiting.values() for work in works]))
    for i, works in waiting.items():
        answers[i].put([next(states) for _ in works])
