"""Register blocks: sums of outer products that stay in vector registers while they grow.

All heavy arithmetic of the E-step and of the M-step is one loop: for every t, some numbers of a
left operand times some vectors of a right operand are added to height x width accumulators. With
AVX-512 16 to 24 of the 32 registers are accumulators; every loaded vector serves ``height`` times
and every broadcast number ``width`` times, so that the two multiply-add units are the limit and
not the two load ports. Written as LLVM's intermediate form because no compiler keeps so many
accumulators in registers by itself.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

from fastgmm._jit import ir, part, register_bytes
from fastgmm.kernels.emission import (
    index,
    loop,
    number_at,
    vector_at,
)
from fastgmm.simd.arithmetic import fused
from fastgmm.simd.memory import load_at, store_at
from fastgmm.simd.shuffles import joined_totals
from fastgmm.simd.vectors import constant, splat

# Accumulators that fit into the registers: 32 of them with AVX-512, else 16. A block of products
# must not be higher than a vector has lanes: then only its last vector meets the diagonal.
WIDE = register_bytes() == 64
BLOCK_HEIGHT = 4
"""Components, or centres, of a block of densities or distances."""
CHUNK_VECTORS = 4 if WIDE else 2
"""Vectors of rows of a chunk, whose densities are made at a time."""
PRODUCT_HEIGHT = {64: 8, 32: 4, 16: 2}[register_bytes()]
PRODUCT_WIDTH = 3 if WIDE else 2

TURNS_TOGETHER = 2
"""Turns of a loop that are written out one after the other: what counts and finds addresses takes
places of the units for arithmetic (blocks 1.01 to 1.05 times as fast, passes 1.00 to 1.03). Four
are too many: addresses leave their registers."""


class Operand(NamedTuple):
    """Numbers in memory: where they begin and how far it is to the next."""

    pointer: Any
    start: Any
    step: Any
    """From one t to the next."""
    row: Any
    """From one row (or column) of the block to the next, where these are not side by side."""


def ways_of(n_sums: int) -> int:
    """Return how many turns of a loop over so many sums are added apart.

    A multiply-add takes four cycles and two can start in each: with fewer than eight sums the loop
    would wait for itself, so a small block takes every second, third ... turn apart.
    """
    return -(-8 // n_sums)


def joined_ways(builder: Any, sums: list[Any], n_sums: int) -> list[Any]:
    """Return the sums of all ways, which follow each other, ``n_sums`` of each."""
    total = sums[:n_sums]
    for first in range(n_sums, len(sums), n_sums):
        more = sums[first : first + n_sums]
        total = [builder.fadd(a, b) for a, b in zip(total, more, strict=True)]
    return total


def outer_products(
    builder: Any,
    left: Operand,
    right: Operand,
    count: Any,
    height: int,
    width: int,
    vector: Any,
    initial: list[Any] | None = None,
    meanwhile: Callable[[Any], None] = lambda turn: None,
    divisor: int = 1,
) -> list[list[Any]]:
    """Return height rows of width vectors: sum over t of left[t, row] * right[t, columns].

    The sums begin with an ``initial`` vector a row, or with zero. ``meanwhile`` emits what else is
    done in every turn. The count is a multiple of ``divisor``.
    """
    lanes = vector.count

    def body(turn: Any, sums: list[Any]) -> list[Any]:
        meanwhile(turn)
        at = builder.add(right.start, builder.mul(turn, right.step))
        columns = [
            vector_at(builder, right.pointer, builder.add(at, index(v * lanes)), vector)
            for v in range(width)
        ]
        at = builder.add(left.start, builder.mul(turn, left.step))
        new = []
        for r in range(height):
            place = builder.add(at, builder.mul(index(r), left.row))
            number = splat(builder, number_at(builder, left.pointer, place), lanes)
            new += [fused(builder, number, columns[v], sums[r * width + v]) for v in range(width)]
        return new

    n_sums = height * width
    ways = ways_of(n_sums)
    together = max(ways, TURNS_TOGETHER)

    def turns(turn: Any, sums: list[Any]) -> list[Any]:
        first = builder.mul(turn, index(together))
        new = list(sums)
        for number in range(together):
            own = slice(number % ways * n_sums, (number % ways + 1) * n_sums)
            new[own] = body(builder.add(first, index(number)), new[own])
        return new

    starts = [constant(vector, 0.0)] * (n_sums * ways)
    for r, start in enumerate(initial or []):
        starts[r * width : (r + 1) * width] = [start] * width
    n_turns = builder.sdiv(count, index(together))
    sums = loop(builder, n_turns, starts, turns)
    total = joined_ways(builder, sums, n_sums)
    if divisor % together:
        done = builder.mul(n_turns, index(together))
        rest = builder.sub(count, done)
        total = loop(builder, rest, total, lambda turn, sums: body(builder.add(done, turn), sums))
    return [total[r * width : (r + 1) * width] for r in range(height)]


@part
def height_of(n_components: int, most: int) -> int:
    """Return how many components a block has: the largest power of two that there are."""
    height = most
    while height > n_components:
        height //= 2
    return height


def by_height(builder: Any, n_components: Any, most: int, emit: Callable[[int], None]) -> None:
    """Emit ``emit(height)`` for each height that ``height_of`` may return, and run that one."""
    if most == 1:
        emit(1)
        return
    with builder.if_else(builder.icmp_signed(">=", n_components, index(most))) as (then, other):
        with then:
            emit(most)
        with other:
            by_height(builder, n_components, most // 2, emit)


def in_widths(builder: Any, count: Any, most: int, emit: Callable[[Any, int], None]) -> None:
    """Emit loops of ``emit(first, width)`` over ``count`` columns, ``most`` (1 to 3) at a time.

    4 = 2 + 2, not 3 + 1: narrow blocks wait for their loads.
    """
    left = builder.srem(count, index(most))
    full = builder.sdiv(count, index(most))
    if most > 2:
        has_one = builder.icmp_signed("==", left, index(1))
        more = builder.and_(has_one, builder.icmp_signed(">", count, index(most)))
        full = builder.sub(full, builder.zext(more, full.type))
    done = builder.mul(full, index(most))
    left = builder.sub(count, done)

    def block(width: int, begin: Any, turn: Any, nothing: list[Any]) -> list[Any]:
        emit(builder.add(begin, builder.mul(turn, index(width))), width)
        return []

    loop(builder, full, [], partial(block, most, index(0)))
    if most > 2:
        loop(builder, builder.sdiv(left, index(2)), [], partial(block, 2, done))
    if most > 1:  # one is left where there are no more, or where two columns are the widest
        loop(builder, builder.srem(left, index(2)), [], partial(block, 1, done))


@part
def slot_of(which: int, count: int, block: int) -> int:
    """Return where a block's item is kept when the last block, to be full, begins early."""
    whole = count // block * block
    return which if which < whole else whole + block - count + which


