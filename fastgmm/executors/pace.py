"""Whether one thread makes a brief pass as fast as several, as the last passes tell."""

import math

SPIKE = 1.1
"""A pass is expected to take no more than this times what the last one was: a neighbour of the
machine may have come and gone."""

FADE = 0.95
"""What the other way is expected to take shrinks by this with every pass, until it is tried again:
its first pass may have found nothing in the caches."""


class Pace:
    """Seconds that passes of a kind are expected to take: on one thread, and on all."""

    def __init__(self) -> None:
        self._expected = {True: 0.0, False: math.inf}

    def is_brief(self, limit: float) -> bool:
        """Return whether a pass on all threads is expected to take less than the limit."""
        return self._expected[False] < limit

    def is_better_alone(self, limit: float) -> bool:
        """Return whether a brief pass is to go to one thread; the second one is."""
        return self._expected[True] <= self._expected[False] < limit

    def took(self, alone: bool, seconds: float) -> None:
        """Take note of a pass over all blocks."""
        before = self._expected[alone]
        is_first = before in (0.0, math.inf)
        self._expected[alone] = seconds if is_first else min(seconds, SPIKE * before)
        self._expected[not alone] *= FADE
