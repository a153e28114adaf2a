"""Boarding: which models ride on the next pass, as memory allows."""

from collections.abc import Sequence
from dataclasses import dataclass

from fastgmm.em.models import Model
from fastgmm.exceptions import InvalidParameterError
from fastgmm.executors import Placement
from fastgmm.expectation import reading_bytes, state_bytes


@dataclass(frozen=True)
class Memory:
    """What there is for the statistics of a pass, and what each model needs of it, in bytes."""

    room: int
    needs: dict[int, int]
    """By a model's index."""
    limit: int | None
    """What the user allows a pass."""
    n_threads: int

    def aboard(self, unfinished: Sequence[Model]) -> Sequence[Model]:
        """Return the models of the next pass: the first ones that fit into memory together.

        A model that has begun stays, since those that finish leave room to those behind them.
        """
        taken, aboard = 0, 0
        for model in unfinished:
            taken += self.needs[model.index]
            if taken > self.room and (aboard or self.limit is not None):
                break
            aboard += 1
        if aboard == 0 and self.limit is not None:
            first = unfinished[0]
            threads = f"{self.n_threads} thread{'s' * (self.n_threads > 1)}"
            raise InvalidParameterError(
                f"memory_limit={self.limit} is too little: a pass with "
                f"{len(first.density.means)} components takes "
                f"{self.limit - self.room + self.needs[first.index]} bytes on {threads}; "
                "allow as many, or take fewer threads or smaller blocks (chunk_size)"
            )
        return unfinished[:aboard]


def memory_of(placement: Placement, unfinished: Sequence[Model], limit: int | None) -> Memory:
    """Return what there is, and what each of the models needs."""
    n_threads, grid = placement.n_threads, placement.grid
    room = placement.memory // 2 if limit is None else limit
    steps = {one.index: one.step(placement) for one in unfinished}
    room -= reading_bytes(placement.source, grid, n_threads, list(steps.values()))
    needs = {index: state_bytes(step, grid, n_threads) for index, step in steps.items()}
    return Memory(room, needs, limit, n_threads)
