"""Register blocks of whole matrices: whitened squares, products with sums in memory.

Made of the sums of outer products of ``blocks.py``.
"""

from typing import Any

from fastgmm._jit import intrinsic, ir, types
from fastgmm.kernels.blocks import Operand, outer_products
from fastgmm.kernels.emission import (
    INDEX,
    data_of,
    fetch_ahead,
    index,
    literal,
    number_at,
    vector_at,
)
from fastgmm.simd.arithmetic import fused
from fastgmm.simd.memory import load_at, store_at
from fastgmm.simd.vectors import bits_of, call, constant, llvm_vector, shuffle, splat, vector_of


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
