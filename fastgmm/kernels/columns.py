"""Rows turned into columns: a chunk of neighbouring rows becomes one vector run a feature."""

from typing import Any

from fastgmm._jit import intrinsic, ir, part, types
from fastgmm.kernels.blocks import CHUNK_VECTORS, joined_ways
from fastgmm.kernels.emission import (
    data_of,
    fetch_ahead,
    index,
    literal,
    loop,
    number_at,
    vector_at,
)
from fastgmm.simd import lanes_of
from fastgmm.simd.arithmetic import fused
from fastgmm.simd.memory import load_at, load_part_at, store_at
from fastgmm.simd.shuffles import columns_of, exchanges_of_rows, transposed
from fastgmm.simd.vectors import bits_of, constant, llvm_vector, shuffle, splat, vector_of


@part
def chunk_rows(like: Any) -> int:
    """Return the rows of a run of CHUNK_VECTORS vectors."""
    return CHUNK_VECTORS * lanes_of(like)


@part
def pitch_of(n_rows: int, stride: int, like: Any) -> int:
    """Return the numbers from one chunk's matrix to the next: a vector more than it has.

    Were it a power of two, as 16 components times 32 rows are, the same row of all chunks would
    fall into the same lines of the cache (moments took twice as long).
    """
    return n_rows * stride + lanes_of(like)


def pitch(builder: Any, n_rows: Any, stride: int, vector: Any) -> Any:
    """Emit ``pitch_of``."""
    return builder.add(builder.mul(n_rows, index(stride)), index(vector.count))


@part
def padded_row(d: int, like: Any) -> int:
    """Return the numbers from one row of operands to the next: whole vectors.

    One vector more where rows of a multiple of 512 bytes would share lines of the cache (tied
    passes over 64 columns took 1.01 times as long). Everywhere it makes a tile too large for L1
    (over 16 columns of float64: 1.03 times as long).
    """
    width = lanes_of(like)
    row = (d + width - 1) // width * width
    return row + width if row * like.itemsize % 512 == 0 else row


WAYS = 4
"""Sums of squares of a vector, which wait less for each other: two cost 1 % over 128 columns."""

AHEAD_BYTES = 4096
"""How far behind the rows that are read those are that are asked for. Rows are read in bursts, with
arithmetic between them, and nothing else fetches them in time: from memory a pass took 1.1 to 1.5
times as long as from the caches where components are few. 8 KB crowd L1: over 16 columns four tied
components took 1.1 times as long, 32 components 1.01 times."""


@part
def numbers_ahead(like: Any) -> int:
    """Return ``AHEAD_BYTES`` in numbers."""
    return AHEAD_BYTES // like.itemsize


