"""Sharing: neighbouring ranges of one computation on several threads."""

from collections.abc import Callable
from itertools import pairwise
from queue import SimpleQueue
from typing import Any, TypeVar

R = TypeVar("R")


def share(
    submit: Callable[..., Any], n_threads: int, function: Callable[[int, int], R], n: int
) -> list[R]:
    """Return ``function(first, last)`` of neighbouring ranges, the last one on this thread.

    ``submit(function, *arguments)`` has another thread make a call.
    """
    wanted = max(min(n_threads, n), 1)
    if wanted == 1:
        return [function(0, n)]
    *away, here = pairwise(n * i // wanted for i in range(wanted + 1))
    done: SimpleQueue[tuple[int, R | None, BaseException | None]] = SimpleQueue()

    def run(which: int) -> None:
        try:
            done.put((which, function(*away[which]), None))
        except BaseException as error:
            done.put((which, None, error))

    for which in range(len(away)):
        submit(run, which)
    try:
        results: dict[int, Any] = {len(away): function(*here)}
    finally:  # what is raised here is raised when all have ended
        outcomes = [done.get() for _ in away]
    for which, result, error in outcomes:
        if error is not None:
            raise error
        results[which] = result
    return [results[which] for which in range(wanted)]
