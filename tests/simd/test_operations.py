"""Loads, stores, arithmetic, masks and shuffles do to registers what NumPy does to arrays."""

import ctypes
import mmap

import numpy as np
import operations as kernels
import pytest

from fastgmm import simd
from fastgmm._jit import TypingError, kernel, register_bytes

DTYPES = [np.float64, np.float32]
BOTH = pytest.mark.parametrize("dtype", DTYPES)


def numbers(size, dtype, seed=0):
    return np.random.default_rng(seed).normal(size=size).astype(dtype)


@BOTH
def test_a_register_holds_what_python_says_and_kernels_know(dtype):
    w = simd.lanes(dtype)
    assert w * np.dtype(dtype).itemsize == register_bytes()
    assert kernels.count_lanes(np.zeros(w, dtype)) == (w, w, w)


def test_the_width_can_be_chosen_but_not_invented(monkeypatch):
    for width in (16, 32, 64):
        monkeypatch.setenv("FASTGMM_SIMD_BYTES", str(width))
        assert register_bytes.__wrapped__() == width
    monkeypatch.setenv("FASTGMM_SIMD_BYTES", "24")
    with pytest.raises(ValueError, match="'24', but it must be 16, 32 or 64"):
        register_bytes.__wrapped__()


@BOTH
def test_vectors_move_between_any_places_and_touch_nothing_else(dtype):
    w = simd.lanes(dtype)
    source = numbers(3 * w, dtype)
    for i in range(w):
        for j in (0, 1, w):
            target = np.zeros(3 * w, dtype)
            kernels.copy_vector(source, i, target, j)
            expected = np.zeros(3 * w, dtype)
            expected[j : j + w] = source[i : i + w]
            np.testing.assert_array_equal(target, expected)


@BOTH
def test_every_tail(dtype):
    w = simd.lanes(dtype)
    source = numbers(2 * w, dtype)
    for count in range(-1, w + 2):
        kept = max(0, min(count, w))
        target = np.full(2 * w, 7, dtype)
        kernels.copy_part(source, 1, count, target, 1)
        expected = np.full(2 * w, 7, dtype)
        expected[1 : 1 + kept] = source[1 : 1 + kept]
        np.testing.assert_array_equal(target, expected)
        kernels.load_some(source, 1, count, target)
        expected = np.zeros(w, dtype)
        expected[:kept] = source[1 : 1 + kept]
        np.testing.assert_array_equal(target[:w], expected)


