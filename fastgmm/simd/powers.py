"""2^x of whole vectors, and numbers without theirs: exponentials with the scaling free.

2^x needs no multiple of ln 2 taken off x, and the result's exponent is an addition to its bits: in
L1 a quarter less time than ``exp_nonpositive`` takes in float64, a sixth less in float32.
"""

import math
from typing import Any

import numpy as np

from fastgmm._jit import TypingError, intrinsic, ir, processor_features, types
from fastgmm.simd.arithmetic import fused
from fastgmm.simd.elementary import (
    EXP_TABLE_BITS,
    EXP_TERMS,
    EXP_TERMS_WITH_TABLE,
    EXPONENT_BIAS,
    FRACTION_BITS,
    LOWEST_SHARE,
)
from fastgmm.simd.vectors import FLAGS, VectorType, bits_of, call, constant, integers_like

LN2 = math.log(2.0)

# What would be smaller is 0: a subnormal number takes a processor a hundred cycles.
LOWEST_POWER = {64: -1020.0, 32: -124.0}


def lowest_share_power(bits: int) -> float:
    """Return the least x for which 2^x counts as a share of a sum."""
    return math.ceil(LOWEST_SHARE[bits] / LN2)


@intrinsic
def exp2_nonpositive(typingctx: Any, vectors: Any) -> Any:
    """Return 2^x for every lane of a tuple of vectors, none of them positive; NaN stays NaN.

    The error is below 1.25 ulp. Like ``exp_nonpositive`` it is for shares of a sum, and 0 for what
    is smaller than that gives: from 2^-923 on, 2^-92 in float32. Several vectors at once: a core
    looks about 100 instructions ahead, and one vector's wait for each other.
    """
    if not isinstance(vectors, types.UniTuple) or not isinstance(vectors.dtype, VectorType):
        raise TypingError(f"exp2_nonpositive takes a tuple of vectors, not {vectors}.")

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        x = [builder.extract_value(arguments[0], i) for i in range(vectors.count)]
        lowest = lowest_share_power(bits_of(x[0].type))
        return context.make_tuple(builder, vectors, powers_of_two(builder, x, lowest))

    return vectors(vectors), codegen


def _has_table(vector: Any) -> bool:
    return bits_of(vector) * vector.count == 512 and "avx512f" in processor_features()


def _place(vector: Any) -> int:
    """Return how many bits of a fraction lie behind integers where rounding is done."""
    return FRACTION_BITS[bits_of(vector)] - (EXP_TABLE_BITS if _has_table(vector) else 0)


def rounding_of(vector: Any) -> float:
    """Return what, added to a number, rounds it to sixteenths, as the table knows, or integers."""
    return 1.5 * 2.0 ** _place(vector)


def powers_of_two(
    builder: Any,
    x: list[Any],
    lowest: float | None = None,
    rounding: list[Any] | None = None,
) -> list[Any]:
    """Return 2^x for x up to 1000 (float32: 120), 0 below ``lowest``, or -1020 (-124).

    Step by step for all vectors. With ``rounding``, ``rounding_of`` less a number for each lane,
    powers are of x less that number, rounded: a subtraction is saved. What is 0 then is told by x
    rounded, too.
    """
    vector = x[0].type
    bits, place = bits_of(vector), _place(vector)
    has_table = _has_table(vector)
    magic = constant(vector, rounding_of(vector))
    least = LOWEST_POWER[bits] if lowest is None else lowest
    magics = [magic] * len(x) if rounding is None else rounding
    rounded = [builder.fadd(*pair, flags=FLAGS) for pair in zip(x, magics, strict=True)]
    told, least = (x, least) if rounding is None else (rounded, rounding_of(vector) + least)
    limit = constant(vector, least)
    within = [builder.fcmp_unordered(">=", each, limit) for each in told]  # NaN stays NaN
    n = [builder.fsub(*pair, flags=FLAGS) for pair in zip(rounded, magics, strict=True)]
    r = [builder.fsub(a, b, flags=FLAGS) for a, b in zip(x, n, strict=True)]
    integers = [builder.bitcast(each, integers_like(vector)) for each in rounded]
    shift = ir.Constant(integers_like(vector), [place] * vector.count)
    if has_table:
        found = [_looked_up(builder, each, vector) for each in integers]
        scales = _scaled(builder, found, integers, shift, vector)
        series = _series(builder, r, (1.0, *EXP_TERMS_WITH_TABLE[bits]), 1)
        values = _with_series(builder, scales, r, series)
    else:
        series = _series(builder, r, (1.0, 1.0, *EXP_TERMS[bits]), 0)
        found = [builder.bitcast(each, integers_like(vector)) for each in series]
        values = _scaled(builder, found, integers, shift, vector)
    zero = constant(vector, 0.0)
    return [builder.select(a, b, zero) for a, b in zip(within, values, strict=True)]


def _series(builder: Any, r: list[Any], terms: tuple[float, ...], power: int) -> list[Any]:
    """Return c0 (ln 2)^power + c1 (ln 2)^(power + 1) r + ... for every vector."""
    scaled = [term * LN2 ** (power + i) for i, term in enumerate(terms)]
    series = [constant(r[0].type, scaled[-1])] * len(r)
    for term in reversed(scaled[:-1]):
        addend = constant(r[0].type, term)
        series = [fused(builder, a, b, addend) for a, b in zip(series, r, strict=True)]
    return series


def _with_series(builder: Any, scales: list[Any], r: list[Any], series: list[Any]) -> list[Any]:
    """Return scales (1 + r series).

    In float64 the product that does not wait for the series comes first, which is 1.04 times as
    fast. In float32 it would be subnormal for powers below 2^-115, as are many of densities that
    lie far apart: passes over such rows took up to 1.25 times as long.
    """
    if bits_of(r[0].type) == 64:
        first, second = scales, series
    else:
        first, second = series, scales
    products = [builder.fmul(a, b, flags=FLAGS) for a, b in zip(first, r, strict=True)]
    return [fused(builder, *each) for each in zip(products, second, scales, strict=True)]


def _scaled(
    builder: Any, numbers: list[Any], integers: list[Any], shift: Any, vector: Any
) -> list[Any]:
    """Return numbers, given as bits, with integers' lowest bits added to their exponents."""
    shifted = [builder.shl(each, shift) for each in integers]
    sums = [builder.add(a, b) for a, b in zip(numbers, shifted, strict=True)]
    return [builder.bitcast(each, vector) for each in sums]


def _looked_up(builder: Any, place: Any, vector: Any) -> Any:
    """Return the bits of 2^(i / 16) for the lowest bits i of ``place``: all that counts there.

    Less what a shift of ``place`` to the exponent leaves in the fraction.
    """
    bits = bits_of(vector)
    integers = integers_like(vector)
    step = FRACTION_BITS[bits] - EXP_TABLE_BITS
    numbers = [
        _bits(2.0 ** (i / 2**EXP_TABLE_BITS), bits) - (i << step) for i in range(2**EXP_TABLE_BITS)
    ]
    tables = [
        ir.Constant(integers, some)
        for some in (numbers[: vector.count], numbers[vector.count :])
        if some
    ]
    if bits == 64:
        name = "llvm.x86.avx512.vpermi2var.q.512"
        return call(builder, name, integers, tables[0], place, tables[1])
    return call(builder, "llvm.x86.avx512.permvar.si.512", integers, tables[0], place)


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
