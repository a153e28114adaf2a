"""Rows of a tile, kept in whole vectors of columns: copied, turned into columns, scaled, squared.

How they are multiplied with responsibilities is in ``products.py``.
"""

from collections.abc import Callable
from typing import Any

from fastgmm._jit import intrinsic, maker, part, types
from fastgmm.kernels.columns import ask_for_rows
from fastgmm.kernels.emission import (
    data_of,
    index,
    loop,
    number_at,
    opaque,
    vector_at,
)
from fastgmm.kernels.memory import cleared, fill
from fastgmm.simd import (
    lanes_of,
    load,
    load_part,
    store,
    transpose_block,
)
from fastgmm.simd.memory import load_at, load_part_at, store_at
from fastgmm.simd.shuffles import transposed
from fastgmm.simd.vectors import llvm_vector, splat, vector_of


def _by_fours(builder: Any, n: Any, emit: Callable[[Any, int], None]) -> None:
    """Call ``emit(first, count)`` for n rows, four at a time, then one at a time.

    A row of few vectors by itself takes three times as long as its vectors.
    """
    done = index(0)
    for count in (4, 1):
        turns = builder.sdiv(builder.sub(n, done), index(count))

        def some(turn: Any, carried: list[Any], count: int = count, done: Any = done) -> list[Any]:
            emit(builder.add(done, builder.mul(turn, index(count))), count)
            return []

        loop(builder, turns, [], some)
        done = builder.add(done, builder.mul(turns, index(count)))


@intrinsic
def keep_square(
    typingctx: Any,
    rows: Any,
    start: Any,
    n_columns: Any,
    column: Any,
    centre: Any,
    kept: Any,
    to: Any,
    row: Any,
    columns: Any,
    place: Any,
    stride: Any,
) -> Any:
    """Copy as many rows and columns as a vector has lanes, less ``centre``: as both.

    Row i is ``start`` + i, of ``column`` and its neighbours, zeros behind the last; it goes to
    ``to`` + i ``row``. Column j goes to ``place`` + j ``stride``.
    """
    vector_type = vector_of(rows.dtype)

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        vector = llvm_vector(vector_type)
        rows_at, centre_at, kept_at, columns_at = (
            data_of(context, signature.args[i], arguments[i], builder) for i in (0, 4, 5, 8)
        )
        start, d, column, to, row, place, stride = (arguments[i] for i in (1, 2, 3, 6, 7, 9, 10))
        d, row, stride = (opaque(builder, number, column) for number in (d, row, stride))
        inside = builder.sub(d, column)
        centre = vector_at(builder, centre_at, column, vector)
        from_ = builder.add(builder.mul(start, d), column)
        copied = []
        for _ in range(vector.count):
            ask_for_rows(builder, rows_at, from_, vector)
            some = load_part_at(builder, builder.gep(rows_at, [from_]), vector, inside)
            copied.append(builder.fsub(some, centre))
            store_at(builder, builder.gep(kept_at, [to]), copied[-1])
            from_, to = builder.add(from_, d), builder.add(to, row)
        for values in transposed(builder, copied):
            store_at(builder, builder.gep(columns_at, [place]), values)
            place = builder.add(place, stride)
        return context.get_dummy_value()

    size = types.intp
    sizes = (size, size)
    return types.void(rows, size, *sizes, centre, kept, *sizes, columns, *sizes), codegen


