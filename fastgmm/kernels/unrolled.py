"""Full covariances of up to eight columns: log densities unrolled, moments as one product.

The E-step loops over nothing but rows and components; its columns are unrolled when the kernel is
compiled, one kernel for each number of columns. That number comes with the *type* of a tuple of as
many integers (``dimension``), because only types are known at compile time.

Where all components lie near a common ``centre``, both steps take the rows about it. The whitening
needs no subtraction a component then, y = W (x - centre) + W (centre - mean); and the moments of
all components about the centre are one matrix product, the responsibilities (k, t) times the
*features* (t, 1 + d + p) of a row: 1, x and the products x_i x_j. That is a third fewer instructions
than about each component's own mean at d = 3. With means s standard deviations from the centre the
moments lose eps s^2, so components far apart are centred one by one (``covariance/nearness.py``).
"""

from typing import Any, NamedTuple

from fastgmm._jit import intrinsic, ir, is_record, overload, part, types
from fastgmm._typing import FloatArray
from fastgmm.kernels.blocks import (
    Operand,
    data_of,
    dot_products,
    index,
    literal,
    loop,
    number_at,
    vector_at,
)
from fastgmm.kernels.expectation import accumulate, aligned, log_density, stride_of, work
from fastgmm.kernels.softmax import share_out
from fastgmm.simd import broadcast, lanes_of, load, load_broadcast, store
from fastgmm.simd.arithmetic import fused
from fastgmm.simd.memory import store_at
from fastgmm.simd.shuffles import folded, summed
from fastgmm.simd.vectors import constant, llvm_vector, shuffle, splat, vector_of

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
        columns = [_column(builder, loaded, c, d) for c in range(d)]
        return context.make_tuple(builder, result, columns)

    return result(rows, types.intp, dimension), codegen


def _column(builder: Any, loaded: list[Any], column: int, d: int) -> Any:
    """Pick every d-th number out of d vectors that follow each other in memory."""
    lanes = loaded[0].type.count
    # lane t of the result is number t d + column: in which vector, at which lane
    places = [divmod(t * d + column, lanes) for t in range(lanes)]
    sources = sorted({source for source, _ in places})
    if len(sources) == 1:
        return shuffle(builder, loaded[sources[0]], loaded[sources[0]], [p for _, p in places])
    result = loaded[sources[0]]
    picked = False
    for source in sources[1:]:
        order = []
        for t, (at, lane) in enumerate(places):
            if at == source:
                order.append(lanes + lane)
            else:
                order.append(t if picked else lane)
        result = shuffle(builder, result, loaded[source], order)
        picked = True
    return result


@intrinsic(prefer_literal=True)
def load_group(
    typingctx: Any, columns: Any, at: Any, stride: Any, width: Any, dimension: Any
) -> Any:
    """Return ``width`` vectors of each of d columns, which lie ``stride`` apart: a flat tuple."""
    vector_type = vector_of(columns.dtype)
    d, vectors = len(dimension), literal(width)
    result = types.UniTuple(vector_type, d * vectors)

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        vector = llvm_vector(vector_type)
        pointer = data_of(context, signature.args[0], arguments[0], builder)
        x = []
        for j in range(d):
            begin = builder.add(arguments[1], builder.mul(index(j), arguments[2]))
            places = [builder.add(begin, index(v * vector.count)) for v in range(vectors)]
            x += [vector_at(builder, pointer, place, vector) for place in places]
        return context.make_tuple(builder, result, x)

    size = types.intp
    return result(columns, size, size, width, dimension), codegen


