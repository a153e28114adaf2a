"""The nearest of some centres: register blocks of distances, with the running minimum beside them.

Four centres at a time meet a chunk of rows, whose columns lie side by side; a centre's number is
broadcast to all of them. Two forms: the *difference* form adds up (x - c)^2, two instructions a
number and no digits lost; the *product* form adds up |c|^2 / 2 - x c in one, about the mean of all
rows, and its rounding can only matter where the best two scores are close: those rows are told
apart by differences again (``tell_apart``).
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
from fastgmm.simd.shuffles import folded, transposed
from fastgmm.simd.vectors import bits_of, call, constant, llvm_vector, shuffle, splat, vector_of

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
    is a number, centre 0 does.
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
                    other[v] = smaller(builder, larger(builder, score, best[v]), other[v])
                    label[v] = builder.select(closer, mine, label[v])
                    best[v] = builder.select(closer, score, best[v])
            return [*best, *label, *other]

        endless = [constant(vector, float("inf"))] * WHITENING_WIDTH
        start = [*endless, *[constant(vector, 0.0)] * WHITENING_WIDTH, *endless]
        found = loop(builder, blocks, start, block)
        targets = (nearest_at, which_at, second_at)
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


@intrinsic(prefer_literal=True)
def tell_apart(
    typingctx: Any,
    columns: Any,
    stride: Any,
    d: Any,
    margin: Any,
    differences: Any,
    nearest: Any,
    second: Any,
    gaps: Any,
) -> Any:
    """Write how much farther the second nearest centre of each row of a chunk is, at least.

    Returns a bit for each row: whether rounding may have chosen the wrong centre.

    A score |c|^2 / 2 - x c has an error of (d + 2) eps (|x| |c| + |c|^2 / 2) at most. A centre with
    |c| > R = |x| + sqrt(|x|^2 + 2 s) has a score above s, however it is rounded; with s the second
    lowest score all others err by less than (d + 2) eps 3/2 R^2, and R^2 <= 4 (|x|^2 + s). So the
    order of two scores is certain if they are ``margin`` = 12 (d + 2) eps times |x|^2 + s apart,
    and a squared distance errs by no more. One that is a sum of squares errs by less than
    ``margin`` times itself. ``gaps`` are float32, whose square roots cost a fifth.
    """
    vector_type = vector_of(columns.dtype)
    direct = bool(literal(differences))

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        vector = llvm_vector(vector_type)
        lanes = vector.count
        single = ir.VectorType(ir.FloatType(), lanes)
        columns_at, nearest_at, second_at, gaps_at = (
            data_of(context, signature.args[i], arguments[i], builder) for i in (0, 5, 6, 7)
        )

        def body(j: Any, sums: list[Any]) -> list[Any]:
            at = builder.mul(j, arguments[1])
            new = []
            for v in range(WHITENING_WIDTH):
                x = vector_at(builder, columns_at, builder.add(at, index(v * lanes)), vector)
                new.append(fused(builder, x, x, sums[v]))
            return new

        def root(square: Any) -> Any:
            if square.type != single:
                square = builder.fptrunc(square, single)
            square = larger(builder, square, constant(single, 0.0))
            return call(builder, f"llvm.sqrt.v{lanes}f32", single, square)

        zeros = [constant(vector, 0.0)] * WHITENING_WIDTH
        squares = zeros if direct else loop(builder, arguments[2], zeros, body)
        share = splat(builder, arguments[3], lanes)
        two = constant(vector, 2.0)
        masks = []
        for v in range(WHITENING_WIDTH):
            low = vector_at(builder, nearest_at, index(v * lanes), vector)
            high = vector_at(builder, second_at, index(v * lanes), vector)
            if direct:
                low_doubt, high_doubt = (builder.fmul(share, x) for x in (low, high))
            else:
                low_doubt = high_doubt = builder.fmul(share, builder.fadd(squares[v], high))
                masks.append(builder.fcmp_ordered("<=", builder.fsub(high, low), high_doubt))
                low, high = (fused(builder, two, x, squares[v]) for x in (low, high))
            near = root(builder.fadd(low, low_doubt))
            far = root(builder.fsub(high, high_doubt))
            # what float32 has rounded off
            slip = builder.fmul(builder.fadd(near, far), constant(single, 2.0**-21))
            gap = builder.fsub(builder.fsub(far, near), slip)
            store_at(builder, builder.gep(gaps_at, [index(v * lanes)]), gap)
        return _bits(builder, masks)

    size = types.intp
    arrays = (nearest, second, gaps)
    return (
        types.uint64(columns, size, size, vector_type.dtype, differences, *arrays),
        codegen,
    )


def _gathered(builder: Any, table: Any, which: Any) -> Any:
    """Load a float32 number of a table for each of a vector of indices."""
    lanes = which.type.count
    vector = ir.VectorType(ir.FloatType(), lanes)
    places = ir.VectorType(ir.IntType(64), lanes)
    bytes_each = constant(places, 4)
    at = builder.mul(builder.zext(which, places), bytes_each)
    base = splat(builder, builder.ptrtoint(table, ir.IntType(64)), lanes)
    pointers = builder.inttoptr(
        builder.add(base, at), ir.VectorType(ir.FloatType().as_pointer(), lanes)
    )
    every = constant(ir.VectorType(ir.IntType(1), lanes), 1)
    align = ir.Constant(ir.IntType(32), 4)
    name = f"llvm.masked.gather.v{lanes}f32.v{lanes}p0"
    return call(builder, name, vector, pointers, align, every, constant(vector, 0.0))


def _looked_up(builder: Any, table: Any, size: Any, which: Any) -> Any:
    """Load a float32 number of a table of ``size`` for each of a vector of indices.

    One by one: processors gather a vector in 30 cycles, in which 32 entries are compared.
    """
    vector = ir.VectorType(ir.FloatType(), which.type.count)

    def choose(entry: Any, found: list[Any]) -> list[Any]:
        number = splat(builder, builder.trunc(entry, ir.IntType(32)), which.type.count)
        value = splat(builder, number_at(builder, table, entry), which.type.count)
        return [builder.select(builder.icmp_signed("==", which, number), value, found[0])]

    few = builder.icmp_signed("<=", size, index(32))
    with builder.if_else(few) as (then, otherwise):
        with then:
            (chosen,) = loop(builder, size, [constant(vector, 0.0)], choose)
            after_choice = builder.block
        with otherwise:
            gathered = _gathered(builder, table, which)
            after_gathering = builder.block
    found = builder.phi(vector)
    found.add_incoming(chosen, after_choice)
    found.add_incoming(gathered, after_gathering)
    return found


def _as_floats(builder: Any, pointer: Any) -> Any:
    """Return a pointer to float32 numbers: int32 are moved as such."""
    return builder.bitcast(pointer, ir.FloatType().as_pointer())


def _bits(builder: Any, masks: list[Any]) -> Any:
    """Return the masks of a chunk's vectors as one number."""
    bits = index(0)
    for v, mask in enumerate(masks):
        lanes = mask.type.count
        own = builder.zext(builder.bitcast(mask, ir.IntType(lanes)), ir.IntType(64))
        bits = builder.or_(bits, builder.shl(own, index(v * lanes)))
    return bits


