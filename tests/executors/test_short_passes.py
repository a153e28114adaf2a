"""Which threads a pass runs on, by how long the last ones took; its bits are the same on all."""

import threading
import time
from contextlib import closing
from typing import Any, NamedTuple

import numpy as np
from works import Sum

from fastgmm.executors import ThreadExecutor
from fastgmm.sources import ArraySource

X = np.random.default_rng(0).normal(size=(640, 3))


class Seen(NamedTuple):
    """Sums, which take a while for each block, and the threads that make them."""

    seconds: float
    threads: set[int]
    level: int = 0

    def start(self) -> Any:
        return Sum().start()

    def accumulate(self, state: Any, chunk: Any) -> Any:
        self.threads.add(threading.get_ident())
        time.sleep(self.seconds)
        return Sum().accumulate(state, chunk)

    def merge(self, left: Any, right: Any) -> Any:
        return Sum().merge(left, right)


def passes(seconds, count):
    """Return the threads of so many passes over ten blocks."""
    here = threading.get_ident()
    (expected,) = ThreadExecutor(1).place(ArraySource(X), 64).reduce([Sum()])
    found = []
    with closing(ThreadExecutor(2).place(ArraySource(X), 64)) as placement:
        for _ in range(count):
            work = Seen(seconds, set())
            (result,) = placement.reduce([work])
            np.testing.assert_array_equal(result, expected)
            found.append({"here" if thread == here else "there" for thread in work.threads})
    return found


def test_long_passes_leave_this_thread_to_signals():
    assert passes(0.05, 3) == [{"there"}] * 3


def test_short_passes_are_worked_off_here_too():
    first, *more = passes(0.002, 4)
    assert first == {"there"}
    assert all("here" in threads for threads in more)


def test_the_briefest_passes_take_one_thread():
    # one of these may be held up by whatever else the machine does
    assert {"here"} in [threads for _ in range(5) for threads in passes(0.0, 3)[1:]]
