"""Memory of kernels: where it begins, and that of an array is neither copied nor lost."""

import sys

import numpy as np
import pytest

from fastgmm._jit import TypingError, kernel
from fastgmm.kernels.memory import ALIGNMENT, cleared, flattened


@kernel
def room_and_numbers(array):
    return cleared(5, array), flattened(array)


@pytest.mark.parametrize("writable", [True, False])
def test_room_begins_with_a_cache_line_and_flat_numbers_are_the_arrays(writable):
    array = np.arange(12.0).reshape(3, 4)
    array.flags.writeable = writable
    owners = sys.getrefcount(array)
    room, numbers = room_and_numbers(array)
    assert room.ctypes.data % ALIGNMENT == 0
    assert np.array_equal(room, np.zeros(5))
    assert np.array_equal(numbers, array.ravel())
    assert np.shares_memory(numbers, array)
    assert numbers.flags.writeable == writable
    assert sys.getrefcount(array) == owners + 1
    del numbers
    assert sys.getrefcount(array) == owners


def test_rows_that_do_not_follow_each_other_are_refused():
    with pytest.raises(TypingError, match="follow each other"):
        room_and_numbers(np.zeros((3, 4)).T)
