"""exp and log of whole vectors: short polynomials, as few instructions as the accuracy allows."""

import math
from typing import Any

from fastgmm._jit import intrinsic, ir, processor_features
from fastgmm.simd.arithmetic import fused, smaller
from fastgmm.simd.vectors import (
    FLAGS,
    bits_of,
    call,
    constant,
    integers_like,
    require_vectors,
)

# ln 2 in two pieces; the first ends in zeros, so that its product with an exponent is exact even
# without fused products (Cody, Waite)
LN2 = {
    64: (0.6931471803691238, 1.9082149292705877e-10),
    32: (0.693115234375, 3.1946183e-05),
}
# the exponent's place in a number's bits, and what is added to the exponent there
FRACTION_BITS = {64: 52, 32: 23}
EXPONENT_BIAS = {64: 1023, 32: 127}

# Coefficients c of exp(r) = 1 + r + r^2 (c0 + c1 r + ...) for |r| <= half a step, by
# mpmath.chebyfit(lambda r: (exp(r) - 1 - r) / r**2, [-step / 2, step / 2], terms).
# Steps of ln 2 need no table:
EXP_TERMS = {
    64: (
        0.5000000000000001,
        0.16666666666666669,
        0.041666666666624164,
        0.008333333333330065,
        0.0013888888917196719,
        0.00019841269863040545,
        2.4801521322368692e-05,
        2.7557268480310024e-06,
        2.7620075879983367e-07,
        2.5100375832561234e-08,
    ),
    32: (
        0.5,
        0.16666577756404877,
        0.041666556149721146,
        0.008363173343241215,
        0.0013926175888627768,
    ),
}
# Steps of ln 2 / 16, with the sixteen powers of two from 1 to 2 in registers:
EXP_TABLE_BITS = 4
EXP_TERMS_WITH_TABLE = {
    64: (
        0.5,
        0.1666666666530169,
        0.04166666666496045,
        0.008333449701253456,
        0.0013889034348599464,
    ),
    32: (0.5000097751617432, 0.1666686236858368),
}
# the smallest argument whose exp is a normal number, the largest whose exp is finite
EXP_DOMAIN = {64: (-708.3964185322641, 709.782712893384), 32: (-87.33654, 88.72283)}
# exp_nonpositive gives up earlier, at 1e-278 and 1.6e-28: it is for shares of a sum, and operations
# on a share that became subnormal, by a division or a product, take a hundred cycles. In float32
# with 41 columns and 110 components one share in two hundred did: a pass took 2.2 times as long.
LOWEST_SHARE = {64: -640.0, 32: -64.0}

# Coefficients of log((1 + s) / (1 - s)) = 2 s + s z (c0 + c1 z + ...) with z = s^2:
# mpmath.chebyfit(lambda z: (log((1 + s) / (1 - s)) / s - 2) / z, [0, 0.02944], terms)
LOG_TERMS = {
    64: (
        0.666666666666667,
        0.39999999999899505,
        0.28571428625975487,
        0.2222221113479508,
        0.18182889125261723,
        0.15331721600556042,
        0.14616449685043406,
    ),
    32: (0.6666666865348816, 0.4000012278556824, 0.2855082154273987, 0.2333046793937683),
}


def _polynomial(builder: Any, x: Any, terms: tuple[float, ...]) -> Any:
    """Return c0 + c1 x + c2 x^2 + ... by Horner's rule.

    Estrin's pairs are no faster where several vectors are on their way (measured), and less exact.
    """
    value = constant(x.type, terms[-1])
    for term in reversed(terms[:-1]):
        value = fused(builder, value, x, constant(x.type, term))
    return value


def exp_of(builder: Any, x: Any, bounded_above: bool) -> Any:
    """exp(x) = 2^n exp(r) with n = x / ln 2 rounded (to sixteenths where a table has those).

    Lanes below the domain compute nonsense, and are set to 0 by the last instruction.
    """
    vector = x.type
    bits = bits_of(vector)
    has_avx512 = bits * vector.count == 512 and "avx512f" in processor_features()
    lowest, highest = EXP_DOMAIN[bits]
    lowest = constant(vector, lowest if bounded_above else LOWEST_SHARE[bits])
    highest = constant(vector, highest)
    within = builder.fcmp_unordered(">=", x, lowest)  # unordered: NaN stays NaN
    if bounded_above and has_avx512:
        # scalef turns it into infinity; the bound stands first, so that NaN stays NaN
        x = smaller(builder, constant(vector, 2.0 * EXP_DOMAIN[bits][1]), x)
    # adding 1.5 2^52 rounds to an integer, which the sum's lowest bits then are
    place = FRACTION_BITS[bits] - (EXP_TABLE_BITS if has_avx512 else 0)
    magic = constant(vector, 1.5 * 2.0**place)
    rounded = fused(builder, x, constant(vector, 1.0 / math.log(2.0)), magic)
    n = builder.fsub(rounded, magic, flags=FLAGS)
    r = x
    for part in LN2[bits]:
        r = fused(builder, n, constant(vector, -part), r)
    rounded_bits = builder.bitcast(rounded, integers_like(vector))
    if has_avx512:
        return _exp_avx512(builder, r, n, rounded_bits, within)
    value = _polynomial(builder, r, (1.0, 1.0, *EXP_TERMS[bits]))
    value = _add_to_exponent(builder, value, rounded_bits)
    if bounded_above:
        above = builder.fcmp_ordered(">", x, highest)
        value = builder.select(above, constant(vector, math.inf), value)
    return builder.select(within, value, constant(vector, 0.0))


