"""Squared distances between rows and centres, as register blocks or one by one.

A few centres at a time meet a chunk of rows, whose columns lie side by side; a centre's number is
broadcast to all of them. Two forms: the *difference* form adds up (x - c)^2, two instructions a
number and no digits lost; the *product* form adds up |c|^2 / 2 - x c in one, about the mean of all
rows, and its rounding can only matter where the best two scores are close.
"""

from typing import Any

from fastgmm._jit import intrinsic, types
from fastgmm.kernels.blocks import CHUNK_VECTORS
from fastgmm.kernels.emission import (
    data_of,
    index,
    loop,
    number_at,
    vector_at,
)
from fastgmm.simd.arithmetic import fused
from fastgmm.simd.memory import load_part_at, store_at
from fastgmm.simd.shuffles import folded
from fastgmm.simd.vectors import constant, llvm_vector, splat, vector_of

DIFFERENCES = 3
"""Up to so many columns distances are sums of squared differences: seven instructions a row and
centre at d = 2, as many as products and the second lowest score take."""


def distance_block(
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
    """Add x c or (x - c)^2 over the features to ``starts``, CHUNK_VECTORS vectors a centre.

    ``first`` is where the block's first centre begins; the others follow, d numbers each.
    """
    lanes = vector.count
    height = len(starts) // CHUNK_VECTORS

    def body(j: Any, sums: list[Any]) -> list[Any]:
        at = builder.mul(j, stride)
        x = [
            vector_at(builder, columns, builder.add(at, index(v * lanes)), vector)
            for v in range(CHUNK_VECTORS)
        ]
        new = []
        for r in range(height):
            place = builder.add(builder.add(first, j), builder.mul(index(r), d))
            centre = splat(builder, number_at(builder, centres, place), lanes)
            for v in range(CHUNK_VECTORS):
                old = sums[r * CHUNK_VECTORS + v]
                if differences:
                    away = builder.fsub(x[v], centre)
                    new.append(fused(builder, away, away, old))
                else:
                    new.append(fused(builder, builder.fneg(centre), x[v], old))
        return new

    return loop(builder, d, starts, body)


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
        starts = [constant(vector, 0.0)] * CHUNK_VECTORS
        squares = distance_block(
            builder, columns_at, step, n_columns, centre_at, index(0), starts, True, vector
        )
        for v in range(CHUNK_VECTORS):
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
