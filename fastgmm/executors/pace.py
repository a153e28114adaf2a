"""Whether one thread makes a brief pass as fast as several, as the last passes tell."""

SPIKE = 1.1
"""A pass is expected to take no more than this times what the last one was: a neighbour of the
machine may have come and gone."""

FADE = 0.95
"""What the other way is expected to take shrinks by this with every pass, until it is tried again:
its first pass may have found nothing in the caches."""


class Pace:
    """Seconds that passes of a kind are expected to take: on one thread, and on all.

    The first one is made on all, or, where rows are ``few``, on one: it gives up in time if there
    is more to do than expected.
    """

    def __init__(self, few: bool) -> None:
        self._few = few
        self._expected: dict[bool, float | None] = {True: None, False: None}

    def is_brief(self, limit: float) -> bool:
        """Return whether a pass on all threads is expected to take less than the limit."""
        alone, together = self._expected[True], self._expected[False]
        expected = alone if together is None else together
        return expected is not None and expected < limit

    def is_better_alone(self, limit: float) -> bool:
        """Return whether a brief pass is to go to one thread; both ways are tried."""
        alone, together = self._expected[True], self._expected[False]
        if not self.is_brief(limit):
            return self._few and alone is None and together is None and limit > 0
        return alone is None or (together is not None and alone <= together)

    def took(self, alone: bool, seconds: float) -> None:
        """Take note of a pass over all blocks."""
        before, other = self._expected[alone], self._expected[not alone]
        self._expected[alone] = seconds if before is None else min(seconds, SPIKE * before)
        if other is not None:
            self._expected[not alone] = FADE * other
