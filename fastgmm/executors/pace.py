"""Whether one thread makes a brief pass as fast as several, as the last passes tell."""

SPIKE = 1.1
"""A pass is expected to take no more than this times what the last of its way did: a neighbour of
the machine may have come and gone."""

FADE = 0.95
"""What the other way has taken counts this much less with every pass, until it is tried again: its
first pass may have found nothing in the caches. A way that takes twice as long is that of every
fourteenth pass."""


class Pace:
    """Seconds that passes of a kind take: on one thread, and on all.

    The first one is made on all, or, where rows are ``few``, on one: it gives up in time if there
    is more to do than expected.
    """

    def __init__(self, few: bool) -> None:
        self._few = few
        self._taken: dict[bool, float] = {}
        self._faded = {True: 1.0, False: 1.0}

    def is_brief(self, limit: float) -> bool:
        """Return whether a pass on all threads takes less than the limit, as far as is known."""
        taken = self._taken.get(False, self._taken.get(True))
        return taken is not None and taken < limit

    def is_better_alone(self, limit: float) -> bool:
        """Return whether a brief pass is to go to one thread; both ways are tried."""
        if not self.is_brief(limit):
            return self._few and not self._taken and limit > 0
        if True not in self._taken:
            return True
        return False in self._taken and self._expected(True) <= self._expected(False)

    def took(self, alone: bool, seconds: float) -> None:
        """Take note of a pass over all blocks."""
        self._taken[alone] = min(seconds, SPIKE * self._taken.get(alone, seconds))
        self._faded[alone] = 1.0
        self._faded[not alone] *= FADE

    def _expected(self, alone: bool) -> float:
        return self._taken[alone] * self._faded[alone]