def add_totals(builder: Any, pointer: Any, at: Any, vectors: list[Any]) -> None:
    """Add the sums of some vectors' lanes to as many float64 numbers, from ``at`` on."""
    lanes = vectors[0].type.count
    for some in range(0, len(vectors), lanes):
        total = joined_totals(builder, vectors[some : some + lanes])
        if total.type.element != ir.DoubleType():
            total = builder.fpext(total, ir.VectorType(ir.DoubleType(), total.type.count))
        place = builder.gep(pointer, [builder.add(at, index(some))])
        store_at(builder, place, builder.fadd(load_at(builder, place, total.type), total))


def products_with(
    builder: Any,
    left: Operand,
    columns: Callable[[Any, Any], list[Any]],
    n_chunks: Any,
    vectors: int,
    height: int,
    width: int,
    vector: Any,
) -> list[list[Any]]:
    """Return height rows of width vectors: sum over t of left[t, row] * right[t, column].

    Both operands are vectors here, one for each t of each row and of each column, ``vectors`` of
    them side by side in a chunk; a step of the left one is from chunk to chunk, the right one is
    ``columns(chunk, numbers from its beginning)``. To add the lanes of a sum is left to the caller.
    """
    n_sums = height * width
    ways = min(vectors, ways_of(n_sums))

    def chunk(turn: Any, sums: list[Any]) -> list[Any]:
        new = list(sums)
        for v in range(vectors):
            apart = index(v * vector.count)
            right_vectors = columns(turn, apart)
            place = v % ways * n_sums
            for row in _vectors_of(builder, left, turn, apart, height, vector):
                for column in right_vectors:
                    new[place] = fused(builder, row, column, new[place])
                    place += 1
        return new

    sums = loop(builder, n_chunks, [constant(vector, 0.0)] * (n_sums * ways), chunk)
    total = joined_ways(builder, sums, n_sums)
    return [total[r * width : (r + 1) * width] for r in range(height)]


def _vectors_of(
    builder: Any, operand: Operand, turn: Any, apart: Any, number: int, vector: Any
) -> list[Any]:
    at = builder.add(operand.start, builder.mul(turn, operand.step))
    places = [builder.add(at, builder.mul(index(i), operand.row)) for i in range(number)]
    return [
        vector_at(builder, operand.pointer, builder.add(place, apart), vector) for place in places
    ]
