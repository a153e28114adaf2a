"""Rows of a tile, kept in whole vectors of columns: about the centre, scaled, with their squares.

How they are multiplied with responsibilities is in ``products.py``.
"""

from collections.abc import Callable
from typing import Any

from fastgmm._jit import intrinsic, types
from fastgmm.kernels.emission import (
    data_of,
    index,
    loop,
    number_at,
    vector_at,
)
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
    d: Any,
    n_vectors: Any,
    centre: Any,
    shares: Any,
    size: Any,
    squared: Any,
    kept: Any,
    row: Any,
) -> Any:
    """Copy ``size`` rows of d columns from ``start`` on, less ``centre``, times their shares.

    They are ``row`` numbers apart, in ``n_vectors`` whole vectors each. ``squared``, the squares of
    a row, times its share, follow its last column; those of what pads the row are zeros, and there
    is room for them.
    """
    vector_type = vector_of(rows.dtype)

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        vector = llvm_vector(vector_type)
        rows_at, centre_at, shares_at, kept_at = (
            data_of(context, signature.args[i], arguments[i], builder) for i in (0, 4, 5, 8)
        )
        start, d, n_vectors, n, squared, row = (arguments[i] for i in (1, 2, 3, 6, 7, 9))

        def keep(t: Any, j: Any, share: Any, squares: bool) -> None:
            from_ = builder.add(builder.add(start, builder.mul(t, d)), j)
            to = builder.add(builder.mul(t, row), j)
            x = load_part_at(builder, builder.gep(rows_at, [from_]), vector, builder.sub(d, j))
            x = builder.fsub(x, vector_at(builder, centre_at, j, vector))
            weighted = builder.fmul(share, x)
            store_at(builder, builder.gep(kept_at, [to]), weighted)
            if squares:
                place = builder.gep(kept_at, [builder.add(to, d)])
                store_at(builder, place, builder.fmul(weighted, x))

        def keep_all(squares: bool) -> None:
            def some(first: Any, count: int) -> None:
                turns = [builder.add(first, index(r)) for r in range(count)]
                own = [
                    splat(builder, number_at(builder, shares_at, t), vector.count) for t in turns
                ]

                def of_vectors(turn: Any, carried: list[Any]) -> list[Any]:
                    # the last first: squares begin in what pads it
                    which = builder.sub(builder.sub(n_vectors, index(1)), turn)
                    j = builder.mul(which, index(vector.count))
                    for t, share in zip(turns, own, strict=True):
                        keep(t, j, share, squares)
                    return []

                loop(builder, n_vectors, [], of_vectors)

            _by_fours(builder, n, some)

        with builder.if_else(squared) as (then, other):
            with then:
                keep_all(True)
            with other:
                keep_all(False)
        return context.get_dummy_value()

    number = types.intp
    sizes = (number, number, number)
    parameters = (centre, shares, number, types.boolean, kept, number)
    return types.void(rows, *sizes, *parameters), codegen
