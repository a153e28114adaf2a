"""Full covariances of up to eight columns: every number of a component in a register.

Nothing is looped over but rows and components; the columns are unrolled when the kernel is
compiled, one kernel for each number of columns. The number of columns comes with the *type* of a
tuple of as many integers (``dimension``), because only types are known at compile time.
"""

from typing import Any, NamedTuple

from fastgmm._jit import intrinsic, ir, is_record, overload, types
from fastgmm._typing import FloatArray
from fastgmm.kernels.blocks import data_of, index, loop, number_at, vector_at
from fastgmm.kernels.expectation import (
    accumulate,
    aligned,
    finish,
    log_density,
    nothing_left,
    stride_of,
    work,
)
from fastgmm.simd import lanes_of, store
from fastgmm.simd.arithmetic import fused
from fastgmm.simd.shuffles import folded, strided
from fastgmm.simd.vectors import constant, llvm_vector, splat, vector_of

MOST_COLUMNS = 8

ACCUMULATORS = 24
"""Vector registers for sums; more columns take several turns through the tile."""


@intrinsic
def load_columns(typingctx: Any, rows: Any, start: Any, dimension: Any) -> Any:
    """Return the columns of as many rows as a vector has lanes: a tuple of d vectors.

    The rows lie one after the other in flat memory from ``start`` on, d numbers each.
    """
    vector_type = vector_of(rows.dtype)
    d = len(dimension)
    result = types.UniTuple(vector_type, d)

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        vector = llvm_vector(vector_type)
        pointer = data_of(context, signature.args[0], arguments[0], builder)
        loaded = [
            vector_at(builder, pointer, builder.add(arguments[1], index(i * vector.count)), vector)
            for i in range(d)
        ]
        columns = [strided(builder, loaded, c, d) for c in range(d)]
        return context.make_tuple(builder, result, columns)

    return result(rows, types.intp, dimension), codegen


@intrinsic
def log_density_of(
    typingctx: Any, columns: Any, means: Any, whitening: Any, log_scale: Any, component: Any
) -> Any:
    """Return log_scale - |L^-1 (x - mean)|^2 of a vector of rows, given its columns.

    ``means`` (k d,), ``whitening`` (k p,) packed rows of sqrt(1/2) L^-1 and ``log_scale`` (k,) are
    flat.
    """
    d = len(columns)

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        vector = llvm_vector(columns.dtype)
        means_at, whitening_at, scale_at = (
            data_of(context, signature.args[i], arguments[i], builder) for i in (1, 2, 3)
        )
        k = arguments[4]

        def parameter(pointer: Any, per_component: int, which: int) -> Any:
            at = builder.add(builder.mul(k, index(per_component)), index(which))
            return splat(builder, number_at(builder, pointer, at), vector.count)

        z = [
            builder.fsub(builder.extract_value(arguments[0], i), parameter(means_at, d, i))
            for i in range(d)
        ]
        result = parameter(scale_at, 1, 0)
        size = d * (d + 1) // 2
        for i in range(d):
            row = i * (i + 1) // 2
            y = builder.fmul(z[0], parameter(whitening_at, size, row))
            for j in range(1, i + 1):
                y = fused(builder, z[j], parameter(whitening_at, size, row + j), y)
            result = fused(builder, builder.fneg(y), y, result)
        return result

    return (
        columns.dtype(columns, means, whitening, log_scale, types.intp),
        codegen,
    )


def _groups(d: int) -> list[list[int]]:
    """Share out the rows of the triangle so that their sums fit the registers."""
    groups: list[list[int]] = [[]]
    used = 1  # the counts
    for i in range(d):
        if groups[-1] and used + i + 2 > ACCUMULATORS:
            groups.append([])
            used = 0
        groups[-1].append(i)
        used += i + 2  # first moment and the row's i + 1 second moments
    return groups


