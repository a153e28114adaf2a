"""The progress display: what it says, where, and how often."""

import copy
import fcntl
import io
import itertools
import math
import os
import pickle
import struct
import termios

import numpy as np
import pytest

from fastgmm.parameters import Parameters
from fastgmm.progress import (
    Event,
    FitBegan,
    FitEnded,
    IterationDone,
    PassBegan,
    RowsDone,
    TqdmProgress,
)

PARAMETERS = Parameters(np.ones(1), np.zeros((1, 2)), np.ones((1, 2)))


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def a_fit(n_iterations: int = 3, n_models: int = 1, n_samples: int | None = 1000) -> list[Event]:
    events: list[Event] = [FitBegan(n_samples, 2, n_models)]
    for iteration in range(1, n_iterations + 1):
        events.append(PassBegan("iteration", n_samples))
        events += [RowsDone(400), RowsDone(600)]
        events += [
            IterationDone(model, iteration, -2.0 + model, math.inf, 0.5, 1000, PARAMETERS)
            for model in range(n_models)
        ]
    return [*events, FitEnded(n_models - 1, n_iterations, True, -1.5, 1.25)]


def show(events: list[Event], stream: io.StringIO, seconds: float, interval: float) -> str:
    clock = Clock()
    display = TqdmProgress(stream, interval=interval, clock=clock)
    for event in events:
        clock.now += seconds
        display(event)
    return stream.getvalue()


def test_a_terminal_gets_a_bar_and_one_last_line(monkeypatch):
    monkeypatch.setattr("tqdm.std.time", itertools.count().__next__)  # every update is due
    text = show(a_fit(), Terminal(), seconds=0.0, interval=5.0)
    assert "iteration 1:  40%|" in text
    assert "iteration 3: 100%|" in text
    assert "/1.00k rows, log likelihood -2.000000, gain inf, 0.002 million rows/s" in text
    assert text.endswith(
        "fastgmm: converged after 3 iterations in 1.2 s: log likelihood -1.500000 per row\n"
    )
    assert text.count("\n") == 1


def test_a_fast_fit_does_not_flood_the_terminal(monkeypatch):
    monkeypatch.setattr("tqdm.std.time", lambda: 7.0)  # as if no time went by
    few, many = (show(a_fit(n), Terminal(), seconds=0.0, interval=5.0) for n in (2, 500))
    assert many.count("\r") == few.count("\r")


def test_a_bar_without_a_known_number_of_rows():
    text = show(a_fit(n_samples=None), Terminal(), seconds=0.0, interval=5.0)
    assert "rows" in text
    assert "%|" not in text


@pytest.mark.parametrize(("interval", "lines"), [(1e9, 1), (5.0, 2), (4.0, 4)])
def test_a_log_gets_a_plain_line_every_few_seconds(interval, lines):
    # 14 events, one second each; a pass takes four
    text = show(a_fit(), io.StringIO(), seconds=1.0, interval=interval)
    assert "\r" not in text
    assert text.count("\n") == lines
    assert text.count("gain") == lines - 1


def test_a_long_pass_reports_its_rows_to_a_log():
    text = show(a_fit(1), io.StringIO(), seconds=10.0, interval=5.0)
    assert "fastgmm: iteration 1: 400 of 1,000 rows" in text
    assert "iteration 1: log likelihood -2.000000, gain inf, 0.002 million rows/s" in text


def test_of_several_models_the_best_is_shown():
    text = show(a_fit(1, n_models=3), io.StringIO(), seconds=10.0, interval=5.0)
    assert "log likelihood 0.000000" in text


def test_a_terminal_without_columns_gets_lines():
    """As ``script`` and the terminals of jobs have none: a bar would never show."""
    ours, theirs = os.openpty()
    with open(theirs, "w") as stream:
        for columns in (0, 80):
            fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("4H", 24, columns, 0, 0))
            display = TqdmProgress(stream, interval=0.0)
            for event in a_fit():
                display(event)
            print("the end", file=stream, flush=True)
            shown = ""
            while "the end" not in shown:  # a terminal hands on what it has by then
                shown += os.read(ours, 10_000).decode()
            assert ("fastgmm: iteration 1: log likelihood" in shown) == (columns == 0)
    os.close(ours)


class Full:
    """A stream that takes so many writes and then no more."""

    def __init__(self, writes: int, error: Exception, terminal: bool) -> None:
        self.left, self.error, self.terminal = writes, error, terminal

    def isatty(self) -> bool:
        return self.terminal

    def write(self, text: str) -> int:
        self.left -= 1
        if self.left < 0:
            raise self.error
        return len(text)

    def flush(self) -> None:
        self.write("")


@pytest.mark.parametrize("terminal", [False, True])
@pytest.mark.parametrize("error", [OSError(28, "No space left"), BrokenPipeError(), ValueError()])
def test_a_display_that_cannot_be_written_ends_no_fit(monkeypatch, terminal, error):
    monkeypatch.setattr("tqdm.std.time", itertools.count().__next__)  # every update is due
    for writes in range(30):
        stream = Full(writes, error, terminal)
        display = TqdmProgress(stream, interval=0.0)
        for event in a_fit():
            display(event)
        display.close()


def test_a_display_can_be_copied():
    """As a clone of an estimator copies its callbacks, and a process sends them."""
    display = TqdmProgress(io.StringIO(), interval=0.0)
    for again in (copy.deepcopy(display), pickle.loads(pickle.dumps(display))):
        for event in a_fit():
            again(event)
        assert "converged" in again._stream.getvalue()
    assert display._stream.getvalue() == ""


def test_where_there_is_no_standard_error_nothing_is_shown(monkeypatch, capsys):
    monkeypatch.setattr("sys.stderr", None)
    display = TqdmProgress(interval=0.0)
    for event in a_fit():
        display(event)
    display.close()
    assert capsys.readouterr().out == ""


def test_a_fit_that_did_not_converge_says_so():
    stream = io.StringIO()
    TqdmProgress(stream)(FitEnded(0, 1, False, -1.0, 0.1))
    assert "not converged after 1 iteration in" in stream.getvalue()
