"""The pool of threads: answers, errors, signals, forks and the end of it."""

import gc
import os
import signal
import threading
import time
import weakref
from contextlib import closing
from queue import SimpleQueue

import numpy as np
import pytest
from hanging import LONG, ends_within

from fastgmm.executors import Pool


def until(condition):
    """Wait for something that threads do."""
    end = time.monotonic() + 20
    while not condition() and time.monotonic() < end:
        time.sleep(0.001)
    assert condition()


def test_calls_are_made_on_at_most_so_many_threads():
    with closing(Pool(2)) as pool:
        on = set(pool.map(lambda i: threading.get_ident(), range(50)))
        assert 1 <= len(on) <= 2
        assert threading.get_ident() not in on
        assert pool.map(lambda i: i * i, range(5)) == [0, 1, 4, 9, 16]
        assert pool.submit(divmod, 17, 5).get() == (3, 2)


def test_calls_are_under_way_at_the_same_time():
    meeting = threading.Barrier(3, timeout=LONG)
    with closing(Pool(3)) as pool:
        assert sorted(pool.map(lambda i: meeting.wait(), range(3))) == [0, 1, 2]


def test_an_answer_raises_what_the_call_did_and_the_thread_goes_on():
    with closing(Pool(1)) as pool:
        failed, fine = pool.submit(int, "one"), pool.submit(int, "1")
        with pytest.raises(ValueError, match="one"):
            failed.get()
        assert fine.get() == 1


class Rows:
    """Something that can be watched."""


@pytest.mark.parametrize("way", ["get", "share"])
def test_an_error_does_not_keep_the_rows_of_who_asked(way):
    def fail(*_):
        raise ValueError("bad")

    def ask():
        rows = Rows()
        watched.append(weakref.ref(rows))
        with closing(Pool(2)) as pool:
            pool.submit(fail, rows).get() if way == "get" else pool.share(fail, 4)

    watched = []
    gc.collect()
    gc.disable()
    try:
        with pytest.raises(ValueError, match="bad") as raised:
            ask()
        del raised
        until(lambda: watched[0]() is None)
    finally:
        gc.enable()


def test_a_thread_that_waits_keeps_nothing_of_its_last_call():
    with closing(Pool(1)) as pool:
        rows = Rows()
        watched = weakref.ref(rows)
        pool.submit(lambda rows: None, rows).get()
        del rows
        until(lambda: watched() is None)


def test_closing_waits_for_the_call_that_is_made_and_makes_no_other():
    begun, go, made = SimpleQueue(), SimpleQueue(), []

    def call(name):
        begun.put(name)
        go.get(timeout=LONG)
        made.append(name)

    pool = Pool(1)
    first, second = pool.submit(call, "first"), pool.submit(call, "second")
    assert begun.get(timeout=LONG) == "first"
    closer = threading.Thread(target=pool.close)
    closer.start()
    with pytest.raises(RuntimeError, match="before the call was made"):
        second.get()
    assert closer.is_alive()
    go.put(None)
    closer.join(LONG)
    first.get()
    assert made == ["first"]


def test_a_closed_pool_says_so_and_may_be_closed_again():
    pool = Pool(3)
    assert pool.share(range, 7) == [range(2), range(2, 4), range(4, 7)]
    with ends_within():
        pool.close()
        pool.close()
    with pytest.raises(RuntimeError, match="closed"):
        pool.submit(int)


def test_threads_end_with_a_pool_that_nobody_closes():
    pool = Pool(2)
    assert pool.map(abs, [-1, -2]) == [1, 2]
    threads = pool._threads
    assert len(threads) == 2
    del pool
    with ends_within():
        for thread in threads:
            thread.get()


class Bell(Exception):
    """What the signal raises."""


def test_a_signal_while_others_work_is_raised_when_they_have_ended():
    ended = []

    def ring(*_):
        raise Bell

    def part(first, last):
        if first == 0:
            signal.raise_signal(signal.SIGUSR1)  # taken by the main thread, which waits by then
            time.sleep(0.05)
        ended.append(first)

    before = signal.signal(signal.SIGUSR1, ring)
    try:
        with closing(Pool(2)) as pool, pytest.raises(Bell):
            pool.share(part, 2)
        assert sorted(ended) in ([0], [0, 1])  # this thread's own part may have been interrupted
    finally:
        signal.signal(signal.SIGUSR1, before)


@pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning")
@pytest.mark.parametrize("what", ["call", "close", "drop"])
def test_a_forked_process_has_threads_of_its_own(what):
    pool = Pool(2)
    pool.map(np.sqrt, range(4))
    child = os.fork()
    if child == 0:
        signal.alarm(20)  # ends a child that hangs
        if what == "call":
            code = 0 if pool.map(abs, [-1, -2]) == [1, 2] else 1
        elif what == "close":
            pool.close()
            code = 0
        else:
            del pool
            code = 0
        os._exit(code)
    _, status = os.waitpid(child, 0)
    assert status == 0
    pool.close()
