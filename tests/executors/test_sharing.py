"""What is too small to be sent away is shared out over threads of this process."""

import threading

import numpy as np
import pytest
from hanging import LONG

from fastgmm.executors import ThreadExecutor
from fastgmm.executors.dask import DaskExecutor
from fastgmm.sources import ArraySource


@pytest.fixture(params=["1 thread", "2 threads", "5 threads", "dask"])
def placement(request):
    if request.param == "dask":
        executor = DaskExecutor(request.getfixturevalue("two_workers"))
    else:
        executor = ThreadExecutor(int(request.param.split()[0]))
    placed = executor.place(ArraySource(np.zeros((4, 2))))
    yield placed
    placed.close()


@pytest.mark.parametrize("n", [0, 1, 2, 7, 100])
def test_the_ranges_make_up_the_whole_in_order(placement, n):
    ranges = placement.share(lambda first, last: list(range(first, last)), n)
    assert [i for range_ in ranges for i in range_] == list(range(n))


def test_ranges_are_under_way_at_the_same_time():
    placement = ThreadExecutor(3).place(ArraySource(np.zeros((4, 2))))
    meeting = threading.Barrier(3, timeout=LONG)
    assert sorted(placement.share(lambda first, last: meeting.wait(), 9)) == [0, 1, 2]
    placement.close()


@pytest.mark.parametrize("bad", [0, 6])
def test_what_a_range_raises_is_raised_when_all_have_ended(placement, bad):
    ended = []

    def part(first, last):
        ended.extend(range(first, last))
        if first <= bad < last:
            raise ValueError("bad")

    with pytest.raises(ValueError, match="bad"):
        placement.share(part, 7)
    assert sorted(ended) == list(range(7))
