"""Mixtures so small that a pass over whole vectors of rows never leaves the registers.

One loop does everything for a vector of rows: columns, log densities, exponentials, sums over the
components, features, moments. Its accumulators are ``k (1 + d + p)`` vectors, which is why k is
known when it is compiled, too. The passes over a tile wait for each other and for the cache.
"""

from functools import reduce
from itertools import product as product_of
from typing import Any

import numpy as np

from fastgmm._jit import intrinsic, ir, kernel, types
from fastgmm._typing import FloatArray
from fastgmm.kernels.blocks import WIDE, data_of, index, loop, number_at
from fastgmm.kernels.columns import columns_of_rows
from fastgmm.kernels.densities.features import n_features, products_of, shape_of
from fastgmm.kernels.densities.linear import LinearDensity
from fastgmm.kernels.densities.narrow import add_whole_groups
from fastgmm.kernels.densities.unrolled import UnrolledDensity
from fastgmm.kernels.softmax import SUMS_PER_LOG
from fastgmm.simd import lanes, lanes_of
from fastgmm.simd.arithmetic import added, fused, larger, reciprocal_of, smaller
from fastgmm.simd.elementary import exp_of, log_of
from fastgmm.simd.shuffles import folded
from fastgmm.simd.vectors import constant, llvm_vector, splat, vector_of

FEW = {1: (2, 3, 4, 5, 6), 2: (2, 3, 4, 5), 3: (2,)} if WIDE else {1: (2, 3), 2: (2,)}
"""Components, by the number of columns, whose pass fits in registers: each has its own kernel.

In float64 it is 1.25 to 1.7 times as fast as tiles; 8 in one column and 6 in two are no faster.
"""

TOGETHER = {1: 4, 2: 2, 3: 1}
"""Vectors of rows in one turn of the loop, by the number of columns: what one waits for, another
fills (1 column: 1.25 times as fast, 2 columns: 1.1; four of these spill too much)."""

VECTORS_AT_ONCE = 64
"""Vectors of rows that are summed before their lanes are, and float32 becomes float64."""


def add_whole_vectors(rows: FloatArray, density: Any, statistics: Any) -> int:
    """Add rows (n, d) of weight one to the statistics, as many as fill turns; return how many.

    None, and 0, if the mixture is not so small.
    """
    k, d = density.means.shape
    if isinstance(density, LinearDensity):
        return add_whole_groups(rows, density, statistics)
    if not isinstance(density, UnrolledDensity) or not density.near or k not in FEW.get(d, ()):
        return 0
    together = TOGETHER[d] * lanes(rows.dtype)
    whole = len(rows) // together * together
    add_rows(
        rows[:whole], density.centre, density.whitening, density.biases, density.log_scale,
        density.band, (0,) * k, statistics,
    )  # fmt: skip
    return whole


