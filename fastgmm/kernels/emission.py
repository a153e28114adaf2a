"""Emitting LLVM's intermediate form: indices, numbers of memory, loops with carried values.

What vectors do is in ``fastgmm.simd``; what register blocks are made of, in ``blocks.py``.
"""

from collections.abc import Callable
from typing import Any

from fastgmm._jit import TypingError, ir, types
from fastgmm.simd.memory import load_at
from fastgmm.simd.vectors import call

INDEX = ir.IntType(64)


def index(value: int) -> Any:
    """Return a constant index."""
    return ir.Constant(INDEX, value)


def data_of(context: Any, array_type: Any, array: Any, builder: Any) -> Any:
    """Return the pointer to an array's first number."""
    position = context.data_model_manager[array_type].get_field_position("data")
    return builder.extract_value(array, position)


def number_at(builder: Any, pointer: Any, at: Any) -> Any:
    """Load one number."""
    return builder.load(builder.gep(pointer, [at], inbounds=True))


def vector_at(builder: Any, pointer: Any, at: Any, vector: Any) -> Any:
    """Load one vector."""
    return load_at(builder, builder.gep(pointer, [at], inbounds=True), vector)


def fetch_ahead(builder: Any, pointer: Any, at: Any) -> None:
    """Ask for the cache line of a number that will be read soon; any address is good."""
    place = builder.gep(pointer, [at])
    hint = ir.IntType(32)
    for_reading, keep_near, data = hint(0), hint(3), hint(1)
    name = "llvm.prefetch.p0"
    call(builder, name, ir.VoidType(), place, for_reading, keep_near, data)


def loop(
    builder: Any, count: Any, initial: list[Any], body: Callable[[Any, list[Any]], list[Any]]
) -> list[Any]:
    """Carry values through ``count`` turns of a loop: values = body(turn, values)."""
    before = builder.block
    turning = builder.append_basic_block("turning")
    after = builder.append_basic_block("after")
    builder.cbranch(builder.icmp_signed(">", count, index(0)), turning, after)
    builder.position_at_end(turning)
    turn = builder.phi(INDEX)
    carried = [builder.phi(value.type) for value in initial]
    result = body(turn, list(carried))
    following = builder.add(turn, index(1))
    last = builder.block
    for phi, start, end in zip(
        [turn, *carried], [index(0), *initial], [following, *result], strict=True
    ):
        phi.add_incoming(start, before)
        phi.add_incoming(end, last)
    builder.cbranch(builder.icmp_signed("<", following, count), turning, after)
    builder.position_at_end(after)
    outcome = []
    for start, end in zip(initial, result, strict=True):
        phi = builder.phi(start.type)
        phi.add_incoming(start, before)
        phi.add_incoming(end, last)
        outcome.append(phi)
    return outcome


def either(
    builder: Any, condition: Any, make: Callable[[], Any], make_other: Callable[[], Any]
) -> Any:
    """Return the one value if a condition holds, else the other one; only that one is computed."""
    with builder.if_else(condition) as (then, otherwise):
        with then:
            value, made = make(), builder.block
        with otherwise:
            other, other_made = make_other(), builder.block
    phi = builder.phi(value.type)
    phi.add_incoming(value, made)
    phi.add_incoming(other, other_made)
    return phi


def literal(value: Any) -> int:
    """Return a compile-time constant, or raise a typing error."""
    if not isinstance(value, types.IntegerLiteral | types.BooleanLiteral):
        raise TypingError(f"the size of a register block must be a constant, not {value}.")
    return int(value.literal_value)