@maker
def padded_centre(centre: Any) -> Any:
    """Return a centre (d,) and zeros up to a whole vector, as ``keep_chunk`` takes it."""
    width = lanes_of(centre)
    padded = cleared((centre.size + width - 1) // width * width, centre)
    for j in range(centre.size):
        padded[j] = centre[j]
    return padded


@part
def keep_chunk(
    rows: Any,
    start: int,
    first: int,
    size: int,
    d: int,
    centre: Any,
    kept: Any,
    row: int,
    columns: Any,
    stride: int,
) -> None:
    """Copy the rows of a chunk, from ``first`` to less than ``size``, about the centre.

    They are kept, zeros behind the last, and are the columns. Both are written at once: with a copy
    that is turned afterwards passes took 1.02 to 1.05 times as long.
    """
    width = lanes_of(rows)
    for t in range(first, first + stride, width):
        if t + width <= size:
            for j in range(0, d, width):
                keep_square(
                    rows, start + t, d, j, centre, kept, t * row + j, row,
                    columns, j * stride + t - first, stride,
                )  # fmt: skip
        else:
            for i in range(t, size):
                for j in range(0, d, width):
                    x = load_part(rows, (start + i) * d + j, d - j)
                    store(kept, i * row + j, x - load(centre, j))
            fill(kept, max(t, size) * row, (t + width) * row, 0)
            turn_vector(kept, t, d, row, columns, t - first, stride)


@part
def turn_vector(
    kept: Any, first: int, d: int, row: int, columns: Any, to: int, stride: int
) -> None:
    """Write a vector of kept rows, from ``first`` on, to the columns from ``to`` on."""
    for j in range(0, d, lanes_of(kept)):
        transpose_block(kept, first * row + j, row, columns, j * stride + to, stride)


@intrinsic
def scale_rows(typingctx: Any, kept: Any, row: Any, n_vectors: Any, shares: Any, size: Any) -> Any:
    """Multiply each of ``size`` rows, ``row`` numbers apart, by its share."""
    vector_type = vector_of(kept.dtype)

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        vector = llvm_vector(vector_type)
        kept_at, shares_at = (
            data_of(context, signature.args[i], arguments[i], builder) for i in (0, 3)
        )
        row, n_vectors, n = (arguments[i] for i in (1, 2, 4))

        def scale(at: Any, share: Any) -> None:
            place = builder.gep(kept_at, [at])
            store_at(builder, place, builder.fmul(share, load_at(builder, place, vector)))

        _for_vectors(builder, vector, n, row, n_vectors, shares_at, scale)
        return context.get_dummy_value()

    size_type = types.intp
    return types.void(kept, size_type, size_type, shares, size_type), codegen


@intrinsic
def square_rows(
    typingctx: Any,
    kept: Any,
    row: Any,
    n_vectors: Any,
    behind: Any,
    shares: Any,
    size: Any,
    scaled: Any,
) -> Any:
    """Write the squares of each of ``size`` rows ``behind`` numbers after these.

    ``scaled``, rows and squares are multiplied by the row's share. The squares of what pads a row
    are zeros; there is room for them behind the last.
    """
    vector_type = vector_of(kept.dtype)

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        vector = llvm_vector(vector_type)
        kept_at, shares_at = (
            data_of(context, signature.args[i], arguments[i], builder) for i in (0, 4)
        )
        row, n_vectors, behind, n, scaled = (arguments[i] for i in (1, 2, 3, 5, 6))

        def square(at: Any, share: Any) -> None:
            place = builder.gep(kept_at, [at])
            x = weighted = load_at(builder, place, vector)
            if share is not None:
                weighted = builder.fmul(share, x)
                store_at(builder, place, weighted)
            place = builder.gep(kept_at, [builder.add(at, behind)])
            store_at(builder, place, builder.fmul(weighted, x))

        def of_all(shares: Any) -> None:
            # behind a row its squares begin in what pads its last vector
            _for_vectors(builder, vector, n, row, n_vectors, shares, square, last_first=True)

        with builder.if_else(scaled) as (then, other):
            with then:
                of_all(shares_at)
            with other:
                of_all(None)
        return context.get_dummy_value()

    number = types.intp
    sizes = (number, number, number)
    return types.void(kept, *sizes, shares, number, types.boolean), codegen


def _for_vectors(
    builder: Any,
    vector: Any,
    n_rows: Any,
    row: Any,
    n_vectors: Any,
    shares: Any,
    emit: Callable[[Any, Any], None],
    *,
    last_first: bool = False,
) -> None:
    """Call ``emit(at, share)`` for the vectors of each row; without ``shares`` a share is None.

    The ``last_first`` where that is asked for: else addresses are simpler, and tied passes over 16
    columns 1.05 times as fast.
    """

    def of_rows(t: Any, count: int) -> None:
        turns = [builder.add(t, index(r)) for r in range(count)]
        own: list[Any] = [None] * count
        if shares is not None:
            own = [splat(builder, number_at(builder, shares, t), vector.count) for t in turns]

        def of_vectors(turn: Any, carried: list[Any]) -> list[Any]:
            if last_first:
                turn = builder.sub(builder.sub(n_vectors, index(1)), turn)
            j = builder.mul(turn, index(vector.count))
            for each, share in zip(turns, own, strict=True):
                emit(builder.add(builder.mul(each, row), j), share)
            return []

        loop(builder, n_vectors, [], of_vectors)

    _by_fours(builder, n_rows, of_rows)
