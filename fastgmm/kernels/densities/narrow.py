"""Mixtures in up to four columns: a few vectors of rows from end to end in one loop.

With so few columns nearly all time goes to exponentials, and the passes over a tile, which wait for
each other and for the cache, cost as much again. Here a group of vectors of rows stays in
registers, columns, features, maxima, sums and shares; only what there is one of for every component
goes through memory, a few kilobytes that are overwritten by the next group.

Near a common centre all log densities are linear in the features of a row: its columns and |x|^2
(``LinearDensity``), or its columns and their products (``UnrolledDensity``: log_scale - |W x + b|^2
multiplied out takes no more products). The moments are sums of the same features.
"""

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from fastgmm._jit import intrinsic, ir, kernel, overload, types
from fastgmm._typing import FloatArray
from fastgmm.kernels.blocks import WHITENING_WIDTH, data_of, index, loop, number_at, vector_at
from fastgmm.kernels.columns import chunk_rows, columns_of_rows
from fastgmm.kernels.densities.features import products_of
from fastgmm.kernels.densities.linear import VECTORS_TOGETHER, LinearDensity
from fastgmm.kernels.densities.powers import fractions_of, powers_near, without_exponent
from fastgmm.kernels.densities.products import add_lanes, chosen
from fastgmm.kernels.densities.unrolled import UnrolledDensity
from fastgmm.kernels.memory import aligned, cleared, fill, flattened
from fastgmm.simd import lanes, lanes_of
from fastgmm.simd.arithmetic import added, fused, larger, reciprocal_of
from fastgmm.simd.elementary import log_of
from fastgmm.simd.memory import store_at
from fastgmm.simd.shuffles import folded
from fastgmm.simd.vectors import constant, integers_like, llvm_vector, splat, vector_of

MOST_COLUMNS = 3
"""Of a ``LinearDensity``, whose passes are compiled for every number of columns at once."""

MOST_FEATURES = 9
"""Of an ``UnrolledDensity``: three columns with their products, four with their squares (1.1 to 1.3
times as fast as tiles). Four with their products and eight with their squares gain nothing."""

MOST_COMPONENTS = 64
MOST_SUMS = 320
"""More vectors of sums, or components, would not leave room in L1 for each other."""

FEW_FEATURES = 5
"""So many features of a group lie in registers; more are loaded, and serve two components a time:
with nine, 1.05 to 1.2 times as fast; with five, slower."""

GROUPS_AT_ONCE = VECTORS_TOGETHER // WHITENING_WIDTH
"""Groups that are summed before their lanes are, and float32 becomes float64."""


def n_linear_features(density: Any) -> int:
    """Return in how many features of a row all log densities are linear; 0 if in none, or many."""
    d = density.means.shape[1]
    if isinstance(density, LinearDensity) and d <= MOST_COLUMNS:
        return int(density.slopes.shape[1])
    if isinstance(density, UnrolledDensity) and density.near:
        m = int(d + density.whitening.shape[1])
        return m if m <= MOST_FEATURES else 0
    return 0


def add_whole_groups(rows: FloatArray, density: Any, statistics: Any) -> int:
    """Add rows (n, d) of weight one to the statistics, as many as fill groups; return how many.

    None, and 0, if columns or components are too many, or too far apart; or for one component,
    whose responsibilities are 1 in tiles, and here the product of a number and its reciprocal.
    """
    k = len(density.means)
    m = n_linear_features(density)
    if not m or not 1 < k <= MOST_COMPONENTS or k * (1 + m) > MOST_SUMS:
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
    flat = flattened(rows)
    slopes, constants = to_base_two(density)
    m = slopes.size // n_components
    width, group = lanes_of(flat), chunk_rows(flat)
    joint = cleared(2 * (n_components + 8) * group, flat)
    n_sums = n_components * (1 + m)
    whole = (n_sums + width - 1) // width * width
    sums, totals = cleared(whole * width, flat), cleared(whole, statistics.counts)
    log_likelihood = cleared(1, statistics.counts)
    n_groups = rows.shape[0] // group
    for first in range(0, n_groups, GROUPS_AT_ONCE):
        add_groups(
            flat, first * group * d, min(GROUPS_AT_ONCE, n_groups - first), d, m, n_components,
            density, density.centre, slopes, constants, joint, sums, log_likelihood,
        )  # fmt: skip
        add_lanes(sums, n_sums, totals)
    for k in range(n_components):
        first = k * (1 + m)
        statistics.counts[k] += totals[first]
        for j in range(d):
            statistics.first[k, j] += totals[first + 1 + j]
        for p in range(m - d):
            statistics.second[k, p] += totals[first + 1 + d + p]
    statistics.log_likelihood[0] += log_likelihood[0]


