"""Features of rows times responsibilities: the moments about a common centre."""

from typing import Any

from fastgmm._jit import intrinsic, types
from fastgmm.kernels.blocks import (
    PRODUCT_HEIGHT,
    PRODUCT_WIDTH,
    WHITENING_WIDTH,
    Operand,
    add_totals,
    data_of,
    dot_products,
    index,
    literal,
    vector_at,
)
from fastgmm.simd.memory import store_at
from fastgmm.simd.vectors import llvm_vector, vector_of


def n_features(d: int) -> int:
    """Return how many features there are: 1, the columns and their products."""
    return 1 + d + d * (d + 1) // 2


def features_of_block(d: int) -> int:
    """Return how many features a block has; it divides their number but for d = 6."""
    return 5 if d == 3 and PRODUCT_WIDTH == 3 else PRODUCT_WIDTH


def components_of_block(d: int) -> int:
    """Return how many components a block has at most."""
    return 4 if d == 3 else PRODUCT_HEIGHT


@intrinsic
def shape_of(typingctx: Any, dimension: Any) -> Any:
    """Return the features, those of a block and its most components: compile-time constants."""
    d = len(dimension)
    numbers = n_features(d), features_of_block(d), components_of_block(d)
    constants = types.Tuple([types.literal(number) for number in numbers])

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return context.make_tuple(builder, constants, [index(number) for number in numbers])

    return constants(dimension), codegen


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
    component: Any,
    n_components: Any,
    features: Any,
    feature: Any,
    n_features: Any,
    n_chunks: Any,
    height: Any,
    width: Any,
    sums: Any,
    slot: Any,
) -> Any:
    """Add the products of ``height`` components and ``width`` features, over a tile, to ``sums``.

    ``joint`` has the chunks' (k, rows) matrices one behind the other, ``features`` their
    (n_features, rows) matrices. The sums are float64, the components of a feature side by side, the
    first of the block's at ``slot`` in a row of as many slots as whole blocks of components need.
    """
    vector_type = vector_of(joint.dtype)
    rows, columns = literal(height), literal(width)

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        vector = llvm_vector(vector_type)
        chunk = index(WHITENING_WIDTH * vector.count)
        joint_at, features_at, sums_at = (
            data_of(context, signature.args[i], arguments[i], builder) for i in (0, 3, 9)
        )
        k, n, f, n_rows, chunks = (arguments[i] for i in (1, 2, 4, 5, 6))

        def operand(pointer: Any, first: Any, count: Any) -> Operand:
            pitch = builder.add(builder.mul(count, chunk), index(vector.count))
            return Operand(pointer, builder.mul(first, chunk), pitch, chunk)

        products = dot_products(
            builder,
            operand(joint_at, k, n),
            operand(features_at, f, n_rows),
            chunks,
            WHITENING_WIDTH,
            rows,
            columns,
            vector,
        )
        slots = builder.mul(builder.sdiv(builder.add(n, index(rows - 1)), index(rows)), index(rows))
        at = arguments[10]
        for column in range(columns):
            add_totals(builder, sums_at, at, [row[column] for row in products])
            at = builder.add(at, slots)
        return context.get_dummy_value()

    size = types.intp
    return (
        types.void(joint, size, size, features, size, size, size, height, width, sums, size),
        codegen,
    )
