"""Rows of a tile, kept in whole vectors of columns: copied about the centre, and scaled."""

from collections.abc import Callable
from typing import Any

from fastgmm._jit import intrinsic, types
from fastgmm.kernels.blocks import data_of, index, loop, number_at, vector_at
from fastgmm.simd.memory import load_part_at, store_at
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
def keep_rows(
    typingctx: Any,
    rows: Any,
    start: Any,
    size: Any,
    n_columns: Any,
    centre: Any,
    kept: Any,
    row: Any,
) -> Any:
    """Copy ``size`` rows from ``start`` on, less ``centre``, to ``kept``, ``row`` numbers apart.

    Whole vectors are written, zeros behind the last column; ``centre`` has zeros there, too.
    """
    vector_type = vector_of(rows.dtype)

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        vector = llvm_vector(vector_type)
        rows_at, centre_at, kept_at = (
            data_of(context, signature.args[i], arguments[i], builder) for i in (0, 4, 5)
        )
        start, n, d, row = (arguments[i] for i in (1, 2, 3, 6))
        whole = builder.sdiv(d, index(vector.count))
        done = builder.mul(whole, index(vector.count))
        left = builder.sub(d, done)

        def copy_rows(t: Any, count: int) -> None:
            number = builder.add(start, t)
            from_ = [builder.mul(builder.add(number, index(r)), d) for r in range(count)]
            to = [builder.mul(builder.add(t, index(r)), row) for r in range(count)]

            def copy(j: Any, x: list[Any]) -> None:
                centre = vector_at(builder, centre_at, j, vector)
                for place, value in zip(to, x, strict=True):
                    value = builder.fsub(value, centre)
                    store_at(builder, builder.gep(kept_at, [builder.add(place, j)]), value)

            def copy_vectors(turn: Any, carried: list[Any]) -> list[Any]:
                j = builder.mul(turn, index(vector.count))
                places = [builder.add(source, j) for source in from_]
                copy(j, [vector_at(builder, rows_at, place, vector) for place in places])
                return []

            loop(builder, whole, [], copy_vectors)
            with builder.if_then(builder.icmp_signed(">", left, index(0))):
                places = [builder.gep(rows_at, [builder.add(source, done)]) for source in from_]
                copy(done, [load_part_at(builder, place, vector, left) for place in places])

        _by_fours(builder, n, copy_rows)
        return context.get_dummy_value()

    size = types.intp
    return types.void(rows, size, size, size, centre, kept, size), codegen


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

        def scale(t: Any, count: int) -> None:
            turns = [builder.add(t, index(r)) for r in range(count)]
            shares = [
                splat(builder, number_at(builder, shares_at, each), vector.count) for each in turns
            ]

            def scale_vectors(turn: Any, carried: list[Any]) -> list[Any]:
                j = builder.mul(turn, index(vector.count))
                for each, share in zip(turns, shares, strict=True):
                    at = builder.add(builder.mul(each, row), j)
                    value = builder.fmul(share, vector_at(builder, kept_at, at, vector))
                    store_at(builder, builder.gep(kept_at, [at]), value)
                return []

            loop(builder, n_vectors, [], scale_vectors)

        _by_fours(builder, n, scale)
        return context.get_dummy_value()

    size_type = types.intp
    return types.void(kept, size_type, size_type, shares, size_type), codegen
