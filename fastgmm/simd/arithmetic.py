"""Lane by lane: sums, products, fused products, comparisons, choices, conversions."""

import operator
from collections.abc import Callable
from typing import Any

from fastgmm._jit import (
    TypingError,
    intrinsic,
    ir,
    lower_builtin,
    processor_features,
    type_callable,
    types,
)
from fastgmm.simd.vectors import (
    FLAGS,
    MaskType,
    VectorType,
    bits_of,
    call,
    constant,
    llvm_vector,
    require_vectors,
    shuffle,
    splat,
)


def fused(builder: Any, a: Any, b: Any, c: Any) -> Any:
    """Return a b + c, rounded once where the processor can.

    Processors without the instruction (before 2013) round twice: LLVM's exact form would be a call
    of the C library for every lane there.
    """
    exact = {"fma", "avx512f", "neon"} & processor_features()
    name = "fma" if exact else "fmuladd"
    return call(builder, f"llvm.{name}.v{a.type.count}f{bits_of(a.type)}", a.type, a, b, c)


@intrinsic
def fma(typingctx: Any, a: Any, b: Any, c: Any) -> Any:
    """Return a b + c in one instruction."""
    require_vectors("fma", a, b, c)

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return fused(builder, *arguments)

    return a(a, b, c), codegen


@intrinsic
def fnma(typingctx: Any, a: Any, b: Any, c: Any) -> Any:
    """Return c - a b in one instruction."""
    require_vectors("fnma", a, b, c)

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        factor, other, addend = arguments
        return fused(builder, builder.fneg(factor), other, addend)

    return a(a, b, c), codegen


def added(builder: Any, a: Any, b: Any) -> Any:
    """Return a + b."""
    return builder.fadd(a, b, flags=FLAGS)


def smaller(builder: Any, a: Any, b: Any) -> Any:
    """Return a < b ? a : b, which is x86's one instruction for it."""
    return builder.select(builder.fcmp_ordered("<", a, b), a, b)


def larger(builder: Any, a: Any, b: Any) -> Any:
    """Return a > b ? a : b, which is x86's one instruction for it."""
    return builder.select(builder.fcmp_ordered(">", a, b), a, b)


@intrinsic
def minimum(typingctx: Any, a: Any, b: Any) -> Any:
    """Return the smaller numbers; where either is NaN, the second one (``b``)."""
    require_vectors("minimum", a, b)

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return smaller(builder, *arguments)

    return a(a, b), codegen


@intrinsic
def maximum(typingctx: Any, a: Any, b: Any) -> Any:
    """Return the larger numbers; where either is NaN, the second one (``b``)."""
    require_vectors("maximum", a, b)

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return larger(builder, *arguments)

    return a(a, b), codegen


@intrinsic
def select(typingctx: Any, mask: Any, a: Any, b: Any) -> Any:
    """Return ``a`` in the lanes where the mask is on, ``b`` in the others."""
    require_vectors("select", a, b)
    if not isinstance(mask, MaskType) or mask.lanes != a.lanes:
        raise TypingError(f"select takes a mask of {a.lanes} lanes, not {mask}.")

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.select(*arguments)

    return a(mask, a, b), codegen


@intrinsic
def lanes_on(typingctx: Any, mask: Any) -> Any:
    """Return an integer whose bit i says whether a mask is on in lane i."""
    if not isinstance(mask, MaskType):
        raise TypingError(f"lanes_on takes a mask, not {mask}.")

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        bits = builder.bitcast(arguments[0], ir.IntType(mask.lanes))
        return builder.zext(bits, ir.IntType(64))

    return types.intp(mask), codegen


