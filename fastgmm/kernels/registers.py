"""Mixtures so small that a pass over whole vectors of rows never leaves the registers.

One loop does everything for a vector of rows: columns, log densities, exponentials, sums over the
components, features, moments. Its accumulators are ``k (1 + d + p)`` vectors, which is why k is
known when it is compiled, too. The passes over a tile wait for each other and for the cache.
"""

from typing import Any

import numpy as np

from fastgmm._jit import intrinsic, ir, kernel, types
from fastgmm._typing import FloatArray
from fastgmm.kernels.blocks import WIDE, data_of, index, loop, number_at
from fastgmm.kernels.columns import columns_of_rows
from fastgmm.kernels.features import n_features
from fastgmm.kernels.linear import LinearDensity
from fastgmm.kernels.narrow import add_whole_groups
from fastgmm.kernels.softmax import SUMS_PER_LOG
from fastgmm.kernels.unrolled import UnrolledDensity
from fastgmm.simd import lanes, lanes_of
from fastgmm.simd.arithmetic import added, fused, larger, reciprocal_of, smaller
from fastgmm.simd.elementary import exp_of, log_of
from fastgmm.simd.shuffles import folded
from fastgmm.simd.vectors import constant, llvm_vector, splat, vector_of

FEW = {1: (2, 3), 2: (2, 3, 4)} if WIDE else {1: (2, 3), 2: (2,)}
"""Components, by the number of columns, whose pass fits in registers: each has its own kernel.

It is 1.1 to 1.6 times faster than tiles in float64; four in one column were slower (0.9).
"""

VECTORS_AT_ONCE = 64
"""Vectors of rows that are summed before their lanes are, and float32 becomes float64."""


def add_whole_vectors(rows: FloatArray, density: Any, statistics: Any) -> int:
    """Add rows (n, d) of weight one to the statistics, as many as fill vectors; return how many.

    None, and 0, if the mixture is not so small.
    """
    k, d = density.means.shape
    if isinstance(density, LinearDensity):
        return add_whole_groups(rows, density, statistics)
    if not isinstance(density, UnrolledDensity) or not density.near or k not in FEW.get(d, ()):
        return 0
    whole = len(rows) // lanes(rows.dtype) * lanes(rows.dtype)
    add_rows(
        rows[:whole], density.centre, density.whitening, density.biases, density.log_scale,
        density.dimension, (0,) * k, statistics,
    )  # fmt: skip
    return whole


@kernel
def add_rows(
    rows: Any,
    centre: Any,
    whitening: Any,
    biases: Any,
    log_scale: Any,
    dimension: Any,
    few: Any,
    statistics: Any,
) -> None:
    """Add whole vectors of rows to the statistics; ``few`` is a tuple of k integers."""
    n_components, d = biases.shape
    n_features = 1 + d + d * (d + 1) // 2
    flat = rows.reshape(rows.size)
    width = lanes_of(flat)
    n_vectors = rows.shape[0] // width
    sums = np.zeros(n_components * n_features)
    for first in range(0, n_vectors, VECTORS_AT_ONCE):
        statistics.log_likelihood[0] += add_in_registers(
            flat, first * width * d, min(VECTORS_AT_ONCE, n_vectors - first), centre,
            whitening, biases, log_scale, dimension, few, sums,
        )  # fmt: skip
    for k in range(n_components):
        mine = sums[k * n_features : (k + 1) * n_features]
        statistics.counts[k] += mine[0]
        for j in range(d):
            statistics.first[k, j] += mine[1 + j]
        for p in range(n_features - 1 - d):
            statistics.second[k, p] += mine[1 + d + p]