@intrinsic
def add_moments(
    typingctx: Any,
    tile: Any,
    stride: Any,
    joint: Any,
    joint_start: Any,
    n_vectors: Any,
    origins: Any,
    component: Any,
    dimension: Any,
    counts: Any,
    first: Any,
    second: Any,
) -> Any:
    """Add one component's count and moments about its origin over a tile.

    ``tile`` (d, stride) holds the columns, ``joint`` the weighted responsibilities from
    ``joint_start`` on; ``counts`` (k,), ``first`` (k d,) and ``second`` (k p,) are flat float64.
    """
    vector_type = vector_of(tile.dtype)
    d = len(dimension)

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        vector = llvm_vector(vector_type)
        lanes = vector.count
        tile_at, joint_at, origins_at, counts_at, first_at, second_at = (
            data_of(context, signature.args[i], arguments[i], builder) for i in (0, 2, 5, 8, 9, 10)
        )
        step, r0, n, k = (arguments[i] for i in (1, 3, 4, 6))
        size = d * (d + 1) // 2

        def add_total(pointer: Any, per_component: int, which: int, value: Any) -> None:
            total = folded(builder, value)
            if total.type != ir.DoubleType():
                total = builder.fpext(total, ir.DoubleType())
            at = builder.add(builder.mul(k, index(per_component)), index(which))
            place = builder.gep(pointer, [at])
            builder.store(builder.fadd(builder.load(place), total), place)

        for number, group in enumerate(_groups(d)):
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
                at = builder.mul(turn, index(lanes))
                r = vector_at(builder, joint_at, builder.add(r0, at), vector)
                z = []
                for j, mean in enumerate(means):
                    place = builder.add(builder.mul(index(j), step), at)
                    z.append(builder.fsub(vector_at(builder, tile_at, place, vector), mean))
                old = iter(sums)
                new = [builder.fadd(next(old), r)] if counting else []
                for i in group:
                    weighted = builder.fmul(r, z[i])
                    new.append(builder.fadd(next(old), weighted))
                    new += [fused(builder, weighted, z[j], next(old)) for j in range(i + 1)]
                return new

            n_sums = (number == 0) + sum(i + 2 for i in group)
            sums = iter(loop(builder, n, [constant(vector, 0.0)] * n_sums, body))
            if number == 0:
                add_total(counts_at, 1, 0, next(sums))
            for i in group:
                add_total(first_at, d, i, next(sums))
                for j in range(i + 1):
                    add_total(second_at, size, i * (i + 1) // 2 + j, next(sums))
        return context.get_dummy_value()

    number = types.intp
    return (
        types.void(
            tile, number, joint, number, number, origins, number, dimension, counts, first, second
        ),
        codegen,
    )


class UnrolledDensity(NamedTuple):
    """What a pass needs of a mixture with full covariances in few columns, in the compute dtype."""

    log_scale: FloatArray
    """(k,) log weight + log determinant of the whitening - d/2 log 2 pi."""
    means: FloatArray
    """(k, d)."""
    whitening: FloatArray
    """(k, p) packed rows of sqrt(1/2) L^-1, where L L^T is the covariance."""
    origins: FloatArray
    """(k, d) what the statistics are centred about: the means, as a rule."""
    dimension: tuple[int, ...]
    """d integers: their number, a part of the type, is what counts."""


@overload(work)
def _work(density: Any, tile_rows: Any) -> Any:
    if not is_record(density, UnrolledDensity):
        return None

    def columns(density: Any, tile_rows: Any) -> Any:
        d = density.means.shape[1]
        # a tile of columns, and one vector of rows behind it for the last rows of all
        size = d * (stride_of(tile_rows, density.means) + lanes_of(density.means))
        return aligned(size, density.means)

    return columns


@overload(log_density)
def _log_density(
    rows: Any, start: Any, size: Any, density: Any, scratch: Any, joint: Any, stride: Any
) -> Any:
    if not is_record(density, UnrolledDensity):
        return None

    def unrolled(
        rows: Any, start: Any, size: Any, density: Any, scratch: Any, joint: Any, stride: Any
    ) -> None:
        n_components, d = density.means.shape
        width = lanes_of(rows)
        means = density.means.reshape(density.means.size)
        whitening = density.whitening.reshape(density.whitening.size)
        for t in range(0, size, width):
            if t + width <= size:
                columns = load_columns(rows, (start + t) * d, density.dimension)
            else:
                # the last rows are completed with zeros: nothing lies behind them to read
                spare = d * stride
                for i in range((size - t) * d):
                    scratch[spare + i] = rows[(start + t) * d + i]
                for i in range((size - t) * d, width * d):
                    scratch[spare + i] = 0
                columns = load_columns(scratch, spare, density.dimension)
            for j in range(d):
                store(scratch, j * stride + t, columns[j])
            for k in range(n_components):
                joint_of_k = log_density_of(columns, means, whitening, density.log_scale, k)
                store(joint, k * stride + t, joint_of_k)

    return unrolled


@overload(accumulate)
def _accumulate(
    rows: Any,
    start: Any,
    size: Any,
    density: Any,
    scratch: Any,
    joint: Any,
    stride: Any,
    statistics: Any,
) -> Any:
    if not is_record(density, UnrolledDensity):
        return None

    def unrolled(
        rows: Any,
        start: Any,
        size: Any,
        density: Any,
        scratch: Any,
        joint: Any,
        stride: Any,
        statistics: Any,
    ) -> None:
        width = lanes_of(rows)
        n_vectors = (size + width - 1) // width
        origins = density.origins.reshape(density.origins.size)
        first = statistics.first.reshape(statistics.first.size)
        second = statistics.second.reshape(statistics.second.size)
        for k in range(density.log_scale.size):
            add_moments(
                scratch,
                stride,
                joint,
                k * stride,
                n_vectors,
                origins,
                k,
                density.dimension,
                statistics.counts,
                first,
                second,
            )

    return unrolled


@overload(finish)
def _finish(density: Any, scratch: Any, statistics: Any) -> Any:
    return nothing_left if is_record(density, UnrolledDensity) else None
