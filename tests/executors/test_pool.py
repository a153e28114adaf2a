"""The pool of threads: answers, errors and the end of it."""

import threading
from contextlib import closing
from queue import SimpleQueue

import pytest
from hanging import LONG, ends_within

from fastgmm.executors import Pool


def test_calls_are_made_on_at_most_so_many_threads():
    with closing(Pool(2)) as pool:
        on = set(pool.map(lambda i: threading.get_ident(), range(50)))
        assert 1 <= len(on) <= 2
        assert threading.get_ident() not in on
        assert pool.map(lambda i: i * i, range(5)) == [0, 1, 4, 9, 16]
        assert pool.submit(divmod, 17, 5).get() == (3, 2)


def test_an_answer_raises_what_the_call_did_and_the_thread_goes_on():
    with closing(Pool(1)) as pool:
        failed, fine = pool.submit(int, "one"), pool.submit(int, "1")
        with pytest.raises(ValueError, match="one"):
            failed.get()
        assert fine.get() == 1


def test_closing_waits_for_the_call_that_is_made_and_makes_no_other():
    begun, go, made = SimpleQueue(), SimpleQueue(), []

    def call(name):
        begun.put(name)
        go.get(timeout=LONG)
        made.append(name)

    pool = Pool(1)
    for name in ("first", "second"):
        pool.submit(call, name)
    assert begun.get(timeout=LONG) == "first"
    threading.Timer(0.05, go.put, [None]).start()
    with ends_within():
        pool.close()
    assert made == ["first"]


def test_a_closed_pool_says_so_and_may_be_closed_again():
    pool = Pool(3)
    assert pool.share(range, 7) == [range(2), range(2, 4), range(4, 7)]
    with ends_within():
        pool.close()
        pool.close()
    with pytest.raises(RuntimeError, match="closed"):
        pool.submit(int)
