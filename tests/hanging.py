"""What has no end is an error: a fit, or a wait, on whatever machine."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

import pytest

LONG = 600
"""Seconds after which something hangs, on a machine ten times slower, too."""


@contextmanager
def ends_within(seconds: int = LONG) -> Iterator[None]:
    """Fail if what is done here takes longer, not counting time in which this process is stopped.

    A clock that ticks: an alarm would also ring for a process that others kept from running.
    """
    ticks = 0

    def tick(number: int, frame: FrameType | None) -> None:
        nonlocal ticks
        ticks += 1
        if ticks == seconds:
            pytest.fail("this hangs")

    before = signal.signal(signal.SIGALRM, tick)
    signal.setitimer(signal.ITIMER_REAL, 1.0, 1.0)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, before)
