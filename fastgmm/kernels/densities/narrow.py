"""Linear log densities of up to three columns: a few vectors of rows from end to end in one loop.

With so few columns nearly all time goes to exponentials, and the passes over a tile, which wait for
each other and for the cache, cost as much again (``linear.py``). Here a group of vectors of rows
stays in registers, columns, features, maxima, sums and shares; only what there is one of for every
component goes through memory, a few kilobytes that are overwritten by the next group.
"""

import math
from functools import partial
from typing import Any

import numpy as np

from fastgmm._jit import intrinsic, ir, kernel, types
from fastgmm._typing import FloatArray
from fastgmm.kernels.blocks import WHITENING_WIDTH, data_of, index, loop, number_at, vector_at
from fastgmm.kernels.columns import chunk_rows, columns_of_rows
from fastgmm.kernels.densities.linear import VECTORS_TOGETHER, LinearDensity
from fastgmm.kernels.densities.powers import fractions_of, powers_near, without_exponent
from fastgmm.kernels.densities.products import add_lanes, chosen
from fastgmm.kernels.memory import aligned, fill
from fastgmm.simd import lanes, lanes_of
from fastgmm.simd.arithmetic import added, fused, larger, reciprocal_of
from fastgmm.simd.elementary import log_of
from fastgmm.simd.memory import store_at
from fastgmm.simd.shuffles import folded
from fastgmm.simd.vectors import constant, integers_like, llvm_vector, splat, vector_of

MOST_COLUMNS = 3
MOST_COMPONENTS = 64
"""More would not leave room in L1 for their sums."""

GROUPS_AT_ONCE = VECTORS_TOGETHER // WHITENING_WIDTH
"""Groups that are summed before their lanes are, and float32 becomes float64."""


def add_whole_groups(rows: FloatArray, density: LinearDensity, statistics: Any) -> int:
    """Add rows (n, d) of weight one to the statistics, as many as fill groups; return how many.

    None, and 0, if columns or components are too many.
    """
    k, d = density.means.shape
    if d > MOST_COLUMNS or k > MOST_COMPONENTS:
        return 0
    group = WHITENING_WIDTH * lanes(rows.dtype)
    whole = len(rows) // group * group
    if whole:
        add_rows(rows[:whole], density, statistics)
    return whole


@kernel
def add_rows(rows: Any, density: Any, statistics: Any) -> None:
    """Add whole groups of rows to the statistics."""
    n_components, d = density.means.shape
    m = density.slopes.shape[1]
    flat = rows.reshape(rows.size)
    to_base_two = flat.dtype.type(1 / math.log(2.0))
    slopes = to_base_two * density.slopes.reshape(density.slopes.size)
    constants = to_base_two * (density.log_scale - density.squares)
    width, group = lanes_of(flat), chunk_rows(flat)
    joint = aligned(2 * (n_components + 8) * group, flat)
    fill(joint, 0, joint.size, 0)
    n_sums = n_components * (1 + m)
    whole = (n_sums + width - 1) // width * width
    sums, totals = aligned(whole * width, flat), np.zeros(whole)
    fill(sums, 0, sums.size, 0)
    log_likelihood = np.zeros(1)
    n_groups = rows.shape[0] // group
    for first in range(0, n_groups, GROUPS_AT_ONCE):
        add_groups(
            flat, first * group * d, min(GROUPS_AT_ONCE, n_groups - first), d, m, n_components,
            density.centre, slopes, constants, joint, sums, log_likelihood,
        )  # fmt: skip
        add_lanes(sums, n_sums, totals)
    for k in range(n_components):
        mine = totals[k * (1 + m) : (k + 1) * (1 + m)]
        statistics.counts[k] += mine[0]
        for j in range(d):
            statistics.first[k, j] += mine[1 + j]
        if m > d:
            statistics.second[k, 0] += mine[m]
    statistics.log_likelihood[0] += log_likelihood[0]


def buffer_size(builder: Any, n_components: Any, width: int) -> Any:
    """Return the numbers from one group's densities to the next group's: not a multiple of 4096 B.

    A number that is written delays reading where the last twelve bits of the address are the same.
    """
    rows = builder.or_(n_components, index(8))
    return builder.mul(rows, index(WHITENING_WIDTH * width))


