"""The nearest of some centres: register blocks of distances, with the running minimum beside them.

Four centres at a time meet a chunk of rows, whose columns lie side by side; a centre's number is
broadcast to all of them. Two forms: the *difference* form adds up (x - c)^2, two instructions a
number and no digits lost; the *product* form adds up |c|^2 / 2 - x c in one, about the mean of all
rows, and its rounding can only matter where the best two scores are close: those rows are told
apart by differences again (``is_close``).
"""

from typing import Any

from fastgmm._jit import intrinsic, ir, types
from fastgmm.kernels.blocks import (
    WHITENING_HEIGHT,
    WHITENING_WIDTH,
    data_of,
    index,
    literal,
    loop,
    number_at,
    vector_at,
)
from fastgmm.simd.arithmetic import fused, larger, smaller
from fastgmm.simd.memory import load_at, load_part_at, store_at
from fastgmm.simd.shuffles import folded
from fastgmm.simd.vectors import bits_of, constant, llvm_vector, shuffle, splat, vector_of

CENTRES = WHITENING_HEIGHT
"""Centres of a block: what is searched is padded to a multiple of it."""

CANDIDATES = 2
"""Candidates of a block of the seeding."""


def widened(vector: Any) -> Any:
    """Return LLVM's type of the float64 numbers that fill a register."""
    return ir.VectorType(ir.DoubleType(), vector.count * bits_of(vector) // 64)


def halves_of(builder: Any, value: Any) -> list[Any]:
    """Return a vector as vectors of float64: itself, or two."""
    double = widened(value.type)
    if double == value.type:
        return [value]
    halves = [list(range(at, at + double.count)) for at in (0, double.count)]
    return [builder.fpext(shuffle(builder, value, value, half), double) for half in halves]


def _distance_block(
    builder: Any,
    columns: Any,
    stride: Any,
    d: Any,
    centres: Any,
    first: Any,
    starts: list[Any],
    differences: bool,
    vector: Any,
) -> list[Any]:
    """Add x c or (x - c)^2 over the features to ``starts``, WHITENING_WIDTH vectors a centre.

    ``first`` is where the block's first centre begins; the others follow, d numbers each.
    """
    lanes = vector.count
    height = len(starts) // WHITENING_WIDTH

    def body(j: Any, sums: list[Any]) -> list[Any]:
        at = builder.mul(j, stride)
        x = [
            vector_at(builder, columns, builder.add(at, index(v * lanes)), vector)
            for v in range(WHITENING_WIDTH)
        ]
        new = []
        for r in range(height):
            place = builder.add(builder.add(first, j), builder.mul(index(r), d))
            centre = splat(builder, number_at(builder, centres, place), lanes)
            for v in range(WHITENING_WIDTH):
                old = sums[r * WHITENING_WIDTH + v]
                if differences:
                    away = builder.fsub(x[v], centre)
                    new.append(fused(builder, away, away, old))
                else:
                    new.append(fused(builder, builder.fneg(centre), x[v], old))
        return new

    return loop(builder, d, starts, body)


@intrinsic(prefer_literal=True)
def find_nearest(
    typingctx: Any,
    columns: Any,
    stride: Any,
    d: Any,
    centres: Any,
    halves: Any,
    n_blocks: Any,
    differences: Any,
    nearest: Any,
    second: Any,
    which: Any,
) -> Any:
    """Write the lowest score of each row of a chunk, the second lowest and whose the lowest is.

    ``centres`` is flat (k, d), ``n_blocks`` blocks of CENTRES of them; a score is what ``halves``
    (k,) has, plus the squared distance or minus x c. Of equal scores the first wins; where no score
    is a number, centre 0 does. The second lowest is found in the product form only.
    """
    vector_type = vector_of(columns.dtype)
    direct = bool(literal(differences))

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        vector = llvm_vector(vector_type)
        lanes = vector.count
        columns_at, centres_at, halves_at, nearest_at, second_at, which_at = (
            data_of(context, signature.args[i], arguments[i], builder) for i in (0, 3, 4, 7, 8, 9)
        )
        step, n_columns, blocks = (arguments[i] for i in (1, 2, 5))
        block_numbers = builder.mul(n_columns, index(CENTRES))

        def block(turn: Any, found: list[Any]) -> list[Any]:
            best = found[:WHITENING_WIDTH]
            label = found[WHITENING_WIDTH : 2 * WHITENING_WIDTH]
            other = found[2 * WHITENING_WIDTH :]
            k = builder.mul(turn, index(CENTRES))
            starts = []
            for r in range(CENTRES):
                half = number_at(builder, halves_at, builder.add(k, index(r)))
                starts += [splat(builder, half, lanes)] * WHITENING_WIDTH
            scores = _distance_block(
                builder,
                columns_at,
                step,
                n_columns,
                centres_at,
                builder.mul(turn, block_numbers),
                starts,
                direct,
                vector,
            )
            for r in range(CENTRES):
                name = builder.sitofp(builder.add(k, index(r)), vector.element)
                mine = splat(builder, name, lanes)
                for v in range(WHITENING_WIDTH):
                    score = scores[r * WHITENING_WIDTH + v]
                    closer = builder.fcmp_ordered("<", score, best[v])
                    if not direct:
                        other[v] = smaller(builder, larger(builder, score, best[v]), other[v])
                    label[v] = builder.select(closer, mine, label[v])
                    best[v] = builder.select(closer, score, best[v])
            return [*best, *label, *other]

        endless = [constant(vector, float("inf"))] * WHITENING_WIDTH
        start = [*endless, *[constant(vector, 0.0)] * WHITENING_WIDTH]
        if not direct:
            start += endless
        found = loop(builder, blocks, start, block)
        targets = [nearest_at, which_at, second_at][: len(found) // WHITENING_WIDTH]
        for pointer, at in zip(targets, range(0, len(found), WHITENING_WIDTH), strict=True):
            for v in range(WHITENING_WIDTH):
                place = builder.gep(pointer, [index(v * lanes)])
                store_at(builder, place, found[at + v])
        return context.get_dummy_value()

    size = types.intp
    arrays = (nearest, second, which)
    return (
        types.void(columns, size, size, centres, halves, size, differences, *arrays),
        codegen,
    )


@intrinsic
def is_close(
    typingctx: Any,
    columns: Any,
    stride: Any,
    d: Any,
    margin: Any,
    nearest: Any,
    second: Any,
) -> Any:
    """Return a bit for each row of a chunk: whether rounding may have chosen the wrong centre.

    A score |c|^2 / 2 - x c has an error of (d + 2) eps (|x| |c| + |c|^2 / 2) at most. A centre with
    |c| > R = |x| + sqrt(|x|^2 + 2 s) has a score above s, however it is rounded; with s the second
    lowest score all others err by less than (d + 2) eps 3/2 R^2, and R^2 <= 4 (|x|^2 + s). So the
    order of two scores is certain if they are ``margin`` = 12 (d + 2) eps times |x|^2 + s apart.
    """
    vector_type = vector_of(columns.dtype)

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        vector = llvm_vector(vector_type)
        lanes = vector.count
        columns_at, nearest_at, second_at = (
            data_of(context, signature.args[i], arguments[i], builder) for i in (0, 4, 5)
        )

        def body(j: Any, sums: list[Any]) -> list[Any]:
            at = builder.mul(j, arguments[1])
            new = []
            for v in range(WHITENING_WIDTH):
                x = vector_at(builder, columns_at, builder.add(at, index(v * lanes)), vector)
                new.append(fused(builder, x, x, sums[v]))
            return new

        squares = loop(builder, arguments[2], [constant(vector, 0.0)] * WHITENING_WIDTH, body)
        share = splat(builder, arguments[3], lanes)
        bits = index(0)
        for v in range(WHITENING_WIDTH):
            low = vector_at(builder, nearest_at, index(v * lanes), vector)
            high = vector_at(builder, second_at, index(v * lanes), vector)
            apart = builder.fsub(high, low)
            doubt = builder.fmul(share, builder.fadd(squares[v], high))
            mask = builder.fcmp_ordered("<=", apart, doubt)
            own = builder.zext(builder.bitcast(mask, ir.IntType(lanes)), ir.IntType(64))
            bits = builder.or_(bits, builder.shl(own, index(v * lanes)))
        return bits

    size = types.intp
    return (
        types.uint64(columns, size, size, vector_type.dtype, nearest, second),
        codegen,
    )


@intrinsic
def add_row(
    typingctx: Any,
    rows: Any,
    start: Any,
    d: Any,
    shift: Any,
    weight: Any,
    sums: Any,
    at: Any,
) -> Any:
    """Add weight times a row less ``shift`` to float64 sums, from ``at`` on, in whole vectors.

    ``shift`` and the sums have room for whole vectors; the numbers behind d stay as they are.
    """
    vector_type = vector_of(rows.dtype)

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        vector = llvm_vector(vector_type)
        lanes = vector.count
        double = widened(vector)
        rows_at, shift_at, sums_at = (
            data_of(context, signature.args[i], arguments[i], builder) for i in (0, 3, 5)
        )
        first, n, weight_of, to = (arguments[i] for i in (1, 2, 4, 6))
        factor = splat(builder, weight_of, double.count)

        def add(at: Any, x: Any) -> None:
            away = builder.fsub(x, vector_at(builder, shift_at, at, vector))
            place = builder.gep(sums_at, [builder.add(to, at)])
            for part, own in enumerate(halves_of(builder, away)):
                target = builder.gep(place, [index(part * double.count)])
                old = load_at(builder, target, double)
                store_at(builder, target, fused(builder, factor, own, old))

        def whole(turn: Any, nothing: list[Any]) -> list[Any]:
            at = builder.mul(turn, index(lanes))
            add(at, vector_at(builder, rows_at, builder.add(first, at), vector))
            return []

        n_whole = builder.sdiv(n, index(lanes))
        loop(builder, n_whole, [], whole)
        at = builder.mul(n_whole, index(lanes))
        rest = builder.sub(n, at)
        with builder.if_then(builder.icmp_signed(">", rest, index(0))):
            place = builder.gep(rows_at, [builder.add(first, at)])
            add(at, load_part_at(builder, place, vector, rest))
        return context.get_dummy_value()

    size = types.intp
    return types.void(rows, size, size, shift, types.float64, sums, size), codegen


@intrinsic
def add_members(
    typingctx: Any, columns: Any, stride: Any, d: Any, which: Any, k: Any, sums: Any
) -> Any:
    """Add up the rows of a chunk whose number in ``which`` is k: how many, and their columns.

    The sums are d + 1 vectors of float64 for each k, their lanes not added yet.
    """
    vector_type = vector_of(columns.dtype)

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        vector = llvm_vector(vector_type)
        lanes = vector.count
        columns_at, which_at, sums_at = (
            data_of(context, signature.args[i], arguments[i], builder) for i in (0, 3, 5)
        )
        step, n_columns, number = arguments[1], arguments[2], arguments[4]
        mine = splat(builder, builder.sitofp(number, vector.element), lanes)
        masks = [
            builder.fcmp_ordered("==", vector_at(builder, which_at, index(v * lanes), vector), mine)
            for v in range(WHITENING_WIDTH)
        ]
        n_sums = builder.add(n_columns, index(1))
        first = builder.mul(number, n_sums)
        zero = constant(vector, 0.0)

        def add(sum_: Any, values: list[Any]) -> None:
            kept = [builder.select(m, x, zero) for m, x in zip(masks, values, strict=True)]
            while len(kept) > 1:
                kept = [builder.fadd(a, b) for a, b in zip(kept[::2], kept[1::2], strict=True)]
            place = builder.add(first, sum_)
            place = builder.gep(sums_at, [builder.mul(place, index(widened(vector).count))])
            old = load_at(builder, place, widened(vector))
            for half in halves_of(builder, kept[0]):
                old = builder.fadd(old, half)
            store_at(builder, place, old)

        add(index(0), [constant(vector, 1.0)] * WHITENING_WIDTH)

        def column(j: Any, nothing: list[Any]) -> list[Any]:
            at = builder.mul(j, step)
            values = [
                vector_at(builder, columns_at, builder.add(at, index(v * lanes)), vector)
                for v in range(WHITENING_WIDTH)
            ]
            add(builder.add(j, index(1)), values)
            return []

        loop(builder, n_columns, [], column)
        return context.get_dummy_value()

    size = types.intp
    return types.void(columns, size, size, which, size, sums), codegen


@intrinsic
def add_potentials(
    typingctx: Any,
    columns: Any,
    stride: Any,
    d: Any,
    candidates: Any,
    candidate: Any,
    closest: Any,
    start: Any,
    size: Any,
    weights: Any,
    weights_start: Any,
    potentials: Any,
    nearer: Any,
    at: Any,
    step: Any,
) -> Any:
    """Add what ``closest`` would be with CANDIDATES more centres, each alone, times the weights.

    ``closest`` and ``weights`` have the numbers of the chunk's ``size`` rows from ``start`` and
    ``weights_start`` on. ``potentials`` holds a vector of float64 for each candidate. Bits of the
    rows for which it is nearer than the centres so far go to ``nearer``, those of a chunk from
    ``at`` on, those of a candidate ``step`` numbers apart.
    """
    vector_type = vector_of(columns.dtype)

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        vector = llvm_vector(vector_type)
        lanes = vector.count
        double = widened(vector)
        columns_at, candidates_at, closest_at, weights_at, sums_at, nearer_at = (
            data_of(context, signature.args[i], arguments[i], builder) for i in (0, 3, 5, 8, 10, 11)
        )
        stride_of, n_columns, c, first, n_rows = (arguments[i] for i in (1, 2, 4, 6, 7))
        first_weight, first_bits, apart = (arguments[i] for i in (9, 12, 13))
        squares = _distance_block(
            builder,
            columns_at,
            stride_of,
            n_columns,
            candidates_at,
            builder.mul(c, n_columns),
            [constant(vector, 0.0)] * (WHITENING_WIDTH * CANDIDATES),
            True,
            vector,
        )
        for r in range(CANDIDATES):
            candidate_of = builder.add(c, index(r))
            place = builder.gep(sums_at, [builder.mul(candidate_of, index(double.count))])
            total = load_at(builder, place, double)
            to = builder.add(first_bits, builder.mul(candidate_of, apart))
            for v in range(WHITENING_WIDTH):
                square = squares[r * WHITENING_WIDTH + v]
                # behind the last row nothing is nearer than 0, and nothing counts
                rest = builder.sub(n_rows, index(v * lanes))
                source = builder.gep(closest_at, [builder.add(first, index(v * lanes))])
                so_far = load_part_at(builder, source, vector, rest)
                mask = builder.fcmp_ordered("<", square, so_far)
                kept = builder.select(mask, square, so_far)
                for part, own in enumerate(halves_of(builder, kept)):
                    offset = index(v * lanes + part * double.count)
                    source = builder.gep(weights_at, [builder.add(first_weight, offset)])
                    rest = builder.sub(n_rows, offset)
                    weight = load_part_at(builder, source, double, rest)
                    total = fused(builder, weight, own, total)
                bits = builder.bitcast(mask, ir.IntType(lanes))
                bits = builder.zext(bits, ir.IntType(16)) if lanes < 16 else bits
                builder.store(bits, builder.gep(nearer_at, [builder.add(to, index(v))]))
            store_at(builder, place, total)
        return context.get_dummy_value()

    size_ = types.intp
    return (
        types.void(
            *(columns, size_, size_, candidates, size_, closest, size_, size_),
            *(weights, size_, potentials, nearer, size_, size_),
        ),
        codegen,
    )


@intrinsic
def chunk_distances(
    typingctx: Any, columns: Any, stride: Any, d: Any, centre: Any, out: Any
) -> Any:
    """Write |x - centre|^2 of the rows of a chunk."""
    vector_type = vector_of(columns.dtype)

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        vector = llvm_vector(vector_type)
        columns_at, centre_at, out_at = (
            data_of(context, signature.args[i], arguments[i], builder) for i in (0, 3, 4)
        )
        step, n_columns = arguments[1:3]
        starts = [constant(vector, 0.0)] * WHITENING_WIDTH
        squares = _distance_block(
            builder, columns_at, step, n_columns, centre_at, index(0), starts, True, vector
        )
        for v in range(WHITENING_WIDTH):
            store_at(builder, builder.gep(out_at, [index(v * vector.count)]), squares[v])
        return context.get_dummy_value()

    size = types.intp
    return types.void(columns, size, size, centre, out), codegen


@intrinsic
def row_distance(
    typingctx: Any, rows: Any, start: Any, d: Any, centres: Any, centre_start: Any
) -> Any:
    """Return |x - c|^2 of a row and a centre of d numbers each."""
    vector_type = vector_of(rows.dtype)

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        vector = llvm_vector(vector_type)
        lanes = vector.count
        rows_at, centres_at = (
            data_of(context, signature.args[i], arguments[i], builder) for i in (0, 3)
        )
        first, n, other = arguments[1], arguments[2], arguments[4]

        def squared(turn: Any, sums: list[Any]) -> list[Any]:
            at = builder.mul(turn, index(lanes))
            x, c = (
                vector_at(builder, pointer, builder.add(begin, at), vector)
                for pointer, begin in ((rows_at, first), (centres_at, other))
            )
            away = builder.fsub(x, c)
            return [fused(builder, away, away, sums[0])]

        n_whole = builder.sdiv(n, index(lanes))
        (total,) = loop(builder, n_whole, [constant(vector, 0.0)], squared)
        at = builder.mul(n_whole, index(lanes))
        rest = builder.sub(n, at)
        x, c = (
            load_part_at(builder, builder.gep(pointer, [builder.add(begin, at)]), vector, rest)
            for pointer, begin in ((rows_at, first), (centres_at, other))
        )
        away = builder.fsub(x, c)
        total = fused(builder, away, away, total)

        return folded(builder, total)

    return vector_type.dtype(rows, types.intp, types.intp, centres, types.intp), codegen