def _halves(vector: Any) -> tuple[Any, Any]:
    """Return LLVM's types of as many float32 numbers, and of 32-bit integers, as a vector has."""
    return ir.VectorType(ir.FloatType(), vector.count), ir.VectorType(ir.IntType(32), vector.count)


@intrinsic
def unsure_rows(
    typingctx: Any,
    like: Any,
    slack: Any,
    labels: Any,
    limits: Any,
    size: Any,
    first: Any,
) -> Any:
    """Return a bit for each row of a chunk: whether its slack is no more than its label's limit.

    There are ``size`` limits.
    """
    chunk = WHITENING_WIDTH * vector_of(like.dtype).lanes

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        single = llvm_vector(vector_of(types.float32))
        integers = ir.VectorType(ir.IntType(32), single.count)
        slack_at, labels_at, limits_at = (
            _as_floats(builder, data_of(context, signature.args[i], arguments[i], builder))
            for i in (1, 2, 3)
        )
        masks = []
        for t in range(0, chunk, single.count):
            at = builder.add(arguments[5], index(t))
            label = builder.bitcast(vector_at(builder, labels_at, at, single), integers)
            limit = _looked_up(builder, limits_at, arguments[4], label)
            # not "<=": what is no number is unsure, too
            masks.append(
                builder.fcmp_unordered("<=", vector_at(builder, slack_at, at, single), limit)
            )
        return _bits(builder, masks)

    return types.uint64(like, slack, labels, limits, types.intp, types.intp), codegen


