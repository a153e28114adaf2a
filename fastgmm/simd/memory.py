"""Between arrays and registers: whole vectors, the first lanes of one, one number for all lanes."""

from typing import Any

from fastgmm._jit import TypingError, intrinsic, ir, types
from fastgmm.simd.vectors import (
    MaskType,
    VectorType,
    bits_of,
    call,
    constant,
    integers_like,
    llvm_vector,
    splat,
    vector_of,
)


def _require_contiguous(operation: str, array: Any) -> None:
    if not isinstance(array, types.Array) or array.layout != "C":
        raise TypingError(f"{operation} takes a C-contiguous array, not {array}.")


def _require_store(array: Any, vector: Any) -> None:
    _require_contiguous("store", array)
    if not array.mutable:
        raise TypingError(f"store takes an array that may be written, not {array}.")
    if not isinstance(vector, VectorType) or vector.dtype != array.dtype:
        raise TypingError(f"store takes a vector of the array's numbers, not {vector}.")


def address(context: Any, builder: Any, array_type: Any, array: Any, index: Any) -> Any:
    """Return the pointer to an array's element, counted from its first one."""
    position = context.data_model_manager[array_type].get_field_position("data")
    return builder.gep(builder.extract_value(array, position), [index], inbounds=True)


def load_at(builder: Any, pointer: Any, vector: Any) -> Any:
    """Load a vector from any address that is a multiple of its numbers' size."""
    return builder.load(builder.bitcast(pointer, vector.as_pointer()), align=bits_of(vector) // 8)


def store_at(builder: Any, pointer: Any, value: Any) -> None:
    """Store a vector at any address that is a multiple of its numbers' size."""
    pointer = builder.bitcast(pointer, value.type.as_pointer())
    builder.store(value, pointer, align=bits_of(value.type) // 8)


@intrinsic
def load(typingctx: Any, array: Any, index: Any) -> Any:
    """Return the vector that starts at a flat index of a C-contiguous array; unchecked."""
    _require_contiguous("load", array)
    vector = vector_of(array.dtype)

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        pointer = address(context, builder, array, *arguments)
        return load_at(builder, pointer, llvm_vector(vector))

    return vector(array, types.intp), codegen


@intrinsic
def store(typingctx: Any, array: Any, index: Any, vector: Any) -> Any:
    """Write a vector to an array, from a flat index on; unchecked."""
    _require_store(array, vector)

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        pointer = address(context, builder, array, *arguments[:2])
        store_at(builder, pointer, arguments[2])
        return context.get_dummy_value()

    return types.void(array, types.intp, vector), codegen


def _first(builder: Any, vector: Any, count: Any) -> Any:
    """Return the mask of a vector's first lanes."""
    integers = integers_like(vector)
    if count.type.width > integers.element.width:
        count = builder.trunc(count, integers.element)
    numbers = ir.Constant(integers, list(range(vector.count)))
    return builder.icmp_signed("<", numbers, splat(builder, count, vector.count))


@intrinsic
def first_lanes(typingctx: Any, example: Any, count: Any) -> Any:
    """Return the mask of the first ``count`` lanes of vectors like ``example``.

    The example is a vector, an array or a number of the dtype; any count is good: below zero no
    lane is on, above the number of lanes every lane is.
    """
    vector = example if isinstance(example, VectorType) else None
    vector = vector or vector_of(getattr(example, "dtype", example))

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return _first(builder, llvm_vector(vector), arguments[1])

    return MaskType(vector.lanes)(example, types.intp), codegen


def _masked(vector: Any) -> str:
    return f"v{vector.count}f{bits_of(vector)}.p0"


def load_part_at(builder: Any, pointer: Any, vector: Any, count: Any) -> Any:
    """Load a vector's first ``count`` lanes; the others are zero."""
    pointer = builder.bitcast(pointer, vector.as_pointer())
    align = ir.Constant(ir.IntType(32), bits_of(vector) // 8)
    mask = _first(builder, vector, count)
    name = f"llvm.masked.load.{_masked(vector)}"
    return call(builder, name, vector, pointer, align, mask, constant(vector, 0.0))


@intrinsic
def load_part(typingctx: Any, array: Any, index: Any, count: Any) -> Any:
    """Return a vector whose first ``count`` lanes are loaded and whose others are zero."""
    _require_contiguous("load_part", array)
    result = vector_of(array.dtype)

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        vector = llvm_vector(result)
        pointer = address(context, builder, array, *arguments[:2])
        return load_part_at(builder, pointer, vector, arguments[2])

    return result(array, types.intp, types.intp), codegen


@intrinsic
def store_part(typingctx: Any, array: Any, index: Any, vector: Any, count: Any) -> Any:
    """Write a vector's first ``count`` lanes; what lies behind them in memory stays as it is."""
    _require_store(array, vector)

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        value = arguments[2]
        pointer = address(context, builder, array, *arguments[:2])
        pointer = builder.bitcast(pointer, value.type.as_pointer())
        align = ir.Constant(ir.IntType(32), bits_of(value.type) // 8)
        mask = _first(builder, value.type, arguments[3])
        name = f"llvm.masked.store.{_masked(value.type)}"
        call(builder, name, ir.VoidType(), value, pointer, align, mask)
        return context.get_dummy_value()

    return types.void(array, types.intp, vector, types.intp), codegen


@intrinsic
def broadcast(typingctx: Any, number: Any) -> Any:
    """Return a vector with a float32 or float64 number in every lane."""
    vector = vector_of(types.unliteral(number))

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return splat(builder, arguments[0], vector.lanes)

    return vector(vector.dtype), codegen


@intrinsic
def load_broadcast(typingctx: Any, array: Any, index: Any) -> Any:
    """Return a vector with one element of an array in every lane.

    Used once, it costs no instruction on AVX-512: it becomes part of the arithmetic.
    """
    _require_contiguous("load_broadcast", array)
    vector = vector_of(array.dtype)

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        number = builder.load(address(context, builder, array, *arguments))
        return splat(builder, number, vector.lanes)

    return vector(array, types.intp), codegen
