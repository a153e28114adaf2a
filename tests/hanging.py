"""What has no end is an error: a fit, or a wait, on whatever machine."""

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType

import psutil
import pytest

LONG = 600
"""Seconds after which something hangs, on a machine ten times slower, too."""

TICK = 0.1


class Clock:
    """A clock that ticks, and stands still while this process is stopped.

    An alarm would also ring for a process that others kept from running.
    """

    def __init__(self, limit: float) -> None:
        self.seconds = 0.0
        self._limit = limit

    def tick(self, number: int, frame: FrameType | None) -> None:
        """Count; at the limit, fail."""
        before, self.seconds = self.seconds, self.seconds + TICK
        if before < self._limit <= self.seconds:
            pytest.fail("this hangs")


@contextmanager
def ends_within(seconds: float = LONG) -> Iterator[Clock]:
    """Fail if what is done here takes longer, not counting time in which this process is stopped.

    Yields the clock.
    """
    clock = Clock(seconds)
    before = signal.signal(signal.SIGALRM, clock.tick)
    signal.setitimer(signal.ITIMER_REAL, TICK, TICK)
    try:
        yield clock
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, before)


class Watch:
    """Ends the processes that a test has started and that do not end: each tells where it was.

    The test then fails, and shows what they printed. One that hangs itself is ended by pytest
    (``faulthandler_timeout``), which is later. A CI run once waited for a child for 80 minutes, and
    nobody learnt for which.
    """

    def __init__(self, limit: float = 1.1 * LONG) -> None:
        self._limit = limit
        self._seconds = 0.0

    def begin(self) -> None:
        """Begin with another test."""
        self._seconds = 0.0

    def start(self) -> None:
        """Watch, as long as this process is there."""
        threading.Thread(target=self._watch, name="watch", daemon=True).start()

    def _watch(self) -> None:
        while True:
            time.sleep(TICK)
            before, self._seconds = self._seconds, self._seconds + TICK
            if before < self._limit <= self._seconds:
                end_children()


def end_children() -> None:
    """Abort every process that this one has started; Python's then print the stacks of threads."""
    for child in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            child.send_signal(signal.SIGABRT)
