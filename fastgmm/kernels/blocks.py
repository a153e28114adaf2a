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

from fastgmm._jit import intrinsic, ir, part, register_bytes, types
from fastgmm.kernels.emission import (
    INDEX,
    data_of,
    fetch_ahead,
    index,
    literal,
    loop,
    number_at,
    vector_at,
)
from fastgmm.simd.arithmetic import fused
from fastgmm.simd.memory import load_at, store_at
from fastgmm.simd.shuffles import joined_totals
from fastgmm.simd.vectors import bits_of, call, constant, llvm_vector, shuffle, splat, vector_of

# Accumulators that fit into the registers: 32 of them with AVX-512, else 16. A block of products
# must not be higher than a vector has lanes: then only its last vector meets the diagonal.
WIDE = register_bytes() == 64
BLOCK_HEIGHT = 4
"""Components, or centres, of a block of densities or distances."""
WHITENING_WIDTH = 4 if WIDE else 2
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


@intrinsic(prefer_literal=True)
def add_whitened_squares(
    typingctx: Any,
    factors: Any,
    factor_start: Any,
    z: Any,
    z_start: Any,
    z_step: Any,
    first_row: Any,
    height: Any,
    width: Any,
    biases: Any,
    bias_start: Any,
    out: Any,
    out_start: Any,
) -> Any:
    """Add |W z + bias|^2 of ``height`` rows of a triangle W to ``width`` vectors of ``out``.

    ``factors`` holds, for these rows, the columns 0 ... first_row + height - 1 one after the other,
    ``height`` numbers each, zeros above the diagonal (they are not read as operands).
    """
    vector_type = vector_of(z.dtype)
    rows, vectors = literal(height), literal(width)

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        vector = llvm_vector(vector_type)
        lanes = vector.count
        pointers = [
            data_of(context, signature.args[i], arguments[i], builder) for i in (0, 2, 10, 8)
        ]
        factor_at, z_at, step, begin, bias_at, out_at = (arguments[i] for i in (1, 3, 4, 5, 9, 11))
        initial = []
        for r in range(rows):
            number = number_at(builder, pointers[3], builder.add(bias_at, index(r)))
            initial.append(splat(builder, number, lanes))
        left = Operand(pointers[0], factor_at, index(rows), index(1))
        right = Operand(pointers[1], z_at, step, None)
        # before a band there are whole ones
        y = outer_products(
            builder, left, right, begin, rows, vectors, vector, initial, divisor=rows
        )
        for j in range(rows):
            turn = builder.add(begin, index(j))
            at = builder.add(z_at, builder.mul(turn, step))
            columns = [
                vector_at(builder, pointers[1], builder.add(at, index(v * lanes)), vector)
                for v in range(vectors)
            ]
            at = builder.add(factor_at, builder.mul(turn, index(rows)))
            for r in range(j, rows):
                number = number_at(builder, pointers[0], builder.add(at, index(r)))
                for v in range(vectors):
                    y[r][v] = fused(builder, splat(builder, number, lanes), columns[v], y[r][v])
        for v in range(vectors):
            place = builder.gep(pointers[2], [builder.add(out_at, index(v * lanes))])
            squares = load_at(builder, place, vector)
            for r in range(rows):
                squares = fused(builder, y[r][v], y[r][v], squares)
            store_at(builder, place, squares)
        return context.get_dummy_value()

    size = types.intp
    return (
        types.void(factors, size, z, size, size, size, height, width, biases, size, out, size),
        codegen,
    )


def _add_to_memory(builder: Any, pointer: Any, at: Any, value: Any, count: Any) -> None:
    """Add the first ``count`` lanes of a vector (all, if None) to float64 numbers in memory."""
    vector = value.type
    if bits_of(vector) == 32:
        half = vector.count // 2
        wide = ir.VectorType(ir.DoubleType(), half)
        for part in range(2):
            lanes = shuffle(builder, value, value, list(range(part * half, (part + 1) * half)))
            rest = None if count is None else builder.sub(count, index(part * half))
            place = builder.add(at, index(part * half))
            _add_to_memory(builder, pointer, place, builder.fpext(lanes, wide), rest)
        return
    place = builder.gep(pointer, [at])
    if count is None:
        store_at(builder, place, builder.fadd(load_at(builder, place, vector), value))
        return
    numbers = ir.Constant(ir.VectorType(INDEX, vector.count), list(range(vector.count)))
    mask = builder.icmp_signed("<", numbers, splat(builder, count, vector.count))
    align = ir.Constant(ir.IntType(32), 8)
    place = builder.bitcast(place, vector.as_pointer())
    name = f"v{vector.count}f64.p0"
    zeros = constant(vector, 0.0)
    old = call(builder, f"llvm.masked.load.{name}", vector, place, align, mask, zeros)
    new = builder.fadd(old, value)
    call(builder, f"llvm.masked.store.{name}", ir.VoidType(), new, place, align, mask)


