"""Register blocks along the axes: scaled distances, and sums of r, r x and r x^2."""

from typing import Any

from fastgmm._jit import intrinsic, types
from fastgmm.kernels.blocks import WIDE, add_totals, in_widths, joined_ways, ways_of
from fastgmm.kernels.emission import (
    data_of,
    fetch_ahead,
    index,
    literal,
    loop,
    number_at,
    vector_at,
)
from fastgmm.simd.arithmetic import fused
from fastgmm.simd.memory import store_at
from fastgmm.simd.vectors import constant, llvm_vector, splat, vector_of


@intrinsic(prefer_literal=True)
def scaled_distances(
    typingctx: Any,
    x: Any,
    x_start: Any,
    stride: Any,
    d: Any,
    scales: Any,
    shifts: Any,
    height: Any,
    width: Any,
    centred: Any,
    log_scale: Any,
    component: Any,
    joint: Any,
    to: Any,
    joint_row: Any,
    ahead: Any,
    ahead_start: Any,
) -> Any:
    """Write log_scale - sum over j of (scale x_j + offset)^2 for ``height`` components.

    ``x`` holds ``width`` vectors of rows for every feature j, ``joint``, from ``to`` on, for
    every component.
    Centred, it is (scale (x_j - mean))^2. ``scales`` and ``shifts`` (offsets or means) are flat
    (k, d). Meanwhile d vectors of ``ahead``, from ``ahead_start`` on, are fetched into the cache.
    """
    vector_type = vector_of(x.dtype)
    rows, vectors, about_mean = literal(height), literal(width), literal(centred)

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        vector = llvm_vector(vector_type)
        lanes = vector.count
        x_at, scales_at, shifts_at, log_scale_at, joint_at, ahead_at = (
            data_of(context, signature.args[i], arguments[i], builder) for i in (0, 4, 5, 9, 11, 14)
        )
        t, step, n, k, to, joint_step, ahead_of = (arguments[i] for i in (1, 2, 3, 10, 12, 13, 15))
        first = builder.mul(k, n)

        def body(turn: Any, sums: list[Any]) -> list[Any]:
            at = builder.add(t, builder.mul(turn, step))
            columns = [
                vector_at(builder, x_at, builder.add(at, index(v * lanes)), vector)
                for v in range(vectors)
            ]
            fetch_ahead(builder, ahead_at, builder.add(ahead_of, builder.mul(turn, index(lanes))))
            new = []
            for r in range(rows):
                place = builder.add(builder.add(first, turn), builder.mul(index(r), n))
                scale = splat(builder, number_at(builder, scales_at, place), lanes)
                shift = splat(builder, number_at(builder, shifts_at, place), lanes)
                for v in range(vectors):
                    if about_mean:
                        y = builder.fmul(builder.fsub(columns[v], shift), scale)
                    else:
                        y = fused(builder, scale, columns[v], shift)
                    new.append(fused(builder, builder.fneg(y), y, sums[r * vectors + v]))
            return new

        starts = []
        for r in range(rows):
            number = number_at(builder, log_scale_at, builder.add(k, index(r)))
            starts += [splat(builder, number, lanes)] * vectors
        sums = loop(builder, n, starts, body)
        for r in range(rows):
            row = builder.mul(builder.add(k, index(r)), joint_step)
            for v in range(vectors):
                at = builder.add(builder.add(row, to), index(v * lanes))
                store_at(builder, builder.gep(joint_at, [at]), sums[r * vectors + v])
        return context.get_dummy_value()

    size = types.intp
    parameters = (scales, shifts, height, width, centred, log_scale, size)
    return types.void(x, size, size, size, *parameters, joint, size, size, ahead, size), codegen


MOMENTS_WIDTH = 3 if WIDE else 1
"""Columns of a block of moments. Four components by three columns and their squares take 7 loads
and 3 squares for 24 sums, eight by one take 9 and 1 for 16: passes are 1.01 to 1.03 times as fast,
since loads cost something even where there are units for them."""


