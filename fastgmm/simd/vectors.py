"""The vector and mask types: what a processor register is to Numba and to LLVM."""

from typing import Any

import numpy as np

from fastgmm._jit import (
    TypingError,
    cgutils,
    intrinsic,
    ir,
    models,
    register_bytes,
    register_model,
    types,
)

# Kernels allow LLVM to reorder sums (reassoc); operations on vectors are done as written, because
# exp's rounding trick would not survive it. Fusing a product with a sum is all that is allowed.
FLAGS = ("contract",)


class VectorType(types.Type):
    """A register of ``lanes`` floating-point numbers; LLVM's ``<lanes x double>`` or ``float``."""

    def __init__(self, dtype: Any, lanes: int) -> None:
        self.dtype = dtype
        self.lanes = lanes
        super().__init__(name=f"Vector({dtype}, {lanes})")


class MaskType(types.Type):
    """One truth value for each lane of a vector; LLVM's ``<lanes x i1>``."""

    def __init__(self, lanes: int) -> None:
        self.lanes = lanes
        super().__init__(name=f"Mask({lanes})")


@register_model(VectorType)
class _VectorModel(models.PrimitiveModel):
    def __init__(self, manager: Any, vector: VectorType) -> None:
        super().__init__(manager, vector, llvm_vector(vector))


@register_model(MaskType)
class _MaskModel(models.PrimitiveModel):
    def __init__(self, manager: Any, mask: MaskType) -> None:
        super().__init__(manager, mask, ir.VectorType(ir.IntType(1), mask.lanes))


def lanes(dtype: Any) -> int:
    """Return how many numbers of a dtype (a type, "float32", an array's dtype) a vector holds."""
    return register_bytes() // np.dtype(dtype).itemsize


def vector_of(dtype: Any) -> VectorType:
    """Return this machine's vector type for Numba's float32 or float64."""
    if dtype not in (types.float32, types.float64):
        raise TypingError(f"a vector holds float32 or float64 numbers, not {dtype}.")
    return VectorType(dtype, register_bytes() * 8 // dtype.bitwidth)


@intrinsic
def lanes_of(typingctx: Any, example: Any) -> Any:
    """Return ``lanes`` of an array's, a vector's or a number's dtype: a compile-time constant."""
    vector = vector_of(getattr(example, "dtype", example))
    constant = types.literal(vector.lanes)

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return ir.Constant(context.get_value_type(constant), vector.lanes)

    return constant(example), codegen


def require_vectors(operation: str, *arguments: Any) -> None:
    """Raise a typing error unless the arguments are vectors of one type."""
    if not all(isinstance(each, VectorType) for each in arguments) or len(set(arguments)) != 1:
        names = ", ".join(str(each) for each in arguments)
        raise TypingError(f"{operation} takes vectors of one type, not ({names}).")


# What follows writes LLVM's intermediate form; names as in LLVM's language reference.


def llvm_vector(vector: VectorType) -> Any:
    """Return LLVM's type of a vector."""
    element = ir.FloatType() if vector.dtype.bitwidth == 32 else ir.DoubleType()
    return ir.VectorType(element, vector.lanes)


def integers_like(vector: Any) -> Any:
    """Return LLVM's type of the integers that are as wide as a vector's numbers."""
    return ir.VectorType(ir.IntType(bits_of(vector)), vector.count)


def bits_of(vector: Any) -> int:
    """Return the width of the numbers in an LLVM type."""
    return 32 if isinstance(vector.element, ir.FloatType) else 64


def constant(llvm_type: Any, value: Any) -> Any:
    """Return a vector with the same constant in every lane."""
    return ir.Constant(llvm_type, [ir.Constant(llvm_type.element, value)] * llvm_type.count)


def splat(builder: Any, number: Any, count: int) -> Any:
    """Return a vector with the same number in every lane."""
    vector = ir.VectorType(number.type, count)
    first = builder.insert_element(
        ir.Constant(vector, ir.Undefined), number, ir.Constant(ir.IntType(32), 0)
    )
    return shuffle(builder, first, first, [0] * count)


def shuffle(builder: Any, a: Any, b: Any, order: list[int]) -> Any:
    """Return the lanes of ``a`` then ``b`` in a new order, which may be shorter."""
    indices = ir.Constant(ir.VectorType(ir.IntType(32), len(order)), order)
    return builder.shuffle_vector(a, b, indices)


def call(builder: Any, name: str, result: Any, *arguments: Any) -> Any:
    """Call one of LLVM's intrinsic functions."""
    function_type = ir.FunctionType(result, [argument.type for argument in arguments])
    function = cgutils.get_or_insert_function(builder.module, function_type, name)
    return builder.call(function, arguments)
