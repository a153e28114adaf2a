"""Vectors of floating-point numbers, one processor register each, for Numba.

A compiler that vectorises loops by itself gives half of what a core can do, and nobody knows when
it gives less. Here the registers are named: ``load`` returns one, ``fma`` is one instruction.
The number of lanes is the machine's (eight float64 with AVX-512, four with AVX2, two with SSE2 or
NEON; twice as many float32); the source stays the same. A dot product::

    import numpy as np
    from fastgmm._jit import kernel
    from fastgmm.simd import broadcast, fma, lanes_of, load, load_part, total

    @kernel
    def dot(a, b):
        width = lanes_of(a)                       # a constant of the dtype and the machine
        even = broadcast(a.dtype.type(0.0))
        odd = even                                # two sums: an fma takes four cycles,
        last = a.size - a.size % (2 * width)      # and two can start in each
        for i in range(0, last, 2 * width):
            even = fma(load(a, i), load(b, i), even)
            odd = fma(load(a, i + width), load(b, i + width), odd)
        for i in range(last, a.size, width):      # what is left: the other lanes are zero
            rest = a.size - i
            even = fma(load_part(a, i, rest), load_part(b, i, rest), even)
        return total(even + odd)

    dot(np.arange(11.0), np.ones(11))             # 55.0

Vectors live inside kernels: in variables, tuples, arguments and results of parts; never in arrays
or in Python. Nothing is checked: an index outside the array reads what is there. Any alignment is
right, but AVX-512 wants work arrays that start at multiples of 64 bytes, which NumPy's need not: a
register across two cache lines counts twice (transposes took 1.6 times as long).

=============================  =====================================================
``lanes(dtype)``               how many lanes, in Python
``lanes_of(array)``            the same, a constant in a kernel
``load``, ``store``            a vector at a flat index of a C-contiguous array
``load_part``, ``store_part``  its first lanes only; memory behind them is not touched
``broadcast(x)``               one number in every lane
``load_broadcast(array, i)``   one element of an array in every lane
``+ - * /``, ``-v``            lane by lane; one operand may be a number
``fma(a, b, c)``               a b + c
``fnma(a, b, c)``              c - a b
``minimum``, ``maximum``       lane by lane; where one is NaN, the second operand
``reciprocal(v)``              1 / v of normal numbers
``square_root(v)``             of numbers that are not negative
``< <= > >= == !=``            masks, joined by ``& | ~``
``first_lanes(like, count)``   the mask of the first lanes
``select(mask, a, b)``         a where the mask is on, else b
``lanes_on(mask)``             an integer with a bit for each lane, ``first_on`` of it the lowest
``total(v)``, ``highest(v)``   sum and maximum over the lanes
``totals((v0, v1, ...))``      the vector of the sums of as many vectors as lanes
``transpose((v0, v1, ...))``   lane j of vector i becomes lane i of vector j
``transpose_block(...)``       the same from memory to memory, with strides
``widen_low``, ``widen_high``  half of a float32 vector as a float64 vector
``narrow(low, high)``          two float64 vectors as one float32 vector
``exp(v)``, ``log(v)``         see there for accuracy and limits
``exp_nonpositive(v)``         shares of a sum: v <= 0, 0 long before subnormal results
``exp2_nonpositive((v, ...))``  the same to base two, of several vectors at once: the fastest
=============================  =====================================================
"""

from fastgmm.simd.arithmetic import (
    first_on,
    fma,
    fnma,
    lanes_on,
    maximum,
    minimum,
    narrow,
    reciprocal,
    select,
    square_root,
    widen_high,
    widen_low,
)
from fastgmm.simd.elementary import exp, exp_nonpositive, log
from fastgmm.simd.memory import (
    broadcast,
    first_lanes,
    load,
    load_broadcast,
    load_part,
    store,
    store_part,
)
from fastgmm.simd.powers import exp2_nonpositive
from fastgmm.simd.shuffles import highest, total, totals, transpose, transpose_block
from fastgmm.simd.vectors import MaskType, VectorType, lanes, lanes_of

__all__ = [
    "MaskType",
    "VectorType",
    "broadcast",
    "exp",
    "exp2_nonpositive",
    "exp_nonpositive",
    "first_lanes",
    "first_on",
    "fma",
    "fnma",
    "highest",
    "lanes",
    "lanes_of",
    "lanes_on",
    "load",
    "load_broadcast",
    "load_part",
    "log",
    "maximum",
    "minimum",
    "narrow",
    "reciprocal",
    "select",
    "square_root",
    "store",
    "store_part",
    "total",
    "totals",
    "transpose",
    "transpose_block",
    "widen_high",
    "widen_low",
]