@intrinsic
def first_on(typingctx: Any, bits: Any) -> Any:
    """Return the lowest lane that is on in an integer of ``lanes_on`` that is not 0."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.cttz(arguments[0], ir.Constant(ir.IntType(1), 1))

    return types.intp(types.intp), codegen


@intrinsic
def reciprocal(typingctx: Any, a: Any) -> Any:
    """Return 1 / a for normal numbers whose reciprocal is normal; error below 1 ulp.

    With AVX-512 an estimate of 14 bits and Newton's steps (a third of a division's time), which
    make NaN of 0 and of infinity; elsewhere a division.
    """
    require_vectors("reciprocal", a)

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return reciprocal_of(builder, arguments[0])

    return a(a), codegen


def reciprocal_of(builder: Any, value: Any) -> Any:
    """Return 1 / value, see ``reciprocal``."""
    vector = value.type
    one = constant(vector, 1.0)
    bits = bits_of(vector)
    if bits * vector.count != 512:
        return builder.fdiv(one, value, flags=FLAGS)
    every = ir.Constant(ir.IntType(vector.count), -1)
    name = f"llvm.x86.avx512.rcp14.{'pd' if bits == 64 else 'ps'}.512"
    guess = call(builder, name, vector, value, constant(vector, 0.0), every)
    for _ in range(bits // 32):  # each step doubles the good bits: 14, 28, 56
        error = fused(builder, builder.fneg(value), guess, one)
        guess = fused(builder, guess, error, guess)
    return guess


@intrinsic
def square_root(typingctx: Any, a: Any) -> Any:
    """Return the square root of numbers that are not negative; error below 1 ulp.

    With AVX-512 an estimate of 14 bits and Goldschmidt's steps, a fifth of the processor's own
    instruction's time; numbers below the smallest normal one may give 0, infinity gives NaN.
    """
    require_vectors("square_root", a)

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        (value,) = arguments
        vector = value.type
        bits = bits_of(vector)
        if bits * vector.count != 512:
            return call(builder, f"llvm.sqrt.v{vector.count}f{bits}", vector, value)
        half = constant(vector, 0.5)
        tiny = constant(vector, 2.3e-308 if bits == 64 else 1.2e-38)
        every = ir.Constant(ir.IntType(vector.count), -1)
        name = f"llvm.x86.avx512.rsqrt14.{'pd' if bits == 64 else 'ps'}.512"
        guess = call(
            builder, name, vector, larger(builder, value, tiny), constant(vector, 0.0), every
        )
        root = builder.fmul(value, guess)
        slope = builder.fmul(guess, half)
        for _ in range(bits // 32):  # each step doubles the good bits: 14, 28, 56
            error = fused(builder, builder.fneg(root), slope, half)
            root = fused(builder, root, error, root)
            slope = fused(builder, slope, error, slope)
        return root

    return a(a), codegen


def _half(first: int) -> Callable[..., Any]:
    """Return an intrinsic that widens the lower (0) or upper (1) half of a float32 vector."""

    @intrinsic
    def widen(typingctx: Any, vector: Any) -> Any:
        if not isinstance(vector, VectorType) or vector.dtype != types.float32:
            raise TypingError(f"only float32 vectors are widened, not {vector}.")
        half = VectorType(types.float64, vector.lanes // 2)

        def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            order = [first * half.lanes + lane for lane in range(half.lanes)]
            part = shuffle(builder, arguments[0], arguments[0], order)
            return builder.fpext(part, llvm_vector(half))

        return half(vector), codegen

    return widen


widen_low = _half(0)
widen_high = _half(1)


@intrinsic
def narrow(typingctx: Any, low: Any, high: Any) -> Any:
    """Return the float32 vector of two float64 vectors, rounded."""
    require_vectors("narrow", low, high)
    if low.dtype != types.float64:
        raise TypingError(f"only float64 vectors are narrowed, not {low}.")
    result = VectorType(types.float32, 2 * low.lanes)

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        both = shuffle(builder, arguments[0], arguments[1], list(range(result.lanes)))
        return builder.fptrunc(both, llvm_vector(result))

    return result(low, high), codegen


# Operators: a number beside a vector is converted to the vector's dtype and broadcast. They are
# typed and lowered directly, because Numba would compile a Python function for every @overload.


def _vector_of_operands(a: Any, b: Any) -> Any:
    vectors = [each for each in (a, b) if isinstance(each, VectorType)]
    others = [each for each in (a, b) if not isinstance(each, VectorType)]
    if not vectors or len(set(vectors)) != 1:
        return None
    return vectors[0] if all(isinstance(each, types.Number) for each in others) else None


def _as_vector(context: Any, builder: Any, vector: Any, value: Any, given: Any) -> Any:
    if given == vector:
        return value
    return splat(builder, context.cast(builder, value, given, vector.dtype), vector.lanes)


def _register(symbol: Callable[..., Any], result: Callable[[Any], Any], emit: Any) -> None:
    @type_callable(symbol)
    def _type(context: Any) -> Any:
        def typer(a: Any, b: Any) -> Any:
            vector = _vector_of_operands(a, b)
            return None if vector is None else result(vector)

        return typer

    def lower(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        vector = _vector_of_operands(*signature.args)
        pairs = zip(arguments, signature.args, strict=True)
        a, b = (_as_vector(context, builder, vector, value, given) for value, given in pairs)
        return emit(builder, a, b)

    for pair in (
        (VectorType, VectorType),
        (VectorType, types.Number),
        (types.Number, VectorType),
    ):
        lower_builtin(symbol, *pair)(lower)


for _symbol, _name in (
    (operator.add, "fadd"),
    (operator.sub, "fsub"),
    (operator.mul, "fmul"),
    (operator.truediv, "fdiv"),
):
    _register(
        _symbol,
        lambda vector: vector,
        lambda builder, a, b, name=_name: getattr(builder, name)(a, b, flags=FLAGS),
    )

for _symbol, _name in (
    (operator.lt, "<"),
    (operator.le, "<="),
    (operator.gt, ">"),
    (operator.ge, ">="),
    (operator.eq, "=="),
):
    _register(
        _symbol,
        lambda vector: MaskType(vector.lanes),
        lambda builder, a, b, name=_name: builder.fcmp_ordered(name, a, b),
    )

_register(
    operator.ne,
    lambda vector: MaskType(vector.lanes),
    lambda builder, a, b: builder.fcmp_unordered("!=", a, b),
)


@type_callable(operator.neg)
def _type_negative(context: Any) -> Any:
    def typer(a: Any) -> Any:
        return a if isinstance(a, VectorType) else None

    return typer


@lower_builtin(operator.neg, VectorType)
def _negative(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    return builder.fneg(arguments[0])


for _symbol, _name in ((operator.and_, "and_"), (operator.or_, "or_")):

    @type_callable(_symbol)
    def _type_logic(context: Any) -> Any:
        def typer(a: Any, b: Any) -> Any:
            return a if isinstance(a, MaskType) and a == b else None

        return typer

    @lower_builtin(_symbol, MaskType, MaskType)
    def _logic(
        context: Any, builder: Any, signature: Any, arguments: Any, name: str = _name
    ) -> Any:
        return getattr(builder, name)(*arguments)


@type_callable(operator.invert)
def _type_invert(context: Any) -> Any:
    def typer(a: Any) -> Any:
        return a if isinstance(a, MaskType) else None

    return typer


@lower_builtin(operator.invert, MaskType)
def _invert(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    return builder.not_(arguments[0])