@intrinsic
def add_in_registers(
    typingctx: Any,
    rows: Any,
    start: Any,
    n_vectors: Any,
    centre: Any,
    whitening: Any,
    biases: Any,
    log_scale: Any,
    dimension: Any,
    few: Any,
    sums: Any,
) -> Any:
    """Add responsibilities times features (k, 1 + d + p) to ``sums``; return the log likelihood.

    The rows begin at ``start`` in flat memory, ``n_vectors`` vectors of them; ``few`` is a tuple of
    k integers, ``dimension`` one of d. The features are 1, x and x_i x_j, j <= i, about the centre.
    """
    vector_type = vector_of(rows.dtype)
    d, n_components = len(dimension), len(few)

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        vector = llvm_vector(vector_type)
        lanes = vector.count
        rows_at, centre_at, whitening_at, biases_at, scale_at, sums_at = (
            data_of(context, signature.args[i], arguments[i], builder) for i in (0, 3, 4, 5, 6, 9)
        )
        start, n = arguments[1:3]
        one = constant(vector, 1.0)

        def parameter(pointer: Any, which: int) -> Any:
            return splat(builder, number_at(builder, pointer, index(which)), lanes)

        def columns(turn: Any) -> list[Any]:
            at = builder.add(start, builder.mul(turn, index(d * lanes)))
            loaded = columns_of_rows(builder, rows_at, at, d, vector)
            return [
                builder.fsub(column, parameter(centre_at, j)) for j, column in enumerate(loaded)
            ]

        def log_density(x: list[Any], k: int) -> Any:
            result = parameter(scale_at, k)
            for i in range(d):
                y = parameter(biases_at, k * d + i)
                for j in range(i + 1):
                    which = k * (d * (d + 1) // 2) + i * (i + 1) // 2 + j
                    y = fused(builder, x[j], parameter(whitening_at, which), y)
                result = fused(builder, builder.fneg(y), y, result)
            return result

        def body(turn: Any, carried: list[Any]) -> list[Any]:
            product, highest, *moments = carried
            x = columns(turn)
            best, fractions = _fractions(builder, [log_density(x, k) for k in range(n_components)])
            scale = fractions[0]
            for fraction in fractions[1:]:
                scale = added(builder, scale, fraction)
            share = reciprocal_of(builder, scale)
            scaled = [builder.fmul(share, column) for column in x]
            products = [builder.fmul(scaled[i], x[j]) for i in range(d) for j in range(i + 1)]
            features = [share, *scaled, *products]
            terms = [(fraction, feature) for fraction in fractions for feature in features]
            return [
                builder.fmul(product, scale),
                added(builder, highest, best),
                *(fused(builder, *term, old) for term, old in zip(terms, moments, strict=True)),
            ]

        def stretch(turn: Any, carried: list[Any]) -> list[Any]:
            first = builder.mul(turn, index(SUMS_PER_LOG))
            left = builder.sub(n, first)
            whole = builder.icmp_signed(">", left, index(SUMS_PER_LOG))
            count = builder.select(whole, index(SUMS_PER_LOG), left)
            logarithms, *rest = carried
            product, *rest = loop(
                builder, count, [one, *rest], lambda v, each: body(builder.add(first, v), each)
            )
            return [added(builder, logarithms, log_of(builder, product)), *rest]

        n_sums = n_components * n_features(d)
        stretches = builder.sdiv(builder.add(n, index(SUMS_PER_LOG - 1)), index(SUMS_PER_LOG))
        zeros = [constant(vector, 0.0)] * (2 + n_sums)
        logarithms, highest, *moments = loop(builder, stretches, zeros, stretch)
        for which, moment in enumerate(moments):
            place = builder.gep(sums_at, [index(which)])
            total = _double(builder, folded(builder, moment))
            builder.store(builder.fadd(builder.load(place), total), place)
        return _double(builder, folded(builder, added(builder, logarithms, highest)))

    size = types.intp
    parameters = (centre, whitening, biases, log_scale, dimension, few)
    return types.float64(rows, size, size, *parameters, sums), codegen


def _fractions(builder: Any, densities: list[Any]) -> tuple[Any, list[Any]]:
    """Return the highest log density and exp(each - highest)."""
    best = densities[0]
    for density in densities[1:]:
        best = larger(builder, density, best)
    if len(densities) != 2:
        each = [builder.fsub(density, best) for density in densities]
        return best, [exp_of(builder, x, bounded_above=False) for x in each]
    # one exponential: the larger component's is exp(0) = 1
    left, right = densities
    one = constant(best.type, 1.0)
    lower = builder.fsub(smaller(builder, left, right), best)
    lower = exp_of(builder, lower, bounded_above=False)
    is_left = builder.fcmp_ordered(">", left, right)
    return best, [builder.select(is_left, one, lower), builder.select(is_left, lower, one)]


def _double(builder: Any, number: Any) -> Any:
    double = ir.DoubleType()
    return number if number.type == double else builder.fpext(number, double)