@intrinsic
def any_below(typingctx: Any, like: Any, slack: Any, limit: Any, first: Any) -> Any:
    """Return whether the slack of any row of a chunk is no more than a limit."""
    chunk = WHITENING_WIDTH * vector_of(like.dtype).lanes

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        single = llvm_vector(vector_of(types.float32))
        (slack_at,) = (data_of(context, signature.args[1], arguments[1], builder),)
        limit = splat(builder, arguments[2], single.count)
        found = None
        for t in range(0, chunk, single.count):
            at = builder.add(arguments[3], index(t))
            mask = builder.fcmp_unordered("<=", vector_at(builder, slack_at, at, single), limit)
            found = mask if found is None else builder.or_(found, mask)
        bits = builder.bitcast(found, ir.IntType(single.count))
        return builder.icmp_unsigned("!=", bits, bits.type(0))

    return types.boolean(like, slack, types.float32, types.intp), codegen


@intrinsic
def label_chunk(
    typingctx: Any,
    which: Any,
    gaps: Any,
    drift: Any,
    size: Any,
    labels: Any,
    slack: Any,
    first: Any,
    old: Any,
) -> Any:
    """Label the rows of a chunk; return a bit for each whose label has changed.

    Their slack is the gap between their nearest centres and the drift, one of ``size``, of the
    nearest up to now. ``old`` is given the labels that were there.
    """
    vector_type = vector_of(which.dtype)

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        vector = llvm_vector(vector_type)
        single, integers = _halves(vector)
        which_at = data_of(context, signature.args[0], arguments[0], builder)
        gaps_at, drift_at, labels_at, slack_at, old_at = (
            _as_floats(builder, data_of(context, signature.args[i], arguments[i], builder))
            for i in (1, 2, 4, 5, 7)
        )
        masks = []
        for v in range(WHITENING_WIDTH):
            here = index(v * vector.count)
            there = builder.add(arguments[6], here)
            label = builder.fptosi(vector_at(builder, which_at, here, vector), integers)
            before = builder.bitcast(vector_at(builder, labels_at, there, single), integers)
            gap = vector_at(builder, gaps_at, here, single)
            sure = builder.fadd(gap, _looked_up(builder, drift_at, arguments[3], label))
            for pointer, place, value in ((old_at, here, before), (labels_at, there, label)):
                value = builder.bitcast(value, single)
                store_at(builder, builder.gep(pointer, [place]), value)
            store_at(builder, builder.gep(slack_at, [there]), sure)
            masks.append(builder.icmp_signed("!=", label, before))
        return _bits(builder, masks)

    size = types.intp
    return types.uint64(which, gaps, drift, size, labels, slack, size, old), codegen


@intrinsic
def first_bit(typingctx: Any, bits: Any) -> Any:
    """Return where the lowest bit of a number that is not 0 is."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.cttz(arguments[0], ir.Constant(ir.IntType(1), 1))

    return types.intp(types.uint64), codegen


@intrinsic
def count_bits(typingctx: Any, bits: Any) -> Any:
    """Return how many bits are on."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.ctpop(arguments[0])

    return types.intp(types.uint64), codegen


