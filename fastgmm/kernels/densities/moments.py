"""One component's count and moments about an origin of its own, columns unrolled."""

from typing import Any

from fastgmm._jit import intrinsic, ir, types
from fastgmm.kernels.blocks import CHUNK_VECTORS
from fastgmm.kernels.columns import pitch
from fastgmm.kernels.densities.features import n_factors, products_of
from fastgmm.kernels.emission import (
    data_of,
    index,
    loop,
    number_at,
    vector_at,
)
from fastgmm.simd.arithmetic import fused
from fastgmm.simd.shuffles import folded
from fastgmm.simd.vectors import constant, llvm_vector, splat, vector_of

ACCUMULATORS = 24
"""Vector registers for sums; more columns take several turns through the tile."""


def _groups(band: Any) -> list[list[int]]:
    """Share out the rows of W so that their sums fit the registers."""
    groups: list[list[int]] = [[]]
    used = 1  # the counts
    for i, row in enumerate(band):
        if groups[-1] and used + len(row) + 1 > ACCUMULATORS:
            groups.append([])
            used = 0
        groups[-1].append(i)
        used += len(row) + 1  # the first moment and the row's second moments
    return groups


@intrinsic
def add_moments(
    typingctx: Any,
    columns: Any,
    joint: Any,
    n_components: Any,
    n_chunks: Any,
    origins: Any,
    component: Any,
    band: Any,
    counts: Any,
    first: Any,
    second: Any,
) -> Any:
    """Add one component's count and moments about its origin over a tile.

    ``columns`` has the chunks' (n_factors, rows) matrices one behind the other, the columns first,
    ``joint`` the weighted responsibilities (k, rows); ``counts`` (k,), ``first`` (k d,) and
    ``second`` (k p,) are flat float64.
    """
    vector_type = vector_of(columns.dtype)
    d, pairs = len(band), products_of(band)
    columns_of = [[j for row, j in pairs if row == i] for i in range(d)]

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        vector = llvm_vector(vector_type)
        lanes = vector.count
        chunk = CHUNK_VECTORS * lanes
        columns_at, joint_at, origins_at, counts_at, first_at, second_at = (
            data_of(context, signature.args[i], arguments[i], builder) for i in (0, 1, 4, 7, 8, 9)
        )
        n, n_turns, k = (arguments[i] for i in (2, 3, 5))
        columns_pitch = pitch(builder, index(n_factors(d)), chunk, vector)
        joint_pitch = pitch(builder, n, chunk, vector)

        def add_total(pointer: Any, per_component: int, which: int, value: Any) -> None:
            total = folded(builder, value)
            if total.type != ir.DoubleType():
                total = builder.fpext(total, ir.DoubleType())
            at = builder.add(builder.mul(k, index(per_component)), index(which))
            place = builder.gep(pointer, [at])
            builder.store(builder.fadd(builder.load(place), total), place)

        for number, group in enumerate(_groups(band)):
            needed = range(group[-1] + 1)
            means = [
                splat(
                    builder,
                    number_at(builder, origins_at, builder.add(builder.mul(k, index(d)), index(j))),
                    lanes,
                )
                for j in needed
            ]

            def body(
                turn: Any,
                sums: list[Any],
                group: list[int] = group,
                means: list[Any] = means,
                counting: bool = number == 0,
            ) -> list[Any]:
                which = builder.sdiv(turn, index(CHUNK_VECTORS))
                within = builder.mul(builder.srem(turn, index(CHUNK_VECTORS)), index(lanes))
                row = builder.add(builder.mul(which, joint_pitch), builder.mul(k, index(chunk)))
                r = vector_at(builder, joint_at, builder.add(row, within), vector)
                at = builder.add(builder.mul(which, columns_pitch), within)
                z = []
                for j, mean in enumerate(means):
                    place = builder.add(at, index(j * chunk))
                    z.append(builder.fsub(vector_at(builder, columns_at, place, vector), mean))
                old = iter(sums)
                new = [builder.fadd(next(old), r)] if counting else []
                for i in group:
                    weighted = builder.fmul(r, z[i])
                    new.append(builder.fadd(next(old), weighted))
                    new += [fused(builder, weighted, z[j], next(old)) for j in columns_of[i]]
                return new

            n_sums = (number == 0) + sum(1 + len(columns_of[i]) for i in group)
            turns = builder.mul(n_turns, index(CHUNK_VECTORS))
            sums = iter(loop(builder, turns, [constant(vector, 0.0)] * n_sums, body))
            if number == 0:
                add_total(counts_at, 1, 0, next(sums))
            for i in group:
                add_total(first_at, d, i, next(sums))
                for j in columns_of[i]:
                    add_total(second_at, len(pairs), pairs.index((i, j)), next(sums))
        return context.get_dummy_value()

    size = types.intp
    return (
        types.void(columns, joint, size, size, origins, size, band, counts, first, second),
        codegen,
    )
