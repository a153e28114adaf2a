"""Products of slopes, and of responsibilities, with features: the blocks of a linear E- and M-step.

How many rows and columns a block has is known at run time only: each of these functions holds the
few shapes that there are and branches to one, so that its caller is compiled once for all.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from fastgmm._jit import intrinsic, ir, part, types
from fastgmm.kernels.blocks import (
    BLOCK_HEIGHT,
    CHUNK_VECTORS,
    PRODUCT_HEIGHT,
    PRODUCT_WIDTH,
    Operand,
    add_totals,
    height_of,
    in_widths,
    joined_ways,
    outer_products,
    ways_of,
)
from fastgmm.kernels.columns import pitch
from fastgmm.kernels.emission import (
    data_of,
    fetch_ahead,
    index,
    loop,
    number_at,
    vector_at,
)
from fastgmm.simd.arithmetic import fused
from fastgmm.simd.memory import load_at, store_at
from fastgmm.simd.shuffles import doubled, halved
from fastgmm.simd.vectors import constant, llvm_vector, splat, vector_of


def heights(most: int) -> list[int]:
    """Return the powers of two up to ``most``: what ``height_of`` chooses from."""
    return [1 << bit for bit in range(most.bit_length())]


LINEAR_HEIGHT = 6
"""Components of a block of densities, where there are more: 1.0 to 1.03 times as fast as four."""

PRODUCT_HEIGHTS = sorted({1, 2, PRODUCT_HEIGHT})


@part
def product_height(n_components: int) -> int:
    """Return how many components a block of products has: one of ``PRODUCT_HEIGHTS``."""
    height = height_of(n_components, PRODUCT_HEIGHT)
    return height if height == PRODUCT_HEIGHT else min(height, 2)


def chosen(builder: Any, value: Any, cases: Mapping[int, Callable[[], None]]) -> None:
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
def write_linear(
    typingctx: Any,
    features: Any,
    at: Any,
    stride: Any,
    slopes: Any,
    slopes_start: Any,
    n_features: Any,
    component: Any,
    height: Any,
    constants: Any,
    joint: Any,
    to: Any,
    ahead: Any,
    ahead_start: Any,
) -> Any:
    """Write constants + slopes x features of ``height`` components for a chunk of rows.

    The features (m, stride) begin at ``at``, the slopes (m, height) at ``slopes_start``; row t of
    the block's component c goes to ``to + c stride + t``. Meanwhile m vectors of ``ahead``, from
    ``ahead_start`` on, are fetched into the cache.
    """
    vector_type = vector_of(features.dtype)

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        vector = llvm_vector(vector_type)
        features_at, slopes_at, constants_at, joint_at, ahead_at = (
            data_of(context, signature.args[i], arguments[i], builder) for i in (0, 3, 8, 9, 11)
        )
        first, step, packed, m, k, rows, place, ahead = (
            arguments[i] for i in (1, 2, 4, 5, 6, 7, 10, 12)
        )

        def write(count: int) -> None:
            numbers = [
                number_at(builder, constants_at, builder.add(k, index(r))) for r in range(count)
            ]
            sums = outer_products(
                builder,
                Operand(slopes_at, packed, index(count), index(1)),
                Operand(features_at, first, step, None),
                m,
                count,
                CHUNK_VECTORS,
                vector,
                [splat(builder, number, vector.count) for number in numbers],
                lambda turn: fetch_ahead(
                    builder,
                    ahead_at,
                    builder.add(ahead, builder.mul(turn, index(vector.count))),
                ),
            )
            for r in range(count):
                row = builder.add(place, builder.mul(index(r), step))
                for v in range(CHUNK_VECTORS):
                    address = builder.gep(joint_at, [builder.add(row, index(v * vector.count))])
                    store_at(builder, address, sums[r][v])

        cases = [*heights(BLOCK_HEIGHT), LINEAR_HEIGHT]
        chosen(builder, rows, {count: partial(write, count) for count in cases})
        return context.get_dummy_value()

    size = types.intp
    parameters = (slopes, size, size, size, size, constants, joint, size, ahead, size)
    return types.void(features, size, size, *parameters), codegen


def _in_blocks(
    builder: Any,
    height: Any,
    count: Any,
    emit: Callable[[Any, int, int], None],
) -> None:
    """Call ``emit(first, height, width)`` for ``count`` columns in the widest blocks.

    The loops are here and not in the caller, so that a block begins while the one before is being
    stored.
    """

    def emit_all(rows: int) -> None:
        in_widths(builder, count, PRODUCT_WIDTH, lambda first, width: emit(first, rows, width))

    chosen(builder, height, {rows: partial(emit_all, rows) for rows in PRODUCT_HEIGHTS})


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
    n_features: Any,
    n_chunks: Any,
    height: Any,
    sums: Any,
    slot: Any,
) -> Any:
    """Add the products of ``height`` components and all features, over a tile, lane by lane.

    ``joint`` has the chunks' (k, rows) matrices one behind the other, ``features`` their
    (n_features, rows) matrices, ``sums`` (slots, n_features) vectors of half as many lanes: to add
    these is left to the caller, for as many tiles as precision allows. Whole vectors of sums crowd
    L1: spherical passes over 16 columns and 32 components of float32 took 1.06 times as long, tied
    ones over 8 and 16 of float64 1.04 times. With a quarter there are too many halves to be joined.
    """
    vector_type = vector_of(joint.dtype)

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        vector = llvm_vector(vector_type)
        run = CHUNK_VECTORS * vector.count
        joint_at, features_at, sums_at = (
            data_of(context, signature.args[i], arguments[i], builder) for i in (0, 3, 7)
        )
        k, n, n_rows, chunks, rows, slot = (arguments[i] for i in (1, 2, 4, 5, 6, 8))

        def operand(pointer: Any, first: Any, count: Any) -> Operand:
            first = builder.mul(first, index(run))
            return Operand(pointer, first, pitch(builder, count, run, vector), None)

        def add(f: Any, height: int, width: int) -> None:
            n_sums = height * width
            half = ir.VectorType(vector.element, vector.count // 2)
            places = []
            for r in range(height):
                at = builder.add(builder.mul(builder.add(slot, index(r)), n_rows), f)
                for c in range(width):
                    place = builder.mul(builder.add(at, index(c)), index(half.count))
                    places.append(builder.gep(sums_at, [place]))
            ways = min(CHUNK_VECTORS, ways_of(n_sums))

            def add_chunk(turn: Any, old: list[Any]) -> list[Any]:
                new = list(old)
                mine = builder.add(left.start, builder.mul(turn, left.step))
                theirs = builder.add(right.start, builder.mul(turn, right.step))
                for v in range(CHUNK_VECTORS):
                    x = []
                    for c in range(width):
                        apart = index((c * CHUNK_VECTORS + v) * vector.count)
                        at = builder.add(theirs, apart)
                        x.append(vector_at(builder, right.pointer, at, vector))
                    place = v % ways * n_sums
                    for r in range(height):
                        apart = index((r * CHUNK_VECTORS + v) * vector.count)
                        share = vector_at(builder, left.pointer, builder.add(mine, apart), vector)
                        for column in x:
                            new[place] = fused(builder, share, column, new[place])
                            place += 1
                return new

            left, right = operand(joint_at, k, n), operand(features_at, f, n_rows)
            sums = [doubled(builder, load_at(builder, place, half)) for place in places]
            sums += [constant(vector, 0.0)] * (n_sums * (ways - 1))
            sums = loop(builder, chunks, sums, add_chunk)
            for place, value in zip(places, joined_ways(builder, sums, n_sums), strict=True):
                store_at(builder, place, halved(builder, value))

        _in_blocks(builder, rows, n_rows, add)
        return context.get_dummy_value()

    size = types.intp
    parameters = (features, size, size, size, sums, size)
    return types.void(joint, size, size, *parameters), codegen


@intrinsic
def add_outer(
    typingctx: Any,
    joint: Any,
    component: Any,
    n_components: Any,
    rows: Any,
    start: Any,
    step: Any,
    size: Any,
    n_vectors: Any,
    centre: Any,
    n_chunks: Any,
    height: Any,
    sums: Any,
    row: Any,
    slot: Any,
) -> Any:
    """Add ``height`` components' responsibilities times vectors of columns, over a tile.

    ``joint`` has the chunks' (k, rows) matrices one behind the other; ``size`` rows, to be taken
    about the ``centre`` if there is one, begin at ``start``, ``step`` numbers apart. No others are
    read: where a row behind the last is wanted, whose responsibilities are zero, the last stands
    in. ``sums`` is (slots, row).
    """
    vector_type = vector_of(joint.dtype)
    centred = not isinstance(centre, types.NoneType)

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        vector = llvm_vector(vector_type)
        run = CHUNK_VECTORS * vector.count
        joint_at, rows_at, sums_at = (
            data_of(context, signature.args[i], arguments[i], builder) for i in (0, 3, 11)
        )
        centre_at = data_of(context, centre, arguments[8], builder) if centred else None
        k, n, start, step, size, n_vectors = (arguments[i] for i in (1, 2, 4, 5, 6, 7))
        chunks, rows, row, slot = (arguments[i] for i in (9, 10, 12, 13))
        apart, last = pitch(builder, n, run, vector), builder.sub(size, index(1))

        def least(a: Any, b: Any) -> Any:
            return builder.select(builder.icmp_signed("<", a, b), a, b)

        def of_row(t: Any, columns: list[Any]) -> list[Any]:
            at = builder.add(start, builder.mul(t, step))
            x = [vector_at(builder, rows_at, builder.add(at, j), vector) for j in columns]
            if centre_at is None:
                return x
            about = [vector_at(builder, centre_at, j, vector) for j in columns]
            return [builder.fsub(a, b) for a, b in zip(x, about, strict=True)]

        def add(first: Any, height: int, width: int) -> None:
            vectors = [builder.add(first, index(v)) for v in range(width)]
            columns = [builder.mul(v, index(vector.count)) for v in vectors]
            # ways_of, but so that it divides the rows of a chunk
            ways = 1
            while ways * height * width < 8 and ways < run:
                ways *= 2

            def chunk(which: Any, sums: list[Any]) -> list[Any]:
                left = builder.add(builder.mul(which, apart), builder.mul(k, index(run)))
                begin = builder.mul(which, index(run))
                n_rows = least(builder.sub(size, begin), index(run))
                turns = builder.sdiv(builder.add(n_rows, index(ways - 1)), index(ways))

                def turn(t: Any, sums: list[Any]) -> list[Any]:
                    new = []
                    for way in range(ways):
                        at_t = builder.add(builder.mul(t, index(ways)), index(way))
                        of_tile = builder.add(begin, at_t)
                        x = of_row(of_tile if ways == 1 else least(of_tile, last), columns)
                        for r in range(height):
                            place = builder.add(builder.add(left, index(r * run)), at_t)
                            share = splat(
                                builder, number_at(builder, joint_at, place), vector.count
                            )
                            old = sums[(way * height + r) * width :][:width]
                            new += [fused(builder, share, x[v], old[v]) for v in range(width)]
                    return new

                return loop(builder, turns, sums, turn)

            zeros = [constant(vector, 0.0)] * (ways * height * width)
            sums = loop(builder, chunks, zeros, chunk)
            total = joined_ways(builder, sums, height * width)
            for r in range(height):
                at = builder.mul(builder.add(slot, index(r)), row)
                for v, column in enumerate(columns):
                    place = builder.add(at, column)
                    add_at(builder, sums_at, place, total[r * width + v])

        _in_blocks(builder, rows, n_vectors, add)
        return context.get_dummy_value()

    size = types.intp
    parameters = (rows, size, size, size, size, centre, size, size, sums, size, size)
    return types.void(joint, size, size, *parameters), codegen


@intrinsic
def add_lanes(typingctx: Any, sums: Any, n_sums: Any, totals: Any) -> Any:
    """Add the lanes of ``n_sums`` sums to as many float64 ``totals``, and make them zero.

    Sums are half a vector each. Both arrays have room for a multiple of a vector's lanes of them.
    """
    vector_type = vector_of(sums.dtype)

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        vector = llvm_vector(vector_type)
        width = vector.count // 2
        half = ir.VectorType(vector.element, width)
        sums_at, totals_at = (
            data_of(context, signature.args[i], arguments[i], builder) for i in (0, 2)
        )

        def add_some(turn: Any, carried: list[Any]) -> list[Any]:
            first = builder.mul(turn, index(width))
            at = builder.mul(first, index(width))
            places = [builder.add(at, index(lane * width)) for lane in range(width)]
            found = [vector_at(builder, sums_at, place, half) for place in places]
            add_totals(builder, totals_at, first, found)
            for place in places:
                store_at(builder, builder.gep(sums_at, [place]), constant(half, 0.0))
            return []

        groups = builder.sdiv(builder.add(arguments[1], index(width - 1)), index(width))
        loop(builder, groups, [], add_some)
        return context.get_dummy_value()

    return types.void(sums, types.intp, totals), codegen