@intrinsic
def store_chosen(
    typingctx: Any,
    rows: Any,
    chosen: Any,
    first: Any,
    d: Any,
    column: Any,
    shift: Any,
    out: Any,
    at: Any,
    stride: Any,
) -> Any:
    """Write a vector of rows, the ``chosen`` from ``first`` on, to a vector of columns.

    The columns begin with ``column``, less ``shift``; those from ``d`` on are written, too, as
    zeros.
    """
    vector_type = vector_of(rows.dtype)

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        vector = llvm_vector(vector_type)
        rows_at, chosen_at, shift_at, out_at = (
            data_of(context, signature.args[i], arguments[i], builder) for i in (0, 1, 5, 6)
        )
        begin, n_columns, from_column, place, step = (arguments[i] for i in (2, 3, 4, 7, 8))
        inside = builder.sub(n_columns, from_column)
        centre = load_part_at(builder, builder.gep(shift_at, [from_column]), vector, inside)
        loaded = []
        for i in range(vector.count):
            row = number_at(builder, chosen_at, builder.add(begin, index(i)))
            start = builder.add(builder.mul(row, n_columns), from_column)
            some = load_part_at(builder, builder.gep(rows_at, [start]), vector, inside)
            loaded.append(builder.fsub(some, centre))
        for values in transposed(builder, loaded):
            store_at(builder, builder.gep(out_at, [place]), values)
            place = builder.add(place, step)
        return context.get_dummy_value()

    size = types.intp
    return types.void(rows, chosen, size, size, size, shift, out, size, size), codegen


@intrinsic
def find_nearer(
    typingctx: Any,
    sketch: Any,
    stride: Any,
    d: Any,
    candidates: Any,
    starts: Any,
    candidate: Any,
    squares: Any,
    closest: Any,
    first: Any,
    nearer: Any,
) -> Any:
    """Write bits of the rows of a chunk to which each of CENTRES candidates may be nearer.

    Nearer than ``closest``: |c|^2 / 2 - x c below (closest - |x|^2) / 2 and what rounding can make
    of it, (d + 8) eps times closest + |x|^2 here and times |c|^2 in ``starts``. The columns of the
    chunk whose ``first`` row it is are all that there is of the rows; ``closest`` is in any dtype.
    """
    vector_type = vector_of(sketch.dtype)
    given_type = vector_of(closest.dtype)

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        vector, given = llvm_vector(vector_type), llvm_vector(given_type)
        lanes = vector.count
        sketch_at, candidates_at, starts_at, squares_at, closest_at, nearer_at = (
            data_of(context, signature.args[i], arguments[i], builder) for i in (0, 3, 4, 6, 7, 9)
        )
        step, n_columns, c, row = (arguments[i] for i in (1, 2, 5, 8))
        columns_at = builder.gep(sketch_at, [builder.mul(row, n_columns)])
        begins = []
        for r in range(CENTRES):
            start = number_at(builder, starts_at, builder.add(c, index(r)))
            begins += [splat(builder, start, lanes)] * WHITENING_WIDTH
        scores = _distance_block(
            builder,
            columns_at,
            step,
            n_columns,
            candidates_at,
            builder.mul(c, n_columns),
            begins,
            False,
            vector,
        )
        slip = builder.sitofp(builder.add(n_columns, index(8)), vector.element)
        slip = builder.fmul(slip, ir.Constant(vector.element, 2.0**-23))
        slip = splat(builder, slip, lanes)
        half = constant(vector, 0.5)
        masks: list[list[Any]] = [[] for _ in range(CENTRES)]
        for v in range(WHITENING_WIDTH):
            at = builder.add(row, index(v * lanes))
            square = vector_at(builder, squares_at, at, vector)
            parts = [
                vector_at(builder, closest_at, builder.add(at, index(i)), given)
                for i in range(0, lanes, given.count)
            ]
            so_far = parts[0]
            if len(parts) > 1:
                so_far = shuffle(builder, *parts, list(range(lanes)))
                so_far = builder.fptrunc(so_far, vector)
            bound = builder.fmul(half, builder.fsub(so_far, square))
            bound = fused(builder, slip, builder.fadd(so_far, square), bound)
            for r in range(CENTRES):
                score = scores[r * WHITENING_WIDTH + v]
                masks[r].append(builder.fcmp_ordered("<", score, bound))
        for r in range(CENTRES):
            place = builder.gep(nearer_at, [builder.add(c, index(r))])
            builder.store(_bits(builder, masks[r]), place)
        return context.get_dummy_value()

    size = types.intp
    return (
        types.void(
            *(sketch, size, size, candidates, starts, size, squares, closest, size, nearer),
        ),
        codegen,
    )


