"""Memory that kernels work in: where it begins, how far apart rows are, what stands there first.

NumPy would do: ``empty``, ``zeros``, ``reshape``, an assignment to a slice, ``sum``. But Numba
compiles each of them, of every kernel and kind of number, for 0.05 to 0.5 s, and in a new process
the first fit waits for it; what is here takes a hundredth of a second.
"""

from functools import reduce
from typing import Any

from fastgmm._jit import TypingError, cgutils, intrinsic, maker, part, types
from fastgmm.simd import lanes_of

ALIGNMENT = 64
"""Bytes of a cache line: vectors that cross one cost two loads."""


@intrinsic
def aligned(typingctx: Any, size: Any, like: Any) -> Any:
    """Return a flat array of ``size`` numbers that begins with a cache line."""
    array = types.Array(like.dtype, 1, "C")

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        made = context.make_array(array)(context, builder)
        number = context.get_data_type(array.dtype)
        size, each = arguments[0], context.get_constant(types.intp, context.get_abi_sizeof(number))
        memory = context.nrt.meminfo_alloc_aligned(builder, builder.mul(size, each), ALIGNMENT)
        begin = context.nrt.meminfo_data(builder, memory)
        made.meminfo, made.data = memory, builder.bitcast(begin, number.as_pointer())
        made.parent = cgutils.get_null_value(made.parent.type)
        _shape(builder, made, size, each)
        return made._getvalue()

    return array(types.intp, like), codegen


@intrinsic
def flattened(typingctx: Any, array: Any) -> Any:
    """Return the numbers of an array, row after row, without copying them."""
    if array.layout != "C":
        raise TypingError(f"rows must follow each other in memory, but these are {array}.")
    flat = array.copy(ndim=1)

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        whole = context.make_array(array)(context, builder, arguments[0])
        made = context.make_array(flat)(context, builder)
        for field in ("meminfo", "data", "parent"):
            setattr(made, field, getattr(whole, field))
        _shape(builder, made, whole.nitems, whole.itemsize)
        value = made._getvalue()
        if context.enable_nrt:
            context.nrt.incref(builder, flat, value)
        return value

    return flat(array), codegen


@intrinsic
def section(typingctx: Any, array: Any, first: Any, count: Any) -> Any:
    """Return ``count`` entries of an array along its first axis, from ``first`` on, as a view."""
    if array.layout != "C":
        raise TypingError(f"entries must follow each other in memory, but these are {array}.")

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        whole = context.make_array(array)(context, builder, arguments[0])
        made = context.make_array(array)(context, builder)
        for field in ("meminfo", "parent", "itemsize", "strides"):
            setattr(made, field, getattr(whole, field))
        shape = [arguments[2], *cgutils.unpack_tuple(builder, whole.shape)[1:]]
        made.shape = cgutils.pack_array(builder, shape)
        made.nitems = reduce(builder.mul, shape)
        ahead = builder.mul(arguments[1], cgutils.unpack_tuple(builder, whole.strides)[0])
        made.data = cgutils.pointer_add(builder, whole.data, ahead, made.data.type)
        value = made._getvalue()
        if context.enable_nrt:
            context.nrt.incref(builder, array, value)
        return value

    return array(array, types.intp, types.intp), codegen


def _shape(builder: Any, array: Any, size: Any, itemsize: Any) -> None:
    """Say of how many numbers a flat array is, and of how many bytes each."""
    array.nitems, array.itemsize = size, itemsize
    array.shape = cgutils.pack_array(builder, [size])
    array.strides = cgutils.pack_array(builder, [itemsize])


@maker
def cleared(size: int, like: Any) -> Any:
    """Return ``aligned`` memory that is all zeros."""
    memory = aligned(size, like)
    fill(memory, 0, size, 0)
    return memory


@part
def stride_of(tile_rows: int, like: Any) -> int:
    """Return the numbers from one row of a tile-wide matrix to the next: no multiple of 4096 bytes.

    Five vectors more, or the columns of a matrix would fall into the same lines of the cache.
    """
    return tile_rows + 5 * lanes_of(like)


@part
def fill(array: Any, first: int, end: int, value: Any) -> None:
    """Write a number to a flat array, from ``first`` to ``end``."""
    for i in range(first, end):
        array[i] = value


@part
def sum_of(array: Any, first: int, end: int) -> float:
    """Return the sum of some numbers of a flat array."""
    result = 0.0
    for i in range(first, end):
        result += array[i]
    return result