@kernel
def add_rows(
    rows: Any,
    centre: Any,
    whitening: Any,
    biases: Any,
    log_scale: Any,
    band: Any,
    few: Any,
    statistics: Any,
) -> None:
    """Add whole turns of rows to the statistics; ``few`` is a tuple of k integers."""
    n_components, d = biases.shape
    n_features = shape_of(band)[1]
    flat = rows.reshape(rows.size)
    width = lanes_of(flat)
    n_vectors = rows.shape[0] // width
    sums = np.zeros(n_components * n_features)
    for first in range(0, n_vectors, VECTORS_AT_ONCE):
        statistics.log_likelihood[0] += add_in_registers(
            flat, first * width * d, min(VECTORS_AT_ONCE, n_vectors - first), centre,
            whitening, biases, log_scale, band, few, sums,
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
    band: Any,
    few: Any,
    sums: Any,
) -> Any:
    """Add responsibilities times features (k, 1 + d + p) to ``sums``; return the log likelihood.

    The rows begin at ``start`` in flat memory, ``n_vectors`` vectors of them, a multiple of what a
    turn takes; ``few`` is a tuple of k integers, ``band`` is that of W. The features are 1, x and
    the products of columns in W's band, about the centre.
    """
    vector_type = vector_of(rows.dtype)
    d, n_components = len(band), len(few)
    pairs = products_of(band)
    together = TOGETHER[d]

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        vector = llvm_vector(vector_type)
        lanes = vector.count
        rows_at, centre_at, whitening_at, biases_at, scale_at, sums_at = (
            data_of(context, signature.args[i], arguments[i], builder) for i in (0, 3, 4, 5, 6, 9)
        )
        start, n = arguments[1], builder.sdiv(arguments[2], index(together))
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
            ys = [parameter(biases_at, k * d + i) for i in range(d)]
            for which, (i, j) in enumerate(pairs, k * len(pairs)):
                ys[i] = fused(builder, x[j], parameter(whitening_at, which), ys[i])
            for y in ys:
                result = fused(builder, builder.fneg(y), y, result)
            return result

        def body(turn: Any, carried: list[Any]) -> list[Any]:
            product, highest, *moments = carried
            first = builder.mul(turn, index(together))
            xs = [columns(builder.add(first, index(v))) for v in range(together)]
            densities = [[log_density(x, k) for k in range(n_components)] for x in xs]
            for x, (best, fractions) in zip(xs, _fractions(builder, densities), strict=True):
                scale = fractions[0]
                for fraction in fractions[1:]:
                    scale = added(builder, scale, fraction)
                share = reciprocal_of(builder, scale)
                scaled = [builder.fmul(share, column) for column in x]
                products = [builder.fmul(scaled[i], x[j]) for i, j in pairs]
                terms = product_of(fractions, [share, *scaled, *products])
                moments = [
                    fused(builder, *term, old) for term, old in zip(terms, moments, strict=True)
                ]
                product = builder.fmul(product, scale)
                highest = added(builder, highest, best)
            return [product, highest, *moments]

        turns = SUMS_PER_LOG // together

        def stretch(which: Any, carried: list[Any]) -> list[Any]:
            first = builder.mul(which, index(turns))
            left = builder.sub(n, first)
            whole = builder.icmp_signed(">", left, index(turns))
            count = builder.select(whole, index(turns), left)
            logarithms, *rest = carried
            product, *rest = loop(
                builder,
                count,
                [one, *rest],
                lambda turn, each: body(builder.add(first, turn), each),
            )
            return [added(builder, logarithms, log_of(builder, product)), *rest]

        n_sums = n_components * n_features(band)
        stretches = builder.sdiv(builder.add(n, index(turns - 1)), index(turns))
        zeros = [constant(vector, 0.0)] * (2 + n_sums)
        logarithms, highest, *moments = loop(builder, stretches, zeros, stretch)
        for which, moment in enumerate(moments):
            place = builder.gep(sums_at, [index(which)])
            total = _double(builder, folded(builder, moment))
            builder.store(builder.fadd(builder.load(place), total), place)
        return _double(builder, folded(builder, added(builder, logarithms, highest)))

    size = types.intp
    parameters = (centre, whitening, biases, log_scale, band, few)
    return types.float64(rows, size, size, *parameters, sums), codegen


def _fractions(builder: Any, rows: list[list[Any]]) -> list[tuple[Any, list[Any]]]:
    """Return the highest of each row's log densities, and exp(each - highest)."""
    highest = [reduce(lambda a, b: larger(builder, b, a), densities) for densities in rows]
    if len(rows[0]) == 2:
        return [
            (best, _of_two(builder, *densities, best))
            for densities, best in zip(rows, highest, strict=True)
        ]
    # component by component: neighbouring instructions do not wait for each other
    columns = [
        [
            exp_of(builder, builder.fsub(density, best), bounded_above=False)
            for density, best in zip(column, highest, strict=True)
        ]
        for column in zip(*rows, strict=True)
    ]
    return [
        (best, list(row)) for best, row in zip(highest, zip(*columns, strict=True), strict=True)
    ]


def _of_two(builder: Any, left: Any, right: Any, best: Any) -> list[Any]:
    """Two components need one exponential: the larger one's is exp(0) = 1."""
    one = constant(best.type, 1.0)
    lower = builder.fsub(smaller(builder, left, right), best)
    lower = exp_of(builder, lower, bounded_above=False)
    is_left = builder.fcmp_ordered(">", left, right)
    return [builder.select(is_left, one, lower), builder.select(is_left, lower, one)]


def _double(builder: Any, number: Any) -> Any:
    double = ir.DoubleType()
    return number if number.type == double else builder.fpext(number, double)
