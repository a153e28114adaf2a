"""Powers of two, and numbers without theirs: exponentials with the scaling free.

2^x needs no multiple of ln 2 taken off x, and the result's exponent is an addition to its bits: 14
instructions in float64 and 11 in float32, one less than ``exp_nonpositive`` takes, and no highest
density to find and take off before.
"""

import math
from typing import Any

import numpy as np

from fastgmm._jit import ir, processor_features
from fastgmm.simd.arithmetic import fused
from fastgmm.simd.elementary import (
    EXP_TABLE_BITS,
    EXP_TERMS_WITH_TABLE,
    EXPONENT_BIAS,
    FRACTION_BITS,
    exp_of,
)
from fastgmm.simd.vectors import FLAGS, bits_of, call, constant, integers_like

LN2 = math.log(2.0)


def _has_table(vector: Any) -> bool:
    return bits_of(vector) * vector.count == 512 and "avx512f" in processor_features()


def _rounding(vector: Any) -> float:
    """Return the number whose addition rounds to what the table knows."""
    return float(1.5 * 2.0 ** (FRACTION_BITS[bits_of(vector)] - EXP_TABLE_BITS))


# What would be smaller is 0: a subnormal number takes a processor a hundred cycles.
LOWEST_POWER = {64: -1020.0, 32: -124.0}


def powers_of_two(builder: Any, x: list[Any]) -> list[Any]:
    """Return 2^x for x up to 1000 (float32: 120), 0 below -1020 (-124).

    Step by step for all vectors: a core looks about 100 instructions ahead, and one vector's wait
    for each other.
    """
    vector = x[0].type
    bits = bits_of(vector)
    lowest = constant(vector, LOWEST_POWER[bits])
    within = [builder.fcmp_unordered(">=", each, lowest) for each in x]  # NaN stays NaN
    zero = constant(vector, 0.0)
    if not _has_table(vector):
        powers = [
            exp_of(builder, builder.fmul(each, constant(vector, LN2)), bounded_above=True)
            for each in x
        ]
        return [builder.select(a, b, zero) for a, b in zip(within, powers, strict=True)]
    magic = constant(vector, _rounding(vector))
    rounded = [builder.fadd(each, magic, flags=FLAGS) for each in x]
    n = [builder.fsub(each, magic, flags=FLAGS) for each in rounded]
    r = [builder.fsub(a, b, flags=FLAGS) for a, b in zip(x, n, strict=True)]
    terms = [1.0, *EXP_TERMS_WITH_TABLE[bits]]
    terms = [term * LN2 ** (power + 1) for power, term in enumerate(terms)]
    series = [constant(vector, terms[-1])] * len(x)
    for term in reversed(terms[:-1]):
        addend = constant(vector, term)
        series = [fused(builder, a, b, addend) for a, b in zip(series, r, strict=True)]
    integers = [builder.bitcast(each, integers_like(vector)) for each in rounded]
    scales = _powers(builder, integers, vector)
    r = [builder.fmul(a, b, flags=FLAGS) for a, b in zip(scales, r, strict=True)]
    values = [fused(builder, *each) for each in zip(r, series, scales, strict=True)]
    return [builder.select(a, b, zero) for a, b in zip(within, values, strict=True)]


def _powers(builder: Any, rounded_bits: list[Any], vector: Any) -> list[Any]:
    """Return 2^n of rounded n, whose lowest bits count what the table knows."""
    bits = bits_of(vector)
    integers = integers_like(vector)
    step = FRACTION_BITS[bits] - EXP_TABLE_BITS
    # less what the shift leaves of n's fraction
    numbers = [
        _bits(2.0 ** (i / 2**EXP_TABLE_BITS), bits) - (i << step) for i in range(2**EXP_TABLE_BITS)
    ]
    tables = [
        ir.Constant(integers, some)
        for some in (numbers[: vector.count], numbers[vector.count :])
        if some
    ]

    def looked_up(index: Any) -> Any:
        # the instructions look at the index's lowest bits only
        if bits == 64:
            name = "llvm.x86.avx512.vpermi2var.q.512"
            return call(builder, name, integers, tables[0], index, tables[1])
        return call(builder, "llvm.x86.avx512.permvar.si.512", integers, tables[0], index)

    shift = ir.Constant(integers, [step] * vector.count)
    found = [looked_up(each) for each in rounded_bits]
    shifted = [builder.shl(each, shift) for each in rounded_bits]
    sums = [builder.add(a, b) for a, b in zip(found, shifted, strict=True)]
    return [builder.bitcast(each, vector) for each in sums]


def _bits(number: float, bits: int) -> int:
    kind = np.float64 if bits == 64 else np.float32
    return int(np.array(number, kind).view(f"i{bits // 8}"))


def without_exponent(builder: Any, value: Any) -> tuple[Any, Any]:
    """Return numbers between 1 and 2, and the exponents taken off them, for positive normal ones.

    Infinity and NaN stay what they are, or NaN.
    """
    vector = value.type
    bits = bits_of(vector)
    integers = integers_like(vector)
    place = ir.Constant(integers, [FRACTION_BITS[bits]] * vector.count)
    bias = ir.Constant(integers, [EXPONENT_BIAS[bits]] * vector.count)
    exponent = builder.sub(builder.lshr(builder.bitcast(value, integers), place), bias)
    inverse = builder.bitcast(builder.shl(builder.sub(bias, exponent), place), vector)
    return builder.fmul(value, inverse, flags=FLAGS), exponent