def ask_for_rows(builder: Any, rows: Any, at: Any, vector: Any) -> None:
    """Ask for the line of memory that is read ``AHEAD_BYTES`` after the one at ``at``."""
    ahead = index(8 * AHEAD_BYTES // bits_of(vector))
    fetch_ahead(builder, rows, builder.add(at, ahead))


@part
def load_about(
    rows: Any,
    d: int,
    first: int,
    size: int,
    end: int,
    shift: Any,
    columns: Any,
    to: int,
    stride: int,
) -> None:
    """Write ``size`` rows from ``first`` on, less ``shift`` (d,), as columns ``stride`` apart.

    ``rows`` is flat, d numbers a row; row t of feature j goes to ``to`` + j stride + t. Rows from
    ``size`` to ``end`` are zeros. ``columns`` has room for a multiple of a vector's lanes of them.

    Of up to four columns the code is written out, and of eight where vectors are longer: passes of
    16 tied components became 1.16 times as fast, of spherical ones 1.08 times. Every such case
    makes all kernels longer. The last columns, where they fill no more than half a vector, take a
    third of the exchanges that a whole one takes: float32 passes over five to seven columns became
    1.06 to 1.19 times as fast, over 20 columns, or float64 ones over nine or ten, 1.02 to 1.07.
    """
    width = lanes_of(rows)
    whole = size // width * width
    if d > 4 and not (d == 8 and width > 8):
        for t in range(0, whole, width):
            for j in range(0, d, width):
                at, place = (first + t) * d, to + j * stride + t
                if width > 4 and 2 * (d - j) <= width:
                    store_transposed(rows, at, d, j, shift, columns, place, stride, 2)
                else:
                    store_transposed(rows, at, d, j, shift, columns, place, stride, 1)
    else:
        for t in range(0, whole, width):
            at = (first + t) * d
            if d == 1:
                store_narrow(rows, at, 1, shift, columns, to + t, stride)
            elif d == 2:
                store_narrow(rows, at, 2, shift, columns, to + t, stride)
            elif d == 3:
                store_narrow(rows, at, 3, shift, columns, to + t, stride)
            elif d == 4:
                store_narrow(rows, at, 4, shift, columns, to + t, stride)
            elif width > 8:
                store_narrow(rows, at, 8, shift, columns, to + t, stride)
    if whole == end:
        return
    for j in range(d):
        for t in range(whole, size):
            columns[to + j * stride + t] = rows[(first + t) * d + j] - shift[j]
        for t in range(size, end):
            columns[to + j * stride + t] = 0


def columns_of_rows(
    builder: Any, rows: Any, start: Any, d: int, vector: Any, *, asks: bool = True
) -> list[Any]:
    """Load d columns of a vector of rows, which follow each other from ``start`` on.

    Rows behind them are asked for, unless somebody else ``asks``.
    """
    lanes = vector.count
    for i in range(d if asks else 0):
        ask_for_rows(builder, rows, builder.add(start, index(i * lanes)), vector)
    squares = range(0, d, lanes)
    if len(squares) * lanes * (lanes.bit_length() - 1) <= exchanges_of_rows(d):
        return [column for j in squares for column in _square(builder, rows, start, d, j, vector)]
    loaded = [
        vector_at(builder, rows, builder.add(start, index(i * vector.count)), vector)
        for i in range(d)
    ]
    return columns_of(builder, loaded)


def _square(builder: Any, rows: Any, start: Any, d: int, first: int, vector: Any) -> list[Any]:
    """Load columns from ``first`` on, no more than a vector of rows has rows, by a transpose."""
    n = min(d - first, vector.count)
    places = [builder.add(start, index(row * d + first)) for row in range(vector.count)]
    loaded = [load_part_at(builder, builder.gep(rows, [at]), vector, index(n)) for at in places]
    return transposed(builder, loaded)[:n]


@intrinsic
def write_squares(
    typingctx: Any, columns: Any, at: Any, stride: Any, d: Any, out: Any, to: Any
) -> Any:
    """Write |x|^2 of a chunk's rows, whose d columns begin at ``at``, behind these and to ``out``.

    Those of all vectors in one loop: spherical passes over 8 to 16 columns became 1.01 times as
    fast as with a loop for each vector.
    """
    vector_type = vector_of(columns.dtype)

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        vector = llvm_vector(vector_type)
        columns_at, out_at = (
            data_of(context, signature.args[i], arguments[i], builder) for i in (0, 4)
        )
        at, step, d, to = (arguments[i] for i in (1, 2, 3, 5))
        apart = [index(v * vector.count) for v in range(CHUNK_VECTORS)]

        def with_squares(column: Any, sums: list[Any]) -> list[Any]:
            begin = builder.add(at, builder.mul(column, step))
            x = [vector_at(builder, columns_at, builder.add(begin, v), vector) for v in apart]
            return [fused(builder, a, a, old) for a, old in zip(x, sums, strict=True)]

        def some(turn: Any, sums: list[Any]) -> list[Any]:
            first, new = builder.mul(turn, index(WAYS)), []
            for way in range(WAYS):
                own = sums[way * CHUNK_VECTORS :][:CHUNK_VECTORS]
                new += with_squares(builder.add(first, index(way)), own)
            return new

        turns = builder.sdiv(d, index(WAYS))
        done = builder.mul(turns, index(WAYS))

        def last(turn: Any, sums: list[Any]) -> list[Any]:
            return with_squares(builder.add(done, turn), sums)

        sums = loop(builder, turns, [constant(vector, 0.0)] * (WAYS * CHUNK_VECTORS), some)
        total = joined_ways(builder, sums, CHUNK_VECTORS)
        total = loop(builder, builder.sub(d, done), total, last)
        behind = builder.add(at, builder.mul(d, step))
        for v, squares in zip(apart, total, strict=True):
            for pointer, begin in ((columns_at, behind), (out_at, to)):
                store_at(builder, builder.gep(pointer, [builder.add(begin, v)]), squares)
        return context.get_dummy_value()

    size = types.intp
    return types.void(columns, size, size, size, out, size), codegen


@intrinsic
def scale_columns(
    typingctx: Any, columns: Any, at: Any, stride: Any, n: Any, factors: Any, first: Any
) -> Any:
    """Multiply n columns of a chunk from ``at`` on by its rows' factors from ``first`` on."""
    vector_type = vector_of(columns.dtype)

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        vector = llvm_vector(vector_type)
        columns_at, factors_at = (
            data_of(context, signature.args[i], arguments[i], builder) for i in (0, 4)
        )
        at, step, n, first = (arguments[i] for i in (1, 2, 3, 5))
        apart = [index(v * vector.count) for v in range(CHUNK_VECTORS)]
        factors = [vector_at(builder, factors_at, builder.add(first, v), vector) for v in apart]

        def scale(turn: Any, carried: list[Any]) -> list[Any]:
            begin = builder.add(at, builder.mul(turn, step))
            for v, factor in zip(apart, factors, strict=True):
                place = builder.gep(columns_at, [builder.add(begin, v)])
                scaled = builder.fmul(factor, load_at(builder, place, vector))
                store_at(builder, place, scaled)
            return []

        loop(builder, n, [], scale)
        return context.get_dummy_value()

    size = types.intp
    return types.void(columns, size, size, size, factors, size), codegen


@intrinsic
def turn_shared(
    typingctx: Any,
    joint: Any,
    at: Any,
    stride: Any,
    shares: Any,
    first: Any,
    turned: Any,
    to: Any,
    row: Any,
) -> Any:
    """Write a square of joint densities times the rows' shares, components side by side.

    The densities begin at ``at`` and are ``stride`` numbers apart from component to component, the
    shares begin at ``first``; row t of the square goes to ``to`` + t ``row``.
    """
    vector_type = vector_of(joint.dtype)

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        vector = llvm_vector(vector_type)
        joint_at, shares_at, turned_at = (
            data_of(context, signature.args[i], arguments[i], builder) for i in (0, 3, 5)
        )
        at, stride, first, place, row = (arguments[i] for i in (1, 2, 4, 6, 7))
        share = vector_at(builder, shares_at, first, vector)
        columns = []
        for _ in range(vector.count):
            columns.append(builder.fmul(vector_at(builder, joint_at, at, vector), share))
            at = builder.add(at, stride)
        for values in transposed(builder, columns):
            store_at(builder, builder.gep(turned_at, [place]), values)
            place = builder.add(place, row)
        return context.get_dummy_value()

    size = types.intp
    return types.void(joint, size, size, shares, size, turned, size, size), codegen


@intrinsic(prefer_literal=True)
def store_narrow(
    typingctx: Any, rows: Any, start: Any, d: Any, shift: Any, out: Any, at: Any, stride: Any
) -> Any:
    """Write a vector of rows of ``d`` numbers, less ``shift``, to the columns of ``out``.

    Of few columns, or of eight, that takes fewer exchanges of lanes than a transpose:
    24 instead of 64 for 16 rows of eight.
    """
    vector_type = vector_of(rows.dtype)
    n_columns = literal(d)

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        vector = llvm_vector(vector_type)
        rows_at, shift_at, out_at = (
            data_of(context, signature.args[i], arguments[i], builder) for i in (0, 3, 4)
        )
        place = arguments[5]
        columns = columns_of_rows(builder, rows_at, arguments[1], n_columns, vector)
        for j, column in enumerate(columns):
            centre = splat(builder, number_at(builder, shift_at, index(j)), vector.count)
            store_at(builder, builder.gep(out_at, [place]), builder.fsub(column, centre))
            place = builder.add(place, arguments[6])
        return context.get_dummy_value()

    size = types.intp
    return types.void(rows, size, d, shift, out, size, size), codegen


@intrinsic(prefer_literal=True)
def store_transposed(
    typingctx: Any,
    rows: Any,
    start: Any,
    d: Any,
    column: Any,
    shift: Any,
    out: Any,
    at: Any,
    stride: Any,
    rows_a_vector: Any,
) -> Any:
    """Write a vector of rows to a vector of columns from ``column`` on, less ``shift``.

    Columns from ``d`` on are written too, as zeros. With two rows a vector these are half as many
    columns.
    """
    vector_type = vector_of(rows.dtype)
    beside = literal(rows_a_vector)

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        vector = llvm_vector(vector_type)
        rows_at, shift_at, out_at = (
            data_of(context, signature.args[i], arguments[i], builder) for i in (0, 4, 5)
        )
        start, d, column, place, stride = (arguments[i] for i in (1, 2, 3, 6, 7))
        piece = ir.VectorType(vector.element, vector.count // beside)
        inside = builder.sub(d, column)
        centre = load_part_at(builder, builder.gep(shift_at, [column]), piece, inside)
        row = builder.add(start, column)
        loaded = []
        for _ in range(vector.count):
            ask_for_rows(builder, rows_at, row, vector)
            some = load_part_at(builder, builder.gep(rows_at, [row]), piece, inside)
            loaded.append(builder.fsub(some, centre))
            row = builder.add(row, d)
        if beside == 2:  # the columns' lower and upper halves come from these
            lower, upper = loaded[: piece.count], loaded[piece.count :]
            whole = list(range(vector.count))
            loaded = [shuffle(builder, a, b, whole) for a, b in zip(lower, upper, strict=True)]
        for values in transposed(builder, loaded):
            store_at(builder, builder.gep(out_at, [place]), values)
            place = builder.add(place, stride)
        return context.get_dummy_value()

    size = types.intp
    numbers = (size, size, rows_a_vector)
    return types.void(rows, size, size, size, shift, out, *numbers), codegen