@intrinsic
def add_gains(
    typingctx: Any,
    columns: Any,
    stride: Any,
    d: Any,
    candidates: Any,
    candidate: Any,
    closest: Any,
    first: Any,
    weights: Any,
    gains: Any,
    nearer: Any,
) -> Any:
    """Add how much ``closest`` would fall with CANDIDATES more centres, each alone, by weight.

    The chunk's squared distances to the centres so far are in ``closest`` from ``first`` on, its
    ``weights`` from 0 on. ``gains`` holds a vector of float64 for each candidate, ``nearer`` is
    given bits of the rows for which it is nearer than the centres so far.
    """
    vector_type = vector_of(columns.dtype)

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        vector = llvm_vector(vector_type)
        lanes = vector.count
        double = widened(vector)
        columns_at, candidates_at, closest_at, weights_at, gains_at, nearer_at = (
            data_of(context, signature.args[i], arguments[i], builder) for i in (0, 3, 5, 7, 8, 9)
        )
        step, n_columns, c, row = (arguments[i] for i in (1, 2, 4, 6))
        squares = _distance_block(
            builder,
            columns_at,
            step,
            n_columns,
            candidates_at,
            builder.mul(c, n_columns),
            [constant(vector, 0.0)] * (WHITENING_WIDTH * CANDIDATES),
            True,
            vector,
        )
        for r in range(CANDIDATES):
            candidate_of = builder.add(c, index(r))
            place = builder.gep(gains_at, [builder.mul(candidate_of, index(double.count))])
            total = load_at(builder, place, double)
            masks = []
            for v in range(WHITENING_WIDTH):
                square = squares[r * WHITENING_WIDTH + v]
                so_far = vector_at(builder, closest_at, builder.add(row, index(v * lanes)), vector)
                masks.append(builder.fcmp_ordered("<", square, so_far))
                saved = builder.fsub(so_far, square)
                saved = builder.select(masks[-1], saved, constant(vector, 0.0))
                for part, own in enumerate(halves_of(builder, saved)):
                    offset = index(v * lanes + part * double.count)
                    weight = vector_at(builder, weights_at, offset, double)
                    total = fused(builder, weight, own, total)
            store_at(builder, place, total)
            builder.store(_bits(builder, masks), builder.gep(nearer_at, [candidate_of]))
        return context.get_dummy_value()

    size = types.intp
    return (
        types.void(
            *(columns, size, size, candidates, size, closest, size, weights, gains, nearer),
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
def total_of(typingctx: Any, numbers: Any, first: Any, size: Any) -> Any:
    """Return the sum in float64 of ``size`` numbers, four vectors of them or a multiple."""
    vector_type = vector_of(numbers.dtype)

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        vector = llvm_vector(vector_type)
        numbers_at = data_of(context, signature.args[0], arguments[0], builder)
        step = index(4 * vector.count)

        def add(turn: Any, sums: list[Any]) -> list[Any]:
            at = builder.add(arguments[1], builder.mul(turn, step))
            new = []
            for v, old in enumerate(sums):
                place = builder.add(at, index(v * vector.count))
                for half in halves_of(builder, vector_at(builder, numbers_at, place, vector)):
                    old = builder.fadd(old, half)
                new.append(old)
            return new

        zeros = [constant(widened(vector), 0.0)] * 4
        a, b, c, d = loop(builder, builder.sdiv(arguments[2], step), zeros, add)
        return folded(builder, builder.fadd(builder.fadd(a, b), builder.fadd(c, d)))

    return types.float64(numbers, types.intp, types.intp), codegen


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
