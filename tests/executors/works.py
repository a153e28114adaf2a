"""Works for tests whose bits show the order in which they were merged; imported on workers too."""

import os
import signal
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastgmm.exceptions import DataError
from fastgmm.sources import Chunk

State = NDArray[np.float64]


class Sum(NamedTuple):
    """Weighted sums of the columns and the number of rows, added in place."""

    scale: float = 1.0
    level: int = 0

    def start(self) -> State:
        return np.zeros(4)

    def accumulate(self, state: State, chunk: Chunk) -> State:
        assert chunk.rows.flags.c_contiguous
        assert chunk.rows.flags.writeable
        weights = chunk.weights if chunk.weights.size else np.ones(len(chunk.rows))
        for row, weight in zip(chunk.rows.tolist(), weights.tolist(), strict=True):
            state[:3] += self.scale * weight * np.array(row[:3])
        state[3] += len(chunk.rows) * (1 + 1e-16 * chunk.first_row)
        return state

    def merge(self, left: State, right: State) -> State:
        left += right
        return left


class Fussy(NamedTuple):
    """Cannot take the block in which a row lies; leaves a mark at every try."""

    row: int
    marks: str
    level: int = 0

    def start(self) -> State:
        return np.zeros(1)

    def accumulate(self, state: State, chunk: Chunk) -> State:
        if chunk.first_row <= self.row < chunk.first_row + len(chunk.rows):
            with Path(self.marks).open("a") as file:
                file.write("x")
            raise DataError(f"row {self.row} is bad: leave it out")
        return state

    def merge(self, left: State, right: State) -> State:
        return left + right


class Warmed(NamedTuple):
    """Leaves its process where it is warmed up."""

    marks: str
    level: int = 0

    def warm_up(self, weighted: bool) -> None:
        assert not weighted
        with Path(self.marks).open("a") as file:
            file.write(f"{os.getpid()} ")

    def start(self) -> State:
        return Sum().start()

    def accumulate(self, state: State, chunk: Chunk) -> State:
        return Sum().accumulate(state, chunk)

    def merge(self, left: State, right: State) -> State:
        return Sum().merge(left, right)


class Deadly(NamedTuple):
    """A sum that kills its worker at one block, the first ``lives`` times."""

    row: int
    marks: str
    lives: int = 1
    level: int = 0

    def start(self) -> State:
        return Sum().start()

    def accumulate(self, state: State, chunk: Chunk) -> State:
        if chunk.first_row <= self.row < chunk.first_row + len(chunk.rows):
            marks = Path(self.marks)
            with marks.open("a") as file:
                file.write("x")
            if len(marks.read_text()) <= self.lives:
                os.kill(os.getpid(), signal.SIGKILL)
        return Sum().accumulate(state, chunk)

    def merge(self, left: State, right: State) -> State:
        return Sum().merge(left, right)


class Slow(NamedTuple):
    """Waits a little at every block."""

    seconds: float
    level: int = 0

    def start(self) -> State:
        return np.zeros(1)

    def accumulate(self, state: State, chunk: Chunk) -> State:
        time.sleep(self.seconds)
        return state

    def merge(self, left: State, right: State) -> State:
        return left + right


class Waiting(NamedTuple):
    """Leaves a mark at every block, and from a row on waits there until a file exists."""

    row: int
    marks: str
    file: str
    level: int = 0

    def start(self) -> State:
        return np.zeros(1)

    def accumulate(self, state: State, chunk: Chunk) -> State:
        with Path(self.marks).open("a") as marks:
            marks.write("x")
        while chunk.first_row >= self.row and not Path(self.file).exists():
            time.sleep(0.01)
        return state

    def merge(self, left: State, right: State) -> State:
        return left + right


READ = os.preadv


def fail_reads(times: int) -> None:
    """Let the next reads of a file in this process fail."""
    left = [OSError(5, "Input/output error")] * times

    def preadv(*args: Any) -> int:
        if left:
            raise left.pop()
        return READ(*args)

    os.preadv = preadv


def first_and_sum(chunk: Chunk) -> tuple[int, float]:
    """Say where a chunk begins, and its sum."""
    return chunk.first_row, float(chunk.rows.sum())
