"""Which threads a pass runs on, by how long the last ones took; its bits are the same on all."""

import threading
import time
from contextlib import closing
from typing import Any, NamedTuple

import numpy as np
import pytest
from works import Sum

from fastgmm.executors import ThreadExecutor, threads
from fastgmm.executors.pace import Pace
from fastgmm.executors.tree import Node
from fastgmm.sources import ArraySource

X = np.random.default_rng(0).normal(size=(640, 3))


class Seen(NamedTuple):
    """Sums, which take a while for each block, and the threads that make them."""

    seconds: float
    threads: set[int]
    level: int = 0

    def start(self) -> Any:
        return Sum().start()

    def accumulate(self, state: Any, chunk: Any) -> Any:
        self.threads.add(threading.get_ident())
        time.sleep(self.seconds)
        return Sum().accumulate(state, chunk)

    def merge(self, left: Any, right: Any) -> Any:
        return Sum().merge(left, right)


class Kept(NamedTuple):
    """A ledger that has all of a pass already."""

    result: Any

    def opened(self, works: Any) -> Any:
        return [[Node(10, 0, self.result)] for _ in works]

    def grown(self, nodes: Any) -> None:
        pass

    def closed(self, results: Any) -> None:
        pass


@pytest.fixture(autouse=True)
def many_rows(monkeypatch):
    """Rows count as many, unless a test says otherwise."""
    monkeypatch.setattr(threads, "FEW", 0)


def passes(*waits):
    """Return the threads of passes over ten blocks, whose work waits so long for each of them."""
    here = threading.get_ident()
    (expected,) = ThreadExecutor(1).place(ArraySource(X), 64).reduce([Sum()])
    found = []
    with closing(ThreadExecutor(2).place(ArraySource(X), 64)) as placement:
        for seconds in waits:
            work = Seen(seconds, set())
            (result,) = placement.reduce([work])
            np.testing.assert_array_equal(result, expected)
            found.append({"here" if thread == here else "there" for thread in work.threads})
    return found


@pytest.fixture
def long_passes(monkeypatch):
    """Passes of 50 ms are news."""
    monkeypatch.setattr(threads, "UNHEARD_SECONDS", 0.02)


def test_long_passes_leave_this_thread_to_signals(long_passes):
    assert passes(*[0.01] * 3) == [{"there"}] * 3


def test_in_shorter_passes_this_thread_works_too(monkeypatch):
    monkeypatch.setattr(threads, "UNHEARD_SECONDS", 60.0)  # however busy the machine is
    first, *others = passes(*[0.01] * 3)
    assert first == {"there"}
    assert others == [{"here", "there"}] * 2


def test_the_briefest_passes_take_one_thread(monkeypatch):
    monkeypatch.setattr(threads, "BRIEF_SECONDS", 60.0)  # however busy the machine is
    assert passes(0.0, 0.0) == [{"there"}, {"here"}]


def test_few_rows_are_tried_on_this_thread_first(monkeypatch):
    monkeypatch.setattr(threads, "FEW", X.size)
    monkeypatch.setattr(threads, "BRIEF_SECONDS", 60.0)  # however busy the machine is
    assert passes(0.0, 0.01) == [{"here"}, {"here", "there"}]


def test_few_rows_with_much_to_do_go_to_all_threads(monkeypatch, long_passes):
    monkeypatch.setattr(threads, "FEW", X.size)
    first, *others = passes(*[0.01] * 3)
    assert first == {"here", "there"}
    assert others == [{"there"}] * 2


def test_a_single_range_takes_no_other_thread():
    work = Seen(0.0, set())
    with closing(ThreadExecutor(2).place(ArraySource(X), len(X))) as placement:
        placement.reduce([work])
    assert work.threads == {threading.get_ident()}


class Closing(NamedTuple):
    """Closes its placement in the midst of a pass."""

    placement: Any
    level: int = 0

    def start(self) -> Any:
        return Sum().start()

    def accumulate(self, state: Any, chunk: Any) -> Any:
        if chunk.first_row == 128:
            self.placement._is_stopped = True  # as ``close`` says first
        time.sleep(0.001)
        return Sum().accumulate(state, chunk)

    def merge(self, left: Any, right: Any) -> Any:
        return Sum().merge(left, right)


@pytest.mark.parametrize("n_threads", [1, 2])
def test_a_pass_that_is_cut_off_has_no_result(n_threads):
    with closing(ThreadExecutor(n_threads).place(ArraySource(X), 64)) as placement:
        for _ in range(2):  # on other threads; on this one, too
            with pytest.raises(RuntimeError, match="in the midst of a pass"):
                placement.reduce([Closing(placement)])


def test_a_pass_that_is_longer_than_the_last_goes_to_all_threads():
    found = [passes(0.0, 0.02, 0.02) for _ in range(3)]
    assert all("there" in second & third for _, second, third in found)


def test_what_a_ledger_has_kept_does_not_make_a_pass_brief(long_passes):
    with closing(ThreadExecutor(2).place(ArraySource(X), 64)) as placement:
        placement.reduce([Seen(0.01, set())])
        placement.ledger = Kept(Sum().start())
        placement.reduce([Sum()])
        placement.ledger = None
        work = Seen(0.01, set())
        placement.reduce([work])
    assert threading.get_ident() not in work.threads


def test_the_slower_way_is_tried_again():
    limit, pace = 0.005, Pace(few=False)
    assert not pace.is_better_alone(limit)
    pace.took(False, 0.9 * limit)  # with cold caches
    pace.took(True, 0.5 * limit)
    assert pace.is_better_alone(limit)
    passes = 0
    while pace.is_better_alone(limit):
        pace.took(True, 0.5 * limit)
        passes += 1
    assert 5 <= passes <= 20
    pace.took(False, 0.3 * limit)
    assert not pace.is_better_alone(limit)


def test_one_slow_pass_says_little():
    pace = Pace(few=True)
    pace.took(False, 0.003)
    pace.took(True, 0.002)
    pace.took(True, 1.0)
    assert pace.is_better_alone(0.005)


@pytest.mark.parametrize(("alone", "together"), [(2e-3, 1e-3), (1e-3, 2e-3), (1.5e-3, 4.5e-3)])
def test_the_slower_way_is_tried_now_and_then_only(alone, together):
    pace, slower = Pace(few=False), 0
    for _ in range(500):
        way = pace.is_better_alone(0.005)
        pace.took(way, alone if way else together)
        slower += way == (alone > together)
    assert 5 <= slower <= 0.1 * 500
