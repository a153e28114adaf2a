"""Powers of two near the highest of a row: exponentials with the subtraction and the scaling free.

exp(l - highest) of logarithms to base two is 2^(l - q) for a q next to the highest that is a
multiple of what the table of powers knows: then q is part of the constant that rounds, and the
fraction's exponent is an addition to its bits. That is 14 instructions in float64 and 11 in
float32, of which ``exp_nonpositive`` needs a difference and 15 or 12.
"""

import math
from collections.abc import Callable
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


def powers_near(builder: Any, highest: list[Any], subtract: Callable[[], None]) -> list[Power]:
    """Return the powers next to 2^highest.

    Where a lane's q is too large for the number that rounds (2^18 in float32, or no number at all),
    ``subtract`` is called to take the highest from all that fractions will be asked of.
    """
    vector = highest[0].type
    magic = constant(vector, _rounding(vector))
    if not _has_table(vector):
        return [Power(each, magic) for each in highest]
    rounded = [builder.fadd(each, magic, flags=FLAGS) for each in highest]
    exponents = [builder.fsub(each, magic, flags=FLAGS) for each in rounded]
    twice = constant(vector, 2 * _rounding(vector))
    offsets = [builder.fsub(twice, each, flags=FLAGS) for each in rounded]
    # a sum is exact where it has the large number's sign and exponent
    integers = integers_like(vector)
    place = FRACTION_BITS[bits_of(vector)]
    sign_and_exponent = ir.Constant(integers, [-1 << place] * vector.count)
    different = [
        builder.xor(builder.bitcast(each, integers), builder.bitcast(magic, integers))
        for each in offsets
    ]
    any_different = different[0]
    for each in different[1:]:
        any_different = builder.or_(any_different, each)
    far = builder.and_(any_different, sign_and_exponent)
    lanes = builder.icmp_unsigned("!=", far, ir.Constant(integers, [0] * vector.count))
    mask = builder.bitcast(lanes, ir.IntType(vector.count))
    is_far = builder.icmp_unsigned("!=", mask, ir.Constant(mask.type, 0))
    near, elsewhere = builder.block, builder.append_basic_block("far")
    after = builder.append_basic_block("after")
    builder.cbranch(is_far, elsewhere, after)
    builder.position_at_end(elsewhere)
    subtract()
    elsewhere = builder.block
    builder.branch(after)
    builder.position_at_end(after)
    powers = []
    for exponent, offset, best in zip(exponents, offsets, highest, strict=True):
        pairs = []
        for usual, other in ((exponent, best), (offset, magic)):
            phi = builder.phi(vector)
            phi.add_incoming(usual, near)
            phi.add_incoming(other, elsewhere)
            pairs.append(phi)
        powers.append(Power(*pairs))
    return powers


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
