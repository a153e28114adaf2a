"""Powers of two near the highest of a row: exponentials with the subtraction and the scaling free.

exp(l - highest) of logarithms to base two is 2^(l - q) for a q next to the highest that is a
multiple of what the table of powers knows: then q is part of the constant that rounds, and the
fraction's exponent is an addition to its bits. That is 14 instructions in float64 and 11 in
float32, of which ``exp_nonpositive`` needs a difference and 15 or 12.
"""

import math
from typing import Any, NamedTuple

import numpy as np

from fastgmm._jit import ir, processor_features
from fastgmm.simd.arithmetic import fused
from fastgmm.simd.elementary import (
    EXP_TABLE_BITS,
    EXP_TERMS_WITH_TABLE,
    EXPONENT_BIAS,
    FRACTION_BITS,
    LOWEST_SHARE,
    exp_of,
)
from fastgmm.simd.vectors import FLAGS, bits_of, call, constant, integers_like

LN2 = math.log(2.0)


def _has_table(vector: Any) -> bool:
    return bits_of(vector) * vector.count == 512 and "avx512f" in processor_features()


def _rounding(vector: Any) -> float:
    """Return the number whose addition rounds to what the table knows."""
    return float(1.5 * 2.0 ** (FRACTION_BITS[bits_of(vector)] - EXP_TABLE_BITS))


class Power(NamedTuple):
    """2^q of each lane, which fractions are taken of."""

    exponent: Any
    """q."""
    offset: Any
    """What rounds: a large number less q."""

    @classmethod
    def near(cls, builder: Any, highest: Any) -> "Power":
        """Return the power next to 2^highest."""
        vector = highest.type
        magic = _rounding(vector)
        rounded = builder.fadd(highest, constant(vector, magic), flags=FLAGS)
        exponent = builder.fsub(rounded, constant(vector, magic), flags=FLAGS)
        return cls(exponent, builder.fsub(constant(vector, 2.0 * magic), rounded, flags=FLAGS))


def fractions_of(builder: Any, powers: list[Power], x: list[Any]) -> list[Any]:
    """Return 2^(x - q) for x up to the highest, 0 where that is next to nothing.

    Step by step for all vectors: a core looks about 100 instructions ahead, and one vector's wait
    for each other.
    """
    vector = x[0].type
    bits = bits_of(vector)
    if not _has_table(vector):
        away = [
            builder.fmul(builder.fsub(each, power.exponent), constant(vector, LN2))
            for each, power in zip(x, powers, strict=True)
        ]
        return [exp_of(builder, each, bounded_above=False) for each in away]
    offsets = [power.offset for power in powers]
    rounded = [builder.fadd(a, b, flags=FLAGS) for a, b in zip(x, offsets, strict=True)]
    lowest = constant(vector, _rounding(vector) + math.ceil(LOWEST_SHARE[bits] / LN2))
    n = [builder.fsub(a, b, flags=FLAGS) for a, b in zip(rounded, offsets, strict=True)]
    r = [builder.fsub(a, b, flags=FLAGS) for a, b in zip(x, n, strict=True)]
    within = [builder.fcmp_unordered(">=", each, lowest) for each in rounded]  # NaN stays NaN
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
    zero = constant(vector, 0.0)
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
    return builder.fmul(value, inverse), exponent
