"""What has no end is an error: a fit, or a wait, on whatever machine."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

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