def to_base_two(density: Any) -> tuple[FloatArray, FloatArray]:
    """Return slopes (k m,) and constants (k,) of log densities to base two."""
    raise NotImplementedError("implemented for two densities, for kernels only")


@overload(to_base_two, makes_arrays=True)
def _to_base_two(density: Any) -> Any:
    return {LinearDensity: _of_linear, UnrolledDensity: _of_unrolled}[density.instance_class]


def _of_linear(density: Any) -> Any:
    per_bit = density.means.dtype.type(1 / math.log(2.0))
    n_components, m = density.slopes.shape
    slopes = aligned(n_components * m, density.means)
    constants = aligned(n_components, density.means)
    for k in range(n_components):
        constants[k] = per_bit * (density.log_scale[k] - density.squares[k])
        for f in range(m):
            slopes[k * m + f] = per_bit * density.slopes[k, f]
    return slopes, constants


def _of_unrolled(density: Any) -> Any:
    """-|W x + b|^2 = -b.b - 2 (b W) x - sum over rows w of W of (w x)^2, in float64.

    What is rounded here errs alike for all rows: in float32 it shows in the log likelihood.
    """
    per_bit = 1 / math.log(2.0)
    n_components, d = density.means.shape
    p = density.whitening.shape[1]
    is_triangle = p > d
    m = d + p
    slopes, sums = aligned(n_components * m, density.means), aligned(m, np.empty(0))
    constants = aligned(n_components, density.means)
    for k in range(n_components):
        fill(sums, 0, m, 0)
        constant = float(density.log_scale[k])
        for i in range(d):
            bias = float(density.biases[k, i])
            constant -= bias * bias
            start = i * (i + 1) // 2 if is_triangle else 0
            for j in range(0 if is_triangle else i, i + 1):
                w = float(density.whitening[k, start + j])
                sums[j] -= 2 * w * bias
                before = j * (j + 1) // 2 if is_triangle else 0
                for other in range(0 if is_triangle else j, j):
                    sums[d + before + other] -= 2 * w * density.whitening[k, start + other]
                sums[d + before + j] -= w * w
        constants[k] = per_bit * constant
        for f in range(m):
            slopes[k * m + f] = per_bit * sums[f]
    return slopes, constants


def products_in(density: Any) -> list[Any] | None:
    """Return the features behind the columns: each is a sum of products x_i x_j.

    None if the type of the density does not tell (see ``add_groups``).
    """
    if density.instance_class is LinearDensity:
        return None
    band = density.types[density.fields.index("band")]
    return [[pair] for pair in products_of(band)]