def _exp_avx512(builder: Any, r: Any, n: Any, rounded_bits: Any, within: Any) -> Any:
    """Return 2^n exp(r): the fraction's power from the table, the rest by ``scalef``."""
    vector = r.type
    bits = bits_of(vector)
    series = _polynomial(builder, r, EXP_TERMS_WITH_TABLE[bits])
    series = fused(builder, series, builder.fmul(r, r, flags=FLAGS), r)
    powers = [2.0 ** (step / 2**EXP_TABLE_BITS) for step in range(2**EXP_TABLE_BITS)]
    tables = [
        ir.Constant(vector, [ir.Constant(vector.element, power) for power in some])
        for some in (powers[: vector.count], powers[vector.count :])
        if some
    ]
    # the instructions look at the index's lowest bits only
    if bits == 64:
        name = "llvm.x86.avx512.vpermi2var.pd.512"
        power = call(builder, name, vector, tables[0], rounded_bits, tables[1])
    else:
        name = "llvm.x86.avx512.permvar.sf.512"
        power = call(builder, name, vector, tables[0], rounded_bits)
    value = fused(builder, power, series, power)
    # scalef rounds n down and makes infinity of an overflow. The mask is there because a subnormal
    # or zero result would take it thirty times as long.
    name = f"llvm.x86.avx512.mask.scalef.{'pd' if bits == 64 else 'ps'}.512"
    mask = builder.bitcast(within, ir.IntType(vector.count))
    rounding = ir.Constant(ir.IntType(32), 4)  # as it is set
    return call(builder, name, vector, value, n, constant(vector, 0.0), mask, rounding)


def _add_to_exponent(builder: Any, value: Any, integer: Any) -> Any:
    """Return a number times 2^integer, if both it and the product are normal."""
    shift = constant(integer.type, FRACTION_BITS[bits_of(value.type)])
    exponent = builder.shl(integer, shift)
    bits = builder.add(builder.bitcast(value, integer.type), exponent)
    return builder.bitcast(bits, value.type)


@intrinsic
def exp(typingctx: Any, vector: Any) -> Any:
    """Return exp of every lane, in float64 and float32 alike.

    The error is below 1.25 ulp with AVX-512, 1 ulp elsewhere (1.25 where no product is fused).
    Results that would be subnormal are 0, exp(-inf) = 0, what is too large is +inf, NaN stays NaN.
    """
    require_vectors("exp", vector)

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return exp_of(builder, arguments[0], bounded_above=True)

    return vector(vector), codegen


@intrinsic
def exp_nonpositive(typingctx: Any, vector: Any) -> Any:
    """Return exp of lanes that are not positive, an instruction or two sooner than ``exp``.

    The same numbers, but 0 already below -640 (float64) and -64 (float32), so that quotients by a
    sum stay clear of the subnormal numbers, on which processors are slow.
    """
    require_vectors("exp_nonpositive", vector)

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return exp_of(builder, arguments[0], bounded_above=False)

    return vector(vector), codegen


@intrinsic
def log(typingctx: Any, vector: Any) -> Any:
    """Return the natural logarithm of positive normal numbers; error below 1 ulp.

    NaN stays NaN. Anything else (0, subnormal, negative, infinite) gives nonsense, not an error.
    """
    require_vectors("log", vector)

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return log_of(builder, arguments[0])

    return vector(vector), codegen


def log_of(builder: Any, x: Any) -> Any:
    """x = 2^k (1 + f) with 1 + f from sqrt(1/2) to sqrt(2); then a series in s = f / (2 + f)."""
    vector = x.type
    bits = bits_of(vector)
    k, f = _exponent_and_fraction(builder, x)
    half_square = builder.fmul(builder.fmul(f, constant(vector, 0.5), flags=FLAGS), f, flags=FLAGS)
    s = builder.fdiv(f, builder.fadd(f, constant(vector, 2.0), flags=FLAGS), flags=FLAGS)
    z = builder.fmul(s, s, flags=FLAGS)
    series = builder.fmul(z, _polynomial(builder, z, LOG_TERMS[bits]), flags=FLAGS)
    # log(1 + f) = f - (f^2 / 2 - s (f^2 / 2 + series)): the small parts first, f and k ln 2 last
    high, low = (constant(vector, part) for part in LN2[bits])
    small = builder.fmul(k, low, flags=FLAGS)
    small = fused(builder, s, builder.fadd(half_square, series, flags=FLAGS), small)
    small = builder.fsub(small, half_square, flags=FLAGS)
    value = fused(builder, k, high, builder.fadd(small, f, flags=FLAGS))
    return builder.select(builder.fcmp_ordered("ord", x, x), value, x)


def _exponent_and_fraction(builder: Any, x: Any) -> tuple[Any, Any]:
    """Return k and f of x = 2^k (1 + f), both as numbers."""
    vector = x.type
    bits = bits_of(vector)
    integers = integers_like(vector)
    place, bias = FRACTION_BITS[bits], EXPONENT_BIAS[bits]
    # the bits of sqrt(1/2), to which the fractions are moved up
    start = {64: 0x3FE6A09E667F3BCD, 32: 0x3F3504F3}[bits]
    moved = builder.add(builder.bitcast(x, integers), constant(integers, (bias << place) - start))
    # an integer set under the exponent of 2^52 is the number 2^52 + integer
    magic = {64: 0x4330000000000000, 32: 0x4B000000}[bits]
    k = builder.or_(builder.lshr(moved, constant(integers, place)), constant(integers, magic))
    k = builder.bitcast(k, vector)
    k = builder.fsub(k, constant(vector, 2.0**place + bias), flags=FLAGS)
    fraction = builder.and_(moved, constant(integers, (1 << place) - 1))
    fraction = builder.bitcast(builder.add(fraction, constant(integers, start)), vector)
    return k, builder.fsub(fraction, constant(vector, 1.0), flags=FLAGS)
