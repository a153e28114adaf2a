"""Folds: which rows a model is fitted to and which are held out to judge it.

A row's fold is a hash of its index in the data: it takes no memory, and it is the same whatever
reads the rows, in whatever pieces and order.
"""

import threading
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np

from fastgmm import kernels
from fastgmm._typing import BoolArray, IntArray
from fastgmm.executors import Work
from fastgmm.sources import NO_WEIGHTS, Chunk

S = TypeVar("S")


class Folds:
    """A cut of the rows into ``n_folds`` parts of about equal size, drawn by ``seed``."""

    def __init__(self, n_folds: int, seed: int) -> None:
        self.n_folds = n_folds
        self.seed = seed
        # the last chunk that was cut, for each thread: works that share a pass ask for the same
        self._latest = threading.local()

    def __reduce__(self) -> tuple[type, tuple[int, int]]:
        return type(self), (self.n_folds, self.seed)

    def of(self, rows: IntArray) -> IntArray:
        """Return the folds (m,) of the rows with these indices."""
        folds = np.empty(len(rows), np.int64)
        kernels.rows.folds(np.uint64(self.seed), self.n_folds, rows, folds)
        return folds

    def training(self, fold: int) -> "Part":
        """Return all rows but those of a fold."""
        return Part(self, fold, held_out=False)

    def held_out(self, fold: int) -> "Part":
        """Return the rows of a fold."""
        return Part(self, fold, held_out=True)

    def cut(self, chunk: Chunk, part: "Part") -> Chunk:
        """Return a chunk's rows in one part."""
        latest = self._latest
        # the very object: it is kept, so that no other can be taken for it
        if getattr(latest, "chunk", None) is not chunk:
            indices = np.arange(chunk.first_row, chunk.first_row + len(chunk.rows))
            latest.chunk, latest.folds, latest.part = chunk, self.of(indices), None
        if latest.part != part:
            latest.part, latest.rows = part, part.taken(chunk, latest.folds)
        rows: Chunk = latest.rows
        return rows


@dataclass(frozen=True)
class Part:
    """The rows of one fold, or all the others."""

    folds: Folds
    fold: int
    held_out: bool

    @property
    def share(self) -> float:
        """About which share of the rows it has."""
        one = 1.0 / self.folds.n_folds
        return one if self.held_out else 1.0 - one

    def holds(self, rows: IntArray) -> BoolArray:
        """Return which (m,) of the rows with these indices belong to it."""
        return self.among(self.folds.of(rows))

    def among(self, folds: IntArray) -> BoolArray:
        """Return which of the rows in these folds belong to it."""
        return (folds == self.fold) == self.held_out

    def taken(self, chunk: Chunk, folds: IntArray) -> Chunk:
        """Return those of a chunk's rows that belong to the part, given the folds of all.

        They need not be neighbours in the data: ``first_row`` stays the chunk's.
        """
        mine = self.among(folds)
        weights = chunk.weights[mine] if chunk.weights.size else NO_WEIGHTS
        return Chunk(chunk.first_row, chunk.rows[mine], weights)


@dataclass(frozen=True)
class PartWork(Generic[S]):
    """A work to which the rows outside of its part do not exist."""

    whole: Work[S]
    part: Part

    @property
    def level(self) -> int:
        """As on all rows."""
        return self.whole.level

    def start(self) -> S:
        """Return the state of no rows."""
        return self.whole.start()

    def accumulate(self, state: S, chunk: Chunk) -> S:
        """Add what of a chunk belongs to the part."""
        rows = self.part.folds.cut(chunk, self.part)
        return self.whole.accumulate(state, rows) if len(rows.rows) else state

    def merge(self, left: S, right: S) -> S:
        """Merge as on all rows."""
        return self.whole.merge(left, right)


def within(part: Part | None, work: Work[S]) -> Work[S]:
    """Return the work on the rows of a part, or on all of them."""
    return work if part is None else PartWork(work, part)
