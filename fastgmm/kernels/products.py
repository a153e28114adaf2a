"""Products of slopes, and of responsibilities, with features: the blocks of a linear E- and M-step.

How many rows and columns a block has is known at run time only: each of these functions holds the
few shapes that there are and branches to one, so that its caller is compiled once for all.
"""

from collections.abc import Callable
from typing import Any

from fastgmm._jit import intrinsic, types
from fastgmm.kernels.blocks import (
    PRODUCT_HEIGHT,
    PRODUCT_WIDTH,
    WHITENING_HEIGHT,
    WHITENING_WIDTH,
    Operand,
    data_of,
    dot_products,
    index,
    loop,
    number_at,
    outer_products,
    vector_at,
)
from fastgmm.simd.arithmetic import fused
from fastgmm.simd.memory import load_at, store_at
from fastgmm.simd.vectors import constant, llvm_vector, splat, vector_of

MOST_FEW = 5
"""Features whose vectors stay in registers while all components' densities are written."""


def heights(most: int) -> list[int]:
    """Return the powers of two up to ``most``: what ``height_of`` chooses from."""
    return [1 << bit for bit in range(most.bit_length())]


def chosen(builder: Any, value: Any, cases: dict[int, Callable[[], None]]) -> None:
    """Do what belongs to a run-time value; nothing if it is none of the cases."""
    after = builder.append_basic_block("after")
    branches = builder.switch(value, after)
    for number, emit in cases.items():
        block = builder.append_basic_block(f"case_{number}")
        branches.add_case(index(number), block)
        builder.position_at_end(block)
        emit()
        builder.branch(after)
    builder.position_at_end(after)


@intrinsic
def write_few(
    typingctx: Any,
    features: Any,
    at: Any,
    stride: Any,
    slopes: Any,
    n_features: Any,
    n_components: Any,
    constants: Any,
    joint: Any,
    to: Any,
) -> Any:
    """Write constants + slopes x features of all components for a chunk of rows.

    The features (m, stride), at most ``MOST_FEW``, begin at ``at``, ``slopes`` are flat (k, m); row
    t of component c goes to ``to + c stride + t``.
    """
    vector_type = vector_of(features.dtype)

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        vector = llvm_vector(vector_type)
        features_at, slopes_at, constants_at, joint_at = (
            data_of(context, signature.args[i], arguments[i], builder) for i in (0, 3, 6, 7)
        )
        first, step, m, n, place = (arguments[i] for i in (1, 2, 4, 5, 8))
        apart = [index(v * vector.count) for v in range(WHITENING_WIDTH)]

        def write(count: int) -> None:
            x = []
            for f in range(count):
                begin = builder.add(first, builder.mul(index(f), step))
                x.append([vector_at(builder, features_at, builder.add(begin, v), vector) for v in apart])

            def component(k: Any, carried: list[Any]) -> list[Any]:
                number = number_at(builder, constants_at, k)
                sums = [splat(builder, number, vector.count)] * WHITENING_WIDTH
                for f in range(count):
                    which = builder.add(builder.mul(k, index(count)), index(f))
                    slope = splat(builder, number_at(builder, slopes_at, which), vector.count)
                    sums = [fused(builder, slope, a, b) for a, b in zip(x[f], sums, strict=True)]
                row = builder.add(place, builder.mul(k, step))
                for v, value in zip(apart, sums, strict=True):
                    store_at(builder, builder.gep(joint_at, [builder.add(row, v)]), value)
                return []

            loop(builder, n, [], component)

        cases = range(1, MOST_FEW + 1)
        chosen(builder, m, {count: lambda count=count: write(count) for count in cases})
        return context.get_dummy_value()

    size = types.intp
    parameters = (slopes, size, size, constants, joint, size)
    return types.void(features, size, size, *parameters), codegen


@intrinsic
def write_linear(
    typingctx: Any,
    features: Any,
    at: Any,
    stride: Any,
    slopes: Any,
    n_features: Any,
    component: Any,
    height: Any,
    constants: Any,
    joint: Any,
    to: Any,
) -> Any:
    """Write constants + slopes x features of ``height`` components for a chunk of rows.

    The features (m, stride) begin at ``at``, ``slopes`` are flat (k, m); row t of the block's
    component c goes to ``to + c stride + t``.
    """
    vector_type = vector_of(features.dtype)

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        vector = llvm_vector(vector_type)
        features_at, slopes_at, constants_at, joint_at = (
            data_of(context, signature.args[i], arguments[i], builder) for i in (0, 3, 7, 8)
        )
        first, step, m, k, rows, place = (arguments[i] for i in (1, 2, 4, 5, 6, 9))

        def write(count: int) -> None:
            numbers = [number_at(builder, constants_at, builder.add(k, index(r))) for r in range(count)]
            sums = outer_products(
                builder,
                Operand(slopes_at, builder.mul(k, m), index(1), m),
                Operand(features_at, first, step, None),
                m,
                count,
                WHITENING_WIDTH,
                vector,
                [splat(builder, number, vector.count) for number in numbers],
            )
            for r in range(count):
                row = builder.add(place, builder.mul(index(r), step))
                for v in range(WHITENING_WIDTH):
                    address = builder.gep(joint_at, [builder.add(row, index(v * vector.count))])
                    store_at(builder, address, sums[r][v])

        cases = heights(WHITENING_HEIGHT)
        chosen(builder, rows, {count: lambda count=count: write(count) for count in cases})
        return context.get_dummy_value()

    size = types.intp
    parameters = (slopes, size, size, size, constants, joint, size)
    return types.void(features, size, size, *parameters), codegen