@intrinsic(prefer_literal=True)
def add_square_products(
    typingctx: Any,
    x: Any,
    stride: Any,
    count: Any,
    first_row: Any,
    first_column: Any,
    columns: Any,
    height: Any,
    width: Any,
    out: Any,
    out_start: Any,
    out_row: Any,
) -> Any:
    """Add x^T x, over ``count`` rows of x, to a block of a matrix of float64.

    ``x`` is a flat (count, stride) array. The block has ``height`` rows from ``first_row`` and
    ``width`` vectors of columns from ``first_column``, of which the first ``columns`` (in whole
    halves of a vector) are written: its rows begin at ``out_start``, ``out_row`` numbers apart.
    """
    vector_type = vector_of(x.dtype)
    rows, vectors = literal(height), literal(width)

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        vector = llvm_vector(vector_type)
        x_at = data_of(context, signature.args[0], arguments[0], builder)
        out_at = data_of(context, signature.args[8], arguments[8], builder)
        step, n, i0, j0, inside = arguments[1:6]
        sums = outer_products(
            builder,
            Operand(x_at, i0, step, index(1)),
            Operand(x_at, j0, step, None),
            n,
            rows,
            vectors,
            vector,
        )
        # float64 vectors never reach behind the matrix's rows, which are whole vectors of eight
        masked = bits_of(vector) == 32 or vector.count != 8
        for r in range(rows):
            at = builder.add(arguments[9], builder.mul(index(r), arguments[10]))
            for v in range(vectors):
                rest = builder.sub(inside, index(v * vector.count))
                place = builder.add(at, index(v * vector.count))
                last = masked and v == vectors - 1
                _add_to_memory(builder, out_at, place, sums[r][v], rest if last else None)
        return context.get_dummy_value()

    size = types.intp
    return (
        types.void(x, size, size, size, size, size, height, width, out, size, size),
        codegen,
    )


@intrinsic(prefer_literal=True)
def add_products(
    typingctx: Any,
    left: Any,
    left_row: Any,
    right: Any,
    right_start: Any,
    right_step: Any,
    count: Any,
    height: Any,
    width: Any,
    out: Any,
    out_start: Any,
    out_row: Any,
) -> Any:
    """Add sum over t of left[row, t] right[t, column] to a block of a matrix of float64.

    ``left`` has its t side by side and its rows ``left_row`` apart, ``right`` its columns side by
    side. The block has ``height`` rows and ``width`` whole vectors of columns. The count is a
    multiple of a vector's lanes.
    """
    vector_type = vector_of(right.dtype)
    rows, vectors, apart_left = literal(height), literal(width), literal(left_row)

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        vector = llvm_vector(vector_type)
        left_at, right_at, out_at = (
            data_of(context, signature.args[i], arguments[i], builder) for i in (0, 2, 8)
        )
        start, step, n, first, apart = (arguments[i] for i in (3, 4, 5, 9, 10))
        places = [
            [
                builder.add(
                    builder.add(first, builder.mul(index(r), apart)), index(v * vector.count)
                )
                for v in range(vectors)
            ]
            for r in range(rows)
        ]
        # the sums of large models come from far away: they are on their way while products are made
        for row in places:
            for place in row:
                fetch_ahead(builder, out_at, place)
        sums = outer_products(
            builder,
            Operand(left_at, index(0), index(1), index(apart_left)),
            Operand(right_at, start, step, None),
            n,
            rows,
            vectors,
            vector,
            divisor=vector.count,
        )
        for r in range(rows):
            for v in range(vectors):
                _add_to_memory(builder, out_at, places[r][v], sums[r][v], None)
        return context.get_dummy_value()

    size = types.intp
    return (
        types.void(left, left_row, right, size, size, size, height, width, out, size, size),
        codegen,
    )