@intrinsic
def add_groups(
    typingctx: Any,
    rows: Any,
    start: Any,
    n_groups: Any,
    n_columns: Any,
    n_features: Any,
    n_components: Any,
    centre: Any,
    slopes: Any,
    constants: Any,
    joint: Any,
    sums: Any,
    log_likelihood: Any,
) -> Any:
    """Add responsibilities times 1, x and |x|^2 about the centre to ``sums`` (k, 1 + m) of vectors.

    The rows begin at ``start`` in flat memory; |x|^2 is left out where m = d. ``slopes`` (k, m) are
    flat, of logarithms to base two; ``joint`` has room for two buffers of densities.

    The moments of a group are added between the next one's densities and exponentials: these would
    have to wait for the maxima, as moments have for the shares (7 of 66 cycles a vector).
    """
    vector_type = vector_of(rows.dtype)

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        vector = llvm_vector(vector_type)
        width = vector.count
        pointers = [
            data_of(context, signature.args[i], arguments[i], builder)
            for i in (0, 6, 7, 8, 9, 10, 11)
        ]
        rows_at, centre_at, slopes_at, constants_at = pointers[:4]
        joint_at, sums_at, likelihood_at = pointers[4:]
        start, n, d, m, n_components = arguments[1:6]
        one, nothing = constant(vector, 1.0), constant(vector, 0.0)
        group = range(WHITENING_WIDTH)
        half = buffer_size(builder, n_components, width)

        def number(pointer: Any, at: Any) -> Any:
            return splat(builder, number_at(builder, pointer, at), width)

        def place_of(buffer: Any, k: Any, v: int) -> Any:
            row = builder.mul(k, index(WHITENING_WIDTH * width))
            return builder.add(builder.add(buffer, row), index(v * width))

        def buffer_of(turn: Any) -> Any:
            return builder.mul(builder.and_(turn, index(1)), half)

        def features_of(at: Any, d: int, with_squares: bool) -> list[Any]:
            loaded = columns_of_rows(builder, rows_at, at, d, vector)
            centre = [number(centre_at, index(j)) for j in range(d)]
            x = [builder.fsub(column, at) for column, at in zip(loaded, centre, strict=True)]
            if not with_squares:
                return x
            square = builder.fmul(x[0], x[0])
            for column in x[1:]:
                square = fused(builder, column, column, square)
            return [*x, square]

        def densities(buffer: Any, x: list[Any], count: int) -> list[Any]:
            """Write all components' log densities; return the highest."""

            def component(k: Any, best: list[Any]) -> list[Any]:
                first = builder.mul(k, index(count))
                factors = [number(slopes_at, builder.add(first, index(f))) for f in range(count)]
                new = []
                for v in group:
                    value = number(constants_at, k)
                    for f, factor in enumerate(factors):
                        value = fused(builder, factor, x[v][f], value)
                    store_at(builder, builder.gep(joint_at, [place_of(buffer, k, v)]), value)
                    new.append(larger(builder, value, best[v]))
                return new

            return loop(builder, n_components, [constant(vector, -math.inf)] * len(x), component)

        def moments(buffer: Any, features: list[Any]) -> None:
            """Add all components' fractions times the features of their rows."""
            count = len(features) // WHITENING_WIDTH

            def component(k: Any, carried: list[Any]) -> list[Any]:
                mine = [vector_at(builder, joint_at, place_of(buffer, k, v), vector) for v in group]
                first = builder.mul(k, index(count * width))
                for f in range(count):
                    at = builder.add(first, index(f * width))
                    value = vector_at(builder, sums_at, at, vector)
                    for v in group:
                        value = fused(builder, mine[v], features[v * count + f], value)
                    store_at(builder, builder.gep(sums_at, [at]), value)
                return []

            loop(builder, n_components, [], component)

        def subtract(buffer: Any, best: list[Any]) -> None:
            """Take the highest density from all."""

            def component(k: Any, carried: list[Any]) -> list[Any]:
                for v in group:
                    at = place_of(buffer, k, v)
                    away = builder.fsub(vector_at(builder, joint_at, at, vector), best[v])
                    store_at(builder, builder.gep(joint_at, [at]), away)
                return []

            loop(builder, n_components, [], component)

        def fractions(buffer: Any, powers: list[Any]) -> list[Any]:
            """Replace log densities by fractions of the powers; return their sums."""

            def component(k: Any, scale: list[Any]) -> list[Any]:
                places = [place_of(buffer, k, v) for v in group]
                x = [vector_at(builder, joint_at, at, vector) for at in places]
                new = fractions_of(builder, powers, x)
                for at, fraction in zip(places, new, strict=True):
                    store_at(builder, builder.gep(joint_at, [at]), fraction)
                return [added(builder, a, b) for a, b in zip(scale, new, strict=True)]

            return loop(builder, n_components, [nothing] * len(powers), component)

        def add(d: int, with_squares: bool) -> None:
            def body(turn: Any, carried: list[Any]) -> list[Any]:
                product, exponents, highest, *features = carried
                now, before = buffer_of(turn), buffer_of(builder.add(turn, index(1)))
                first = builder.add(start, builder.mul(turn, index(WHITENING_WIDTH * width * d)))
                x = [
                    features_of(builder.add(first, index(v * width * d)), d, with_squares)
                    for v in group
                ]
                best = densities(now, x, d + with_squares)
                moments(before, features)
                powers = powers_near(builder, best, lambda: subtract(now, best))
                scale = fractions(now, powers)
                features = []
                for v in group:
                    share = reciprocal_of(builder, scale[v])
                    features += [share, *(builder.fmul(share, each) for each in x[v])]
                    product = builder.fmul(product, scale[v])
                    highest = added(builder, highest, powers[v].exponent)
                product, exponent = without_exponent(builder, product)
                return [product, builder.add(exponents, exponent), highest, *features]

            integers = integers_like(vector)
            zeros = ir.Constant(integers, [0] * width)
            none = [nothing] * (WHITENING_WIDTH * (1 + d + with_squares))
            carried = loop(builder, n, [one, zeros, nothing, *none], body)
            product, exponents, highest, *features = carried
            moments(buffer_of(builder.add(n, index(1))), features)
            powers = added(builder, highest, builder.sitofp(exponents, vector))
            logarithm = log_of(builder, product)
            value = fused(builder, powers, constant(vector, math.log(2.0)), logarithm)
            value = folded(builder, value)
            if value.type != likelihood_at.type.pointee:
                value = builder.fpext(value, likelihood_at.type.pointee)
            builder.store(builder.fadd(builder.load(likelihood_at), value), likelihood_at)

        cases = {}
        for columns in range(1, MOST_COLUMNS + 1):
            for squares in (False, True):
                cases[2 * columns + squares] = partial(add, columns, squares)
        chosen(builder, builder.add(d, m), cases)
        return context.get_dummy_value()

    size = types.intp
    parameters = (centre, slopes, constants, joint, sums, log_likelihood)
    return types.void(rows, size, size, size, size, size, *parameters), codegen