def _shapes(height: Any, width: Any, builder: Any, emit: Callable[[int, int], None]) -> None:
    """Branch to one of the shapes of a block of products."""
    cases = {
        rows * 4 + columns: lambda rows=rows, columns=columns: emit(rows, columns)
        for rows in heights(PRODUCT_HEIGHT)
        for columns in range(1, PRODUCT_WIDTH + 1)
    }
    chosen(builder, builder.add(builder.mul(height, index(4)), width), cases)


def add_at(builder: Any, pointer: Any, at: Any, value: Any) -> None:
    """Add a vector to the one in memory."""
    place = builder.gep(pointer, [at])
    store_at(builder, place, builder.fadd(load_at(builder, place, value.type), value))


@intrinsic
def add_dots(
    typingctx: Any,
    joint: Any,
    component: Any,
    n_components: Any,
    features: Any,
    feature: Any,
    n_features: Any,
    n_chunks: Any,
    height: Any,
    width: Any,
    sums: Any,
    slot: Any,
) -> Any:
    """Add the products of ``height`` components and ``width`` features, over a tile, lane by lane.

    ``joint`` has the chunks' (k, rows) matrices one behind the other, ``features`` their
    (n_features, rows) matrices, ``sums`` (slots, n_features) vectors: one more level, over the
    lanes, is left to the caller, for as many tiles as precision allows.
    """
    vector_type = vector_of(joint.dtype)

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        vector = llvm_vector(vector_type)
        chunk = index(WHITENING_WIDTH * vector.count)
        joint_at, features_at, sums_at = (
            data_of(context, signature.args[i], arguments[i], builder) for i in (0, 3, 9)
        )
        k, n, f, n_rows, chunks, rows, columns, slot = (
            arguments[i] for i in (1, 2, 4, 5, 6, 7, 8, 10)
        )

        def operand(pointer: Any, first: Any, count: Any) -> Operand:
            pitch = builder.add(builder.mul(count, chunk), index(vector.count))
            return Operand(pointer, builder.mul(first, chunk), pitch, chunk)

        def add(height: int, width: int) -> None:
            products = dot_products(
                builder,
                operand(joint_at, k, n),
                operand(features_at, f, n_rows),
                chunks,
                WHITENING_WIDTH,
                height,
                width,
                vector,
            )
            for r in range(height):
                at = builder.add(builder.mul(builder.add(slot, index(r)), n_rows), f)
                for c in range(width):
                    place = builder.mul(builder.add(at, index(c)), index(vector.count))
                    add_at(builder, sums_at, place, products[r][c])

        _shapes(rows, columns, builder, add)
        return context.get_dummy_value()

    size = types.intp
    parameters = (features, size, size, size, size, size, sums, size)
    return types.void(joint, size, size, *parameters), codegen


@intrinsic
def add_outer(
    typingctx: Any,
    joint: Any,
    component: Any,
    n_components: Any,
    rows: Any,
    row: Any,
    column: Any,
    n_chunks: Any,
    height: Any,
    width: Any,
    sums: Any,
    slot: Any,
) -> Any:
    """Add ``height`` components' responsibilities times ``width`` vectors of columns, over a tile.

    ``joint`` has the chunks' (k, rows) matrices one behind the other; ``rows`` are ``row`` numbers
    apart, one behind the other. ``sums`` is (slots, row).
    """
    vector_type = vector_of(joint.dtype)

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        vector = llvm_vector(vector_type)
        run = WHITENING_WIDTH * vector.count
        joint_at, rows_at, sums_at = (
            data_of(context, signature.args[i], arguments[i], builder) for i in (0, 3, 9)
        )
        k, n, step, j, chunks, rows, columns, slot = (
            arguments[i] for i in (1, 2, 4, 5, 6, 7, 8, 10)
        )
        pitch = builder.add(builder.mul(n, index(run)), index(vector.count))

        def add(height: int, width: int) -> None:
            # as in outer_products, but so that it divides the rows of a chunk
            ways = 1
            while ways * height * width < 8 and ways < run:
                ways *= 2

            def chunk(which: Any, sums: list[Any]) -> list[Any]:
                left = builder.add(builder.mul(which, pitch), builder.mul(k, index(run)))
                right = builder.add(builder.mul(which, builder.mul(index(run), step)), j)

                def turn(t: Any, sums: list[Any]) -> list[Any]:
                    new = []
                    for way in range(ways):
                        at_t = builder.add(builder.mul(t, index(ways)), index(way))
                        at = builder.add(right, builder.mul(at_t, step))
                        x = [
                            vector_at(builder, rows_at, builder.add(at, index(v * vector.count)), vector)
                            for v in range(width)
                        ]
                        for r in range(height):
                            place = builder.add(builder.add(left, index(r * run)), at_t)
                            share = splat(builder, number_at(builder, joint_at, place), vector.count)
                            old = sums[(way * height + r) * width :][:width]
                            new += [fused(builder, share, x[v], old[v]) for v in range(width)]
                    return new

                return loop(builder, index(run // ways), sums, turn)

            zeros = [constant(vector, 0.0)] * (ways * height * width)
            total = loop(builder, chunks, zeros, chunk)
            for r in range(height):
                at = builder.add(builder.mul(builder.add(slot, index(r)), step), j)
                for v in range(width):
                    value = total[r * width + v]
                    for way in range(1, ways):
                        value = builder.fadd(value, total[(way * height + r) * width + v])
                    add_at(builder, sums_at, builder.add(at, index(v * vector.count)), value)

        _shapes(rows, columns, builder, add)
        return context.get_dummy_value()

    size = types.intp
    parameters = (rows, size, size, size, size, size, sums, size)
    return types.void(joint, size, size, *parameters), codegen