def before_a_forbidden_page(dtype):
    """Return an array that ends where memory may no longer be touched, and what keeps it."""
    memory = mmap.mmap(-1, 2 * mmap.PAGESIZE)
    start = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.mprotect(ctypes.c_void_p(start + mmap.PAGESIZE), mmap.PAGESIZE, 0) == 0
    return np.frombuffer(memory, dtype, count=mmap.PAGESIZE // np.dtype(dtype).itemsize), memory


@BOTH
def test_tails_touch_no_memory_behind_the_array(dtype):
    array, _memory = before_a_forbidden_page(dtype)
    w = simd.lanes(dtype)
    loaded = np.empty(w, dtype)
    for count in range(1, w):
        array[-count:] = values = numbers(count, dtype)
        kernels.load_some(array, array.size - count, count, loaded)  # a fault would end the tests
        np.testing.assert_array_equal(loaded[:count], values)
        kernels.copy_part(-array, 0, count, array, array.size - count)


@BOTH
def test_one_number_in_every_lane(dtype):
    w = simd.lanes(dtype)
    x, out = numbers(w, dtype), np.empty(2 * w, dtype)
    kernels.fill(x, 0.1, out)
    np.testing.assert_array_equal(out, np.repeat(np.array([0.1, x[1]], dtype), w))


@BOTH
def test_arithmetic(dtype):
    w = simd.lanes(dtype)
    a, b, c = (numbers(w, dtype, seed) for seed in range(3))
    out = np.empty((12, w), dtype)
    kernels.arithmetic(a, b, c, out.ravel())
    product = a.astype(np.longdouble) * b  # exact enough to be rounded once
    fused = [(product + c).astype(dtype), (c - product).astype(dtype)]
    np.testing.assert_allclose(out[:2], fused, rtol=np.finfo(dtype).eps)
    plain = [a + b, a - b, a * b, a / b, -a, 2 * a, a + dtype(0.1), 1 / a]
    np.testing.assert_array_equal(out[2:10], plain)
    np.testing.assert_array_equal(out[10:], [np.minimum(a, b), np.maximum(a, b)])


@BOTH
def test_fused_products_are_rounded_once(dtype):
    w = simd.lanes(dtype)
    step = np.finfo(dtype).eps
    a, c = np.full(w, 1 + step, dtype), np.full(w, -(1 + 2 * step), dtype)
    out = np.empty((12, w), dtype)
    kernels.arithmetic(a, a, c, out.ravel())
    if np.any(out[0]):  # a processor without the instruction gives 0: it rounds the product too
        np.testing.assert_array_equal(out[0], step**2)
        np.testing.assert_array_equal(out[1], c - dtype(1 + 2 * step))


@BOTH
def test_where_a_number_is_missing_the_second_operand_is_the_extreme(dtype):
    w = simd.lanes(dtype)
    a, b = np.ones(w, dtype), np.full(w, 2, dtype)
    a[0], b[1] = np.nan, np.nan
    out = np.empty((12, w), dtype)
    kernels.arithmetic(a, b, a, out.ravel())
    for extreme in out[10:, :2]:
        np.testing.assert_array_equal(extreme, [2, np.nan])


@BOTH
def test_lanes_that_are_on_one_after_the_other(dtype):
    w = simd.lanes(dtype)
    out = np.empty(w, np.int64)
    for seed in range(20):
        x = np.random.default_rng(seed).normal(size=w).astype(dtype)
        x[seed % w] = np.nan
        n = kernels.lanes_above(x, dtype(0.25), out)
        np.testing.assert_array_equal(out[:n], np.flatnonzero(x > 0.25))


@BOTH
def test_masks(dtype):
    w = simd.lanes(dtype)
    a = np.array([1, 2, np.nan, -0.0, np.inf] * w, dtype)[:w]
    b = np.array([2, 1, 1, 0.0, np.inf, np.nan] * w, dtype)[:w]
    for x, y in ((a, b), (b, a), (a, a), (a[::-1].copy(), b)):
        out = np.empty((10, w), dtype)
        kernels.comparisons(x, y, out.ravel())
        comparisons = [x < y, x <= y, x > y, x >= y, x == y, x != y]
        joined = [(x < y) | (x > y), (x <= y) & (x >= y), ~(x < y), x < 0.5]
        np.testing.assert_array_equal(out, [*comparisons, *joined])


@BOTH
def test_the_first_lanes_of_any_count(dtype):
    w = simd.lanes(dtype)
    x, out = numbers(w, dtype), np.empty(w, dtype)
    for count in range(-1, w + 2):
        assert kernels.mask_first(x, count, out) == (1 << min(max(count, 0), w)) - 1
        np.testing.assert_array_equal(out, np.where(np.arange(w) < count, x, -x))


@BOTH
def test_sums_and_maxima_over_the_lanes(dtype):
    w = simd.lanes(dtype)
    x = numbers(w, dtype)
    total, highest = kernels.reduced(x)
    np.testing.assert_allclose(total, x.sum(), rtol=w * np.finfo(dtype).eps)
    assert highest == x.max()
    for lane in range(w):  # no lane is left out or counted twice
        assert kernels.reduced(np.eye(w, dtype=dtype)[lane]) == (1, 1)


@BOTH
def test_totals_and_transposes_of_tuples(dtype):
    w = simd.lanes(dtype)
    summed, turned = kernels.of_tuples(w)
    square = np.arange(w * w, dtype=dtype).reshape(w, w) ** 2
    out = np.empty((w, w), dtype)
    summed(square.ravel(), out[0])
    np.testing.assert_array_equal(out[0], square.sum(axis=1))
    turned(square.ravel(), out.ravel())
    np.testing.assert_array_equal(out, square.T)


@BOTH
def test_blocks_are_transposed_from_memory_to_memory(dtype):
    w = simd.lanes(dtype)
    source = numbers((w + 1, w + 3), dtype)
    target = np.zeros((w + 2, w + 5), dtype)
    kernels.transposed_block(source.ravel(), w + 4, w + 3, target.ravel(), 2, w + 5)
    expected = np.zeros_like(target)
    expected[:w, 2 : 2 + w] = source[1 : 1 + w, 1 : 1 + w].T
    np.testing.assert_array_equal(target, expected)


def test_single_numbers_become_double_and_return():
    x = numbers(simd.lanes(np.float32), np.float32)
    low, high = np.empty((2, simd.lanes(np.float64)))
    back = np.empty_like(x)
    kernels.widened(x, low, high, back)
    np.testing.assert_array_equal(np.concatenate([low, high]), x.astype(np.float64))
    np.testing.assert_array_equal(back, x)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: kernels.copy_vector(np.zeros(99)[::2], 0, np.zeros(9), 0), "C-contiguous array"),
        (lambda: kernels.copy_vector(np.zeros(9, int), 0, np.zeros(9), 0), "float32 or float64"),
        (lambda: kernels.copy_vector(np.zeros(9), 0, np.zeros(9, "f4"), 0), "array's numbers"),
        (lambda: kernels.arithmetic(*np.zeros((2, 16)), np.zeros(16, "f4"), None), "of one type"),
    ],
)
def test_what_cannot_be_done_is_said_when_the_kernel_is_compiled(call, message):
    with pytest.raises(TypingError, match=message):
        call()


def test_read_only_arrays_are_not_written():
    target = np.zeros(16)
    target.flags.writeable = False
    with pytest.raises(TypingError, match="may be written"):
        kernels.copy_vector(np.zeros(16), 0, target, 0)


def test_the_example_of_the_docstring():
    text = simd.__doc__.split("::\n\n", 1)[1].split("\n\nVectors live")[0]
    names = {"__name__": __name__}
    exec("\n".join(line.removeprefix("    ") for line in text.splitlines()), names)
    assert kernel is names["kernel"]
    for size in range(40):
        assert names["dot"](np.arange(size * 1.0), np.ones(size)) == size * (size - 1) / 2


def test_the_docstring_names_everything():
    for name in simd.__all__:
        assert name in simd.__doc__ or name.endswith("Type")