@intrinsic
def write_log_densities(
    typingctx: Any,
    group: Any,
    whitening: Any,
    component: Any,
    biases: Any,
    bias_at: Any,
    log_scale: Any,
    joint: Any,
    joint_at: Any,
    dimension: Any,
) -> Any:
    """Write log_scale - |W x + bias|^2 of a group of vectors of rows for one component.

    ``whitening`` (k p,) has packed rows of W, ``log_scale`` is (k,), the biases (d,) begin at
    ``bias_at``; all are flat.
    """
    d = len(dimension)
    vectors = len(group) // d

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        vector = llvm_vector(group.dtype)
        lanes = vector.count
        whitening_at, biases_at, scale_at, joint_to = (
            data_of(context, signature.args[i], arguments[i], builder) for i in (1, 3, 5, 6)
        )
        k, bias_first, joint_first = (arguments[i] for i in (2, 4, 7))
        row_of_k = builder.mul(k, index(d * (d + 1) // 2))

        def parameter(pointer: Any, start: Any, which: int) -> Any:
            at = builder.add(start, index(which))
            return splat(builder, number_at(builder, pointer, at), lanes)

        # column after column: the sums of different rows do not wait for each other
        y = [[parameter(biases_at, bias_first, i)] * vectors for i in range(d)]
        results = [parameter(scale_at, k, 0)] * vectors
        for j in range(d):
            x = [builder.extract_value(arguments[0], j * vectors + v) for v in range(vectors)]
            for i in range(j, d):
                factor = parameter(whitening_at, row_of_k, i * (i + 1) // 2 + j)
                y[i] = [fused(builder, x[v], factor, y[i][v]) for v in range(vectors)]
            results = [
                fused(builder, builder.fneg(y[j][v]), y[j][v], results[v]) for v in range(vectors)
            ]
        for v in range(vectors):
            place = builder.gep(joint_to, [builder.add(joint_first, index(v * lanes))])
            store_at(builder, place, results[v])
        return context.get_dummy_value()

    size = types.intp
    return (
        types.void(group, whitening, size, biases, size, log_scale, joint, size, dimension),
        codegen,
    )


@intrinsic
def write_features(
    typingctx: Any,
    columns: Any,
    at: Any,
    features: Any,
    feature_at: Any,
    stride: Any,
    shares: Any,
    row: Any,
    dimension: Any,
) -> Any:
    """Write the features 1, x_i and x_i x_j, j <= i, of a vector of rows, times the rows' shares.

    Column j lies at ``at + j stride``, feature f goes to ``feature_at + f stride``; the shares of
    the rows begin at ``row``.
    """
    vector_type = vector_of(columns.dtype)
    d = len(dimension)

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        vector = llvm_vector(vector_type)
        columns_at, features_to, shares_at = (
            data_of(context, signature.args[i], arguments[i], builder) for i in (0, 2, 5)
        )
        first, to, step, t = (arguments[i] for i in (1, 3, 4, 6))

        def column(j: int) -> Any:
            return vector_at(
                builder, columns_at, builder.add(first, builder.mul(index(j), step)), vector
            )

        x = [column(j) for j in range(d)]
        share = vector_at(builder, shares_at, t, vector)
        scaled = [builder.fmul(share, each) for each in x]
        products = [builder.fmul(scaled[i], x[j]) for i in range(d) for j in range(i + 1)]
        for f, feature in enumerate([share, *scaled, *products]):
            place = builder.add(to, builder.mul(index(f), step))
            store_at(builder, builder.gep(features_to, [place]), feature)
        return context.get_dummy_value()

    size = types.intp
    return (
        types.void(columns, size, features, size, size, shares, size, dimension),
        codegen,
    )


@intrinsic(prefer_literal=True)
def add_features(
    typingctx: Any,
    joint: Any,
    joint_at: Any,
    features: Any,
    feature_at: Any,
    stride: Any,
    n_vectors: Any,
    component: Any,
    feature: Any,
    height: Any,
    width: Any,
    dimension: Any,
    counts: Any,
    first: Any,
    second: Any,
) -> Any:
    """Add the sums over a tile of ``height`` components times ``width`` features to the moments.

    The rows of both matrices are ``stride`` apart; the block's first ones begin at ``joint_at``
    and at ``feature_at``. ``counts`` (k,), ``first`` (k d,) and ``second`` (k p,) are flat float64.
    """
    vector_type = vector_of(joint.dtype)
    d, rows, columns = len(dimension), literal(height), literal(width)

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        vector = llvm_vector(vector_type)
        joint_to, features_to, counts_at, first_at, second_at = (
            data_of(context, signature.args[i], arguments[i], builder) for i in (0, 2, 11, 12, 13)
        )
        r0, f0, step, n, k, f = (arguments[i] for i in (1, 3, 4, 5, 6, 7))
        lanes = index(vector.count)
        left = Operand(joint_to, r0, lanes, step)
        right = Operand(features_to, f0, lanes, step)
        sums = dot_products(builder, left, right, n, rows, columns, vector)
        totals = _totals(builder, [sums[r][w] for w in range(columns) for r in range(rows)])
        for w in range(columns):
            which = builder.add(f, index(w))
            # 1, then the columns, then their products
            is_count = builder.icmp_signed("<", which, index(1))
            is_first = builder.icmp_signed("<", which, index(1 + d))
            pointer, apart = second_at, index(d * (d + 1) // 2)
            at = builder.sub(which, index(1 + d))
            for inside, its_pointer, its_apart, begin in (
                (is_first, first_at, d, 1),
                (is_count, counts_at, 1, 0),
            ):
                pointer = builder.select(inside, its_pointer, pointer)
                apart = builder.select(inside, index(its_apart), apart)
                at = builder.select(inside, builder.sub(which, index(begin)), at)
            for r in range(rows):
                component = builder.add(k, index(r))
                place = builder.gep(pointer, [builder.add(builder.mul(component, apart), at)])
                total = builder.fadd(builder.load(place), totals[w * rows + r])
                builder.store(total, place)
        return context.get_dummy_value()

    size = types.intp
    return (
        types.void(
            joint, size, features, size, size, size, size, size, height, width, dimension,
            counts, first, second,
        ),
        codegen,
    )  # fmt: skip


def _totals(builder: Any, sums: list[Any]) -> list[Any]:
    """Return the sums of some vectors' lanes as float64 numbers."""
    vector = sums[0].type
    numbers = []
    for start in range(0, len(sums), vector.count):
        some = sums[start : start + vector.count]
        more = [constant(vector, 0.0)] * (vector.count - len(some))
        together = summed(builder, [*some, *more])
        for lane in range(len(some)):
            number = builder.extract_element(together, ir.Constant(ir.IntType(32), lane))
            if number.type != ir.DoubleType():
                number = builder.fpext(number, ir.DoubleType())
            numbers.append(number)
    return numbers


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
    """(k, p) packed rows of W = sqrt(1/2) L^-1, where L L^T is the covariance."""
    biases: FloatArray
    """(k, d) W (centre - mean)."""
    near: bool
    """Whether all means are so near the centre that both steps may take the rows about it."""
    centre: FloatArray
    """(d,) what rows are taken about; zeros unless ``near``."""
    origins: FloatArray
    """(k, d) what the statistics are centred about: the centre if ``near``, else the means."""
    dimension: tuple[int, ...]
    """d integers: their number, a part of the type, is what counts."""


@part
def group_vectors(dimension: Any) -> int:
    """Return how many vectors of rows the E-step takes at a time."""
    return 4 if len(dimension) <= 3 else 2


@part
def padded_rows(tile_rows: int, like: Any) -> int:
    """Return the rows of a tile rounded up to four vectors."""
    group = 4 * lanes_of(like)
    return (tile_rows + group - 1) // group * group


@overload(work)
def _work(density: Any, tile_rows: Any) -> Any:
    if not is_record(density, UnrolledDensity):
        return None

    def columns(density: Any, tile_rows: Any) -> Any:
        d = density.means.shape[1]
        n_features = 1 + d + d * (d + 1) // 2
        # a tile of columns and of features, zeros for biases, and a vector of rows behind them for
        # the last rows of all
        size = (d + n_features) * stride_of(tile_rows, density.means)
        scratch = aligned(size + (1 + lanes_of(density.means)) * d, density.means)
        scratch[size : size + d] = 0
        return scratch

    return columns


@overload(log_density)
def _log_density(
    rows: Any, start: Any, size: Any, density: Any, scratch: Any, joint: Any, at: Any, stride: Any
) -> Any:
    return unrolled_log_density if is_record(density, UnrolledDensity) else None


@overload(accumulate)
def _accumulate(
    rows: Any,
    start: Any,
    size: Any,
    density: Any,
    scratch: Any,
    joint: Any,
    stride: Any,
    shares: Any,
    statistics: Any,
) -> Any:
    return unrolled_accumulate if is_record(density, UnrolledDensity) else None


# The two functions below are the implementations themselves and hold their loops over register
# blocks: every function between a block and its kernel is optimised once more.


def unrolled_log_density(
    rows: Any,
    start: Any,
    size: Any,
    density: Any,
    scratch: Any,
    joint: Any,
    at: Any,
    stride: Any,
) -> None:
    """Write log_scale - |L^-1 (x - mean)|^2 for all components (see kernels/expectation.py)."""
    n_components, d = density.means.shape
    width = lanes_of(rows)
    whitening = density.whitening.reshape(density.whitening.size)
    biases = density.biases.reshape(density.biases.size)
    z_at = d * stride
    zeros_at = z_at + (1 + d + d * (d + 1) // 2) * stride
    # whole groups of four vectors are computed, the last of them from zeros
    end = (size + 4 * width - 1) // (4 * width) * (4 * width)
    for t in range(0, end, width):
        if t + width <= size:
            columns = load_columns(rows, (start + t) * d, density.dimension)
        else:
            # the last rows are completed with zeros: nothing lies behind them to read
            spare = zeros_at + d
            for i in range(width * d):
                inside = t + i // d < size
                scratch[spare + i] = rows[(start + t) * d + i] if inside else 0
            columns = load_columns(scratch, spare, density.dimension)
        for j in range(d):
            store(scratch, j * stride + at + t, columns[j] - load_broadcast(density.centre, j))
    group = group_vectors(density.dimension)
    if density.near:
        for t in range(0, end, group * width):
            x = load_group(scratch, at + t, stride, group_vectors(density.dimension), density.dimension)
            for k in range(n_components):
                write_log_densities(
                    x, whitening, k, biases, k * d, density.log_scale, joint, k * stride + at + t,
                    density.dimension,
                )  # fmt: skip
        return
    for k in range(n_components):
        for j in range(d):
            mean = broadcast(density.means[k, j])
            for t in range(0, end, width):
                store(scratch, z_at + j * stride + t, load(scratch, j * stride + at + t) - mean)
        for t in range(0, end, group * width):
            z = load_group(
                scratch, z_at + t, stride, group_vectors(density.dimension), density.dimension
            )
            write_log_densities(
                z, whitening, k, scratch, zeros_at, density.log_scale, joint, k * stride + at + t,
                density.dimension,
            )  # fmt: skip


def unrolled_accumulate(
    rows: Any,
    start: Any,
    size: Any,
    density: Any,
    scratch: Any,
    joint: Any,
    stride: Any,
    shares: Any,
    statistics: Any,
) -> None:
    """Add counts and first and second moments about the origins over a tile."""
    n_components, d = density.means.shape
    width = lanes_of(rows)
    n_vectors = (size + width - 1) // width
    counts = statistics.counts
    first = statistics.first.reshape(statistics.first.size)
    second = statistics.second.reshape(statistics.second.size)
    dimension = density.dimension
    if not density.near:
        share_out(joint, stride, n_components, n_vectors, shares)
        origins = density.origins.reshape(density.origins.size)
        for k in range(n_components):
            add_moments(
                scratch, stride, joint, k * stride, n_vectors, origins, k, dimension,
                counts, first, second,
            )  # fmt: skip
        return
    features_at = d * stride
    for t in range(0, size, width):
        write_features(
            scratch, t, scratch, features_at + t, stride, shares, t, dimension
        )
    n_features = 1 + d + d * (d + 1) // 2
    k = 0
    while k < n_components:
        left = n_components - k
        height = 8 if left >= 8 else 4 if left >= 4 else 2 if left >= 2 else 1
        f = 0
        while f < n_features:
            j_at, f_at = k * stride, features_at + f * stride
            wide = f + 3 <= n_features
            if height == 8:
                if wide:
                    add_features(
                        joint, j_at, scratch, f_at, stride, n_vectors, k, f, 8, 3, dimension,
                        counts, first, second,
                    )  # fmt: skip
                else:
                    add_features(
                        joint, j_at, scratch, f_at, stride, n_vectors, k, f, 8, 1, dimension,
                        counts, first, second,
                    )  # fmt: skip
            elif height == 4:
                if wide:
                    add_features(
                        joint, j_at, scratch, f_at, stride, n_vectors, k, f, 4, 3, dimension,
                        counts, first, second,
                    )  # fmt: skip
                else:
                    add_features(
                        joint, j_at, scratch, f_at, stride, n_vectors, k, f, 4, 1, dimension,
                        counts, first, second,
                    )  # fmt: skip
            elif height == 2:
                if wide:
                    add_features(
                        joint, j_at, scratch, f_at, stride, n_vectors, k, f, 2, 3, dimension,
                        counts, first, second,
                    )  # fmt: skip
                else:
                    add_features(
                        joint, j_at, scratch, f_at, stride, n_vectors, k, f, 2, 1, dimension,
                        counts, first, second,
                    )  # fmt: skip
            elif wide:
                add_features(
                    joint, j_at, scratch, f_at, stride, n_vectors, k, f, 1, 3, dimension,
                    counts, first, second,
                )  # fmt: skip
            else:
                add_features(
                    joint, j_at, scratch, f_at, stride, n_vectors, k, f, 1, 1, dimension,
                    counts, first, second,
                )  # fmt: skip
            f += 3 if wide else 1
        k += height
