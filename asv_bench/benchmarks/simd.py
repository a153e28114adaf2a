"""How fast are single vector operations? They are the roofs of every kernel.

Milliseconds for a million numbers are nanoseconds a number.
"""

import os

import numpy as np

from fastgmm._jit import kernel
from fastgmm.simd import (
    exp,
    exp2_nonpositive,
    exp_nonpositive,
    fma,
    lanes_of,
    load,
    log,
    reciprocal,
    store,
    total,
    transpose_block,
)

NUMBERS = int(os.environ.get("FASTGMM_BENCH_ROWS", 1_000_000))
IN_L1 = 1024
"""Numbers that stay in the nearest cache; passed over again and again."""


def from_a_line(numbers):
    """Return a copy that begins with a cache line: where vectors cross two, exp is half as fast."""
    spare = 64 // numbers.itemsize
    memory = np.empty(numbers.size + spare, numbers.dtype)
    first = -(memory.ctypes.data // numbers.itemsize) % spare
    memory[first : first + numbers.size] = numbers
    return memory[first : first + numbers.size]


@kernel
def fma_in_registers(x, out, n):
    """Ten sums at once: two units, each with a new product every cycle, four cycles long."""
    w = lanes_of(x)
    a, b = load(x, 0), load(x, w)
    s0 = s1 = s2 = s3 = s4 = s5 = s6 = s7 = s8 = s9 = a
    for _ in range(0, n, 10 * w):
        s0, s1, s2, s3, s4 = (
            fma(a, b, s0),
            fma(a, b, s1),
            fma(a, b, s2),
            fma(a, b, s3),
            fma(a, b, s4),
        )
        s5, s6, s7, s8, s9 = (
            fma(a, b, s5),
            fma(a, b, s6),
            fma(a, b, s7),
            fma(a, b, s8),
            fma(a, b, s9),
        )
    store(out, 0, s0 + s1 + s2 + s3 + s4 + s5 + s6 + s7 + s8 + s9)


@kernel
def exp_in_l1(x, out, n):
    """Return exp, limits and all."""
    for _ in range(0, n, x.size):
        for i in range(0, x.size, lanes_of(x)):
            store(out, i, exp(load(x, i)))


@kernel
def exp_nonpositive_in_l1(x, out, n):
    """Return exp of what is not positive: the roof that scripts/roofline counts with."""
    for _ in range(0, n, x.size):
        for i in range(0, x.size, lanes_of(x)):
            store(out, i, exp_nonpositive(load(x, i)))


@kernel
def exp2_nonpositive_in_l1(x, out, n):
    """Return 2^x as the E-step takes it, four vectors at once."""
    w = lanes_of(x)
    for _ in range(0, n, x.size):
        for i in range(0, x.size, 4 * w):
            a, b, c, d = exp2_nonpositive(
                (load(x, i), load(x, i + w), load(x, i + 2 * w), load(x, i + 3 * w))
            )
            store(out, i, a)
            store(out, i + w, b)
            store(out, i + 2 * w, c)
            store(out, i + 3 * w, d)


@kernel
def log_in_l1(x, out, n):
    """Return log of positive numbers."""
    for _ in range(0, n, x.size):
        for i in range(0, x.size, lanes_of(x)):
            store(out, i, log(-load(x, i)))


@kernel
def reciprocal_in_l1(x, out, n):
    """Return 1 / x."""
    for _ in range(0, n, x.size):
        for i in range(0, x.size, lanes_of(x)):
            store(out, i, reciprocal(load(x, i)))


@kernel
def transposes_in_l1(x, out, n):
    """Transpose square blocks, which lie one after the other."""
    w = lanes_of(x)
    for _ in range(0, n, x.size):
        for i in range(0, x.size, w * w):
            transpose_block(x, i, w, out, i, w)


@kernel
def sum_from_memory(x):
    """Read everything once; eight sums at once."""
    w = lanes_of(x)
    s0 = s1 = s2 = s3 = s4 = s5 = s6 = s7 = load(x, 0)
    for i in range(0, x.size - 8 * w + 1, 8 * w):
        s0, s1 = s0 + load(x, i), s1 + load(x, i + w)
        s2, s3 = s2 + load(x, i + 2 * w), s3 + load(x, i + 3 * w)
        s4, s5 = s4 + load(x, i + 4 * w), s5 + load(x, i + 5 * w)
        s6, s7 = s6 + load(x, i + 6 * w), s7 + load(x, i + 7 * w)
    return total(s0 + s1 + s2 + s3 + s4 + s5 + s6 + s7)


@kernel
def exp2_of_far_in_l1(x, out, n):
    """Return 2^x of what is far apart, as densities are: half of it is 0, or next to it."""
    w = lanes_of(x)
    for _ in range(0, n, x.size):
        for i in range(0, x.size, 2 * w):
            a, b = exp2_nonpositive((40 * load(x, i), 40 * load(x, i + w)))
            store(out, i, a)
            store(out, i + w, b)


OPERATIONS = {
    "fma": fma_in_registers,
    "exp": exp_in_l1,
    "exp_nonpositive": exp_nonpositive_in_l1,
    "exp2_nonpositive": exp2_nonpositive_in_l1,
    "exp2_nonpositive of far densities": exp2_of_far_in_l1,
    "log": log_in_l1,
    "reciprocal": reciprocal_in_l1,
    "transpose": transposes_in_l1,
}


class VectorOperation:
    """One operation on a million numbers that never leave the nearest cache."""

    params = (list(OPERATIONS), ["float64", "float32"])
    param_names = ("operation", "dtype")

    def setup(self, operation, dtype):
        """Draw negative numbers, as an E-step's are, and compile."""
        draw = np.random.default_rng(0)
        self.numbers = from_a_line((-0.01 - draw.exponential(3.0, IN_L1)).astype(dtype))
        self.results = from_a_line(self.numbers)
        self.time_a_million_numbers(operation, dtype)

    def time_a_million_numbers(self, operation, dtype):
        """Compute."""
        OPERATIONS[operation](self.numbers, self.results, NUMBERS)


class Reading:
    """A sum over what does not fit any cache: 64 times a million numbers."""

    params = (["float64", "float32"],)
    param_names = ("dtype",)

    def setup(self, dtype):
        """Fill the memory and compile."""
        self.numbers = np.ones(64 * NUMBERS, dtype)
        self.time_64_million_numbers(dtype)

    def time_64_million_numbers(self, dtype):
        """Read."""
        sum_from_memory(self.numbers)