@intrinsic(prefer_literal=True)
def add_axes_moments(
    typingctx: Any,
    columns: Any,
    stride: Any,
    d: Any,
    joint: Any,
    component: Any,
    n_vectors: Any,
    height: Any,
    width: Any,
    centred: Any,
    origins: Any,
    sums: Any,
    slot: Any,
) -> Any:
    """Add the sums of r, r x and r x^2 of ``height`` components over a tile.

    ``columns`` (d, stride) and ``joint`` (k, stride) are flat; the sums are added to the slots
    from ``slot`` on of ``sums`` (2 d + 1, slots): r, then r x and r x^2 of every column. They take
    ``width`` columns at a time, and what is left by fewer. Centred, it is x - origin in the place
    of x.
    """
    vector_type = vector_of(columns.dtype)
    rows, most, about_origin = literal(height), literal(width), literal(centred)

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        vector = llvm_vector(vector_type)
        lanes = vector.count
        x_at, joint_at, origins_at, sums_at = (
            data_of(context, signature.args[i], arguments[i], builder) for i in (0, 3, 9, 10)
        )
        step, n_columns, k, n, first_slot = (arguments[i] for i in (1, 2, 4, 5, 11))
        joint_row = [builder.mul(builder.add(k, index(r)), step) for r in range(rows)]
        shape = context.data_model_manager[signature.args[10]].get_field_position("shape")
        slots = builder.extract_value(builder.extract_value(arguments[10], shape), 0)
        slots = builder.sdiv(slots, builder.add(builder.mul(n_columns, index(2)), index(1)))

        def over_rows(terms: Any, n_sums: int) -> list[Any]:
            """Sum ``terms(place, sums)`` over the vectors of the tile."""
            ways = ways_of(n_sums)

            def turns(turn: Any, all_sums: list[Any]) -> list[Any]:
                new = []
                for way in range(ways):
                    number = builder.add(builder.mul(turn, index(ways)), index(way))
                    own = all_sums[way * n_sums : (way + 1) * n_sums]
                    new += terms(builder.mul(number, index(lanes)), own)
                return new

            zeros = [constant(vector, 0.0)] * (n_sums * ways)
            turning = builder.sdiv(n, index(ways))
            all_sums = loop(builder, turning, zeros, turns)
            result = joined_ways(builder, all_sums, n_sums)
            if ways > 1:
                done = builder.mul(turning, index(ways))

                def rest(turn: Any, sums: list[Any]) -> list[Any]:
                    return terms(builder.mul(builder.add(done, turn), index(lanes)), sums)

                result = loop(builder, builder.sub(n, done), result, rest)
            return result

        def add_to_slots(row: Any, vectors: list[Any]) -> None:
            at = builder.add(builder.mul(row, slots), first_slot)
            add_totals(builder, sums_at, at, vectors)

        def r_at(place: Any, r: int) -> Any:
            return vector_at(builder, joint_at, builder.add(joint_row[r], place), vector)

        def counted(place: Any, own: list[Any]) -> list[Any]:
            return [builder.fadd(own[r], r_at(place, r)) for r in range(rows)]

        add_to_slots(index(0), over_rows(counted, rows))

        def add_block(begin: Any, width: int) -> None:
            """Add the sums of ``width`` columns."""
            places = [builder.add(begin, index(c)) for c in range(width)]
            x_rows = [builder.mul(j, step) for j in places]

            def origin(c: int, r: int) -> Any:
                row = builder.mul(builder.add(k, index(r)), n_columns)
                number = number_at(builder, origins_at, builder.add(row, places[c]))
                return splat(builder, number, lanes)

            both = [(c, r) for c in range(width) for r in range(rows)]
            origins = {pair: origin(*pair) for pair in both} if about_origin else {}

            def moments(place: Any, own: list[Any]) -> list[Any]:
                x = [vector_at(builder, x_at, builder.add(row, place), vector) for row in x_rows]
                squares = [] if about_origin else [builder.fmul(each, each) for each in x]
                weights = [r_at(place, r) for r in range(rows)]
                ones, twos = [], []
                for number, (c, r) in enumerate(both):
                    one, two = own[number], own[len(both) + number]
                    if about_origin:
                        z = builder.fsub(x[c], origins[c, r])
                        weighted = builder.fmul(weights[r], z)
                        ones.append(builder.fadd(one, weighted))
                        twos.append(fused(builder, weighted, z, two))
                    else:
                        ones.append(fused(builder, weights[r], x[c], one))
                        twos.append(fused(builder, weights[r], squares[c], two))
                return ones + twos

            result = over_rows(moments, 2 * len(both))
            for c, j in enumerate(places):
                row = builder.add(builder.mul(j, index(2)), index(1))
                for power in range(2):
                    first = power * len(both) + c * rows
                    add_to_slots(builder.add(row, index(power)), result[first : first + rows])

        in_widths(builder, n_columns, most, add_block)
        return context.get_dummy_value()

    size = types.intp
    shape = (height, width, centred)
    return (
        types.void(columns, size, size, joint, size, size, *shape, origins, sums, size),
        codegen,
    )
