"""Rows on their way to a chunk's columns: neighbours as they come, or chosen ones together."""

from typing import Any

from fastgmm._jit import intrinsic, maker, part, types
from fastgmm.kernels.columns import chunk_rows
from fastgmm.kernels.emission import data_of, index, number_at
from fastgmm.kernels.memory import aligned
from fastgmm.simd import lanes_of
from fastgmm.simd.memory import load_part_at, store_at
from fastgmm.simd.shuffles import transposed
from fastgmm.simd.vectors import llvm_vector, vector_of


@maker
def columns_for(d: int, like: Any) -> Any:
    """Return memory for the columns of a chunk: as many as whole vectors have."""
    width = lanes_of(like)
    return aligned((d + width - 1) // width * width * chunk_rows(like), like)


@part
def weight_of(weights: Any, n: int) -> float:
    """Return what a row weighs: 1 where no weights are given."""
    return 1.0 if weights.size == 0 else weights[n]


@part
def load_chosen(rows: Any, d: int, chosen: Any, size: int, shift: Any, columns: Any) -> None:
    """Write the first ``size`` of the ``chosen`` rows, less ``shift``, as a chunk's columns.

    There is room for a whole chunk of chosen ones: behind the last the first is written once more.
    """
    run, width = chunk_rows(rows), lanes_of(rows)
    for i in range(size, run):
        chosen[i] = chosen[0]
    if d > 4:
        for j in range(0, d, width):
            for t in range(0, run, width):
                store_chosen(rows, chosen, t, d, j, shift, columns, j * run + t, run)
    else:
        for i in range(run):
            at = chosen[i] * d
            for j in range(d):
                columns[j * run + i] = rows[at + j] - shift[j]


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