Body = Callable[[list[Any], list[Any]], list[Any]]
"""Emits what is done for some components; takes and returns what is carried on."""


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
    density: Any,
    centre: Any,
    slopes: Any,
    constants: Any,
    joint: Any,
    sums: Any,
    log_likelihood: Any,
) -> Any:
    """Add responsibilities times 1 and the features to ``sums`` (k, 1 + m) of vectors.

    The rows begin at ``start`` in flat memory. The features are their columns about the centre and
    products of these: those that the type of ``density`` names, or |x|^2, left out where m = d.
    ``slopes`` (k, m) are flat, of logarithms to base two; ``joint`` has room for two buffers of
    densities.

    The moments of a group are added between the next one's densities and exponentials: these would
    have to wait for the maxima, as moments have for the shares (7 of 66 cycles a vector).
    """
    vector_type = vector_of(rows.dtype)
    products = products_in(density)

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        vector = llvm_vector(vector_type)
        width = vector.count
        pointers = [
            data_of(context, signature.args[i], arguments[i], builder)
            for i in (0, 7, 8, 9, 10, 11, 12)
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

        def features_of(at: Any, d: int, products: list[Any]) -> list[Any]:
            loaded = columns_of_rows(builder, rows_at, at, d, vector)
            centre = [number(centre_at, index(j)) for j in range(d)]
            x = [builder.fsub(column, at) for column, at in zip(loaded, centre, strict=True)]
            features = list(x)
            for (first, second), *more in products:
                feature = builder.fmul(x[first], x[second])
                for i, j in more:
                    feature = fused(builder, x[i], x[j], feature)
                features.append(feature)
            return features

        def for_components(count: int, carried: list[Any], body: Body) -> list[Any]:
            """Run a body for all components, as many at a time as ``count`` features ask for."""
            some = 1 if count <= FEW_FEATURES else 2
            turns = builder.sdiv(n_components, index(some))

            def together(turn: Any, carried: list[Any]) -> list[Any]:
                first = builder.mul(turn, index(some))
                return body([builder.add(first, index(i)) for i in range(some)], carried)

            carried = loop(builder, turns, carried, together)
            if some == 1:
                return carried
            done = builder.mul(turns, index(some))
            rest = builder.sub(n_components, done)
            return loop(
                builder, rest, carried, lambda turn, old: body([builder.add(done, turn)], old)
            )

        def densities(buffer: Any, x: list[Any]) -> list[Any]:
            """Write all components' log densities; return the highest."""
            count = len(x[0])

            def components(ks: list[Any], best: list[Any]) -> list[Any]:
                values = [[number(constants_at, k)] * len(x) for k in ks]
                for f in range(count):
                    for value, k in zip(values, ks, strict=True):
                        at = builder.add(builder.mul(k, index(count)), index(f))
                        factor = number(slopes_at, at)
                        value[:] = [fused(builder, factor, x[v][f], value[v]) for v in group]
                for value, k in zip(values, ks, strict=True):
                    for v in group:
                        store_at(builder, builder.gep(joint_at, [place_of(buffer, k, v)]), value[v])
                    best = [larger(builder, a, b) for a, b in zip(value, best, strict=True)]
                return best

            return for_components(count, [constant(vector, -math.inf)] * len(x), components)

        def moments(buffer: Any, features: list[Any]) -> None:
            """Add all components' fractions times the features of their rows."""
            count = len(features) // WHITENING_WIDTH

            def components(ks: list[Any], carried: list[Any]) -> list[Any]:
                fractions = [
                    [vector_at(builder, joint_at, place_of(buffer, k, v), vector) for v in group]
                    for k in ks
                ]
                for f in range(count):
                    for fraction, k in zip(fractions, ks, strict=True):
                        at = builder.mul(k, index(count * width))
                        at = builder.add(at, index(f * width))
                        value = vector_at(builder, sums_at, at, vector)
                        for v in group:
                            value = fused(builder, fraction[v], features[v * count + f], value)
                        store_at(builder, builder.gep(sums_at, [at]), value)
                return []

            for_components(count - 1, [], components)

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

        def add(d: int, products: list[Any]) -> None:
            def body(turn: Any, carried: list[Any]) -> list[Any]:
                product, exponents, highest, *features = carried
                now, before = buffer_of(turn), buffer_of(builder.add(turn, index(1)))
                first = builder.add(start, builder.mul(turn, index(WHITENING_WIDTH * width * d)))
                x = [
                    features_of(builder.add(first, index(v * width * d)), d, products)
                    for v in group
                ]
                best = densities(now, x)
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
            none = [nothing] * (WHITENING_WIDTH * (1 + d + len(products)))
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

        if products is not None:
            add(1 + products[-1][0][0], products)
            return context.get_dummy_value()
        cases = {}
        for columns in range(1, MOST_COLUMNS + 1):
            cases[2 * columns] = partial(add, columns, [])
            cases[2 * columns + 1] = partial(add, columns, [[(j, j) for j in range(columns)]])
        chosen(builder, builder.add(d, m), cases)
        return context.get_dummy_value()

    size = types.intp
    parameters = (density, centre, slopes, constants, joint, sums, log_likelihood)
    return types.void(rows, size, size, size, size, size, *parameters), codegen
