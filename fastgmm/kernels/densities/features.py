"""Responsibilities times the features of rows: the moments about a common centre.

The features of a row are 1, x_i and x_i x_j, j <= i, times the row's share. They are not kept but
multiplied where they are needed, from two *factors* each: 45 features of a tile at d = 8 would
leave L1, and to write them took a third of the M-step.
"""

from typing import Any

from fastgmm._jit import cgutils, intrinsic, ir, types
from fastgmm.kernels.blocks import (
    CHUNK_VECTORS,
    PRODUCT_HEIGHT,
    PRODUCT_WIDTH,
    Operand,
    add_totals,
    by_height,
    products_with,
)
from fastgmm.kernels.columns import pitch
from fastgmm.kernels.emission import (
    data_of,
    index,
    loop,
    number_at,
    vector_at,
)
from fastgmm.simd.memory import store_at
from fastgmm.simd.vectors import llvm_vector, vector_of


def products_of(band: Any) -> list[tuple[int, int]]:
    """Return the entries (i, j) of W, row by row, which are the products x_i x_j as well.

    ``band`` is the compile-time type of a tuple of d tuples, of as many integers as row i of the
    triangle W has numbers; these end at the diagonal. Full covariances have i + 1, diagonal ones 1.
    """
    return [(i, j) for i in range(len(band)) for j in range(i + 1 - len(band[i]), i + 1)]


def n_features(band: Any) -> int:
    """Return how many features there are: 1, the columns and their products."""
    return 1 + len(band) + len(products_of(band))


def n_factors(d: int) -> int:
    """Return how many rows a chunk of factors has: x, 1, the share, and the share times x."""
    return 2 * d + 2


def factors_of_features(band: Any) -> list[tuple[int, int]]:
    """Return which two factors each feature is the product of."""
    d = len(band)
    one, share, scaled = d, d + 1, d + 2
    products = [(scaled + i, j) for i, j in products_of(band)]
    return [(share, one), *((share, j) for j in range(d)), *products]


def block_of(band: Any) -> tuple[int, int]:
    """Return how many components, at most, and how many features a block has.

    Blocks of three features come out even but for full covariances in three columns (and six).
    """
    if n_features(band) == 10 and PRODUCT_WIDTH == 3:
        return 4, 5
    return PRODUCT_HEIGHT, PRODUCT_WIDTH


@intrinsic
def shape_of(typingctx: Any, band: Any) -> Any:
    """Return the factors, the features, those of a block, and its most components: constants."""
    most, width = block_of(band)
    numbers = n_factors(len(band)), n_features(band), width, most
    constants = types.Tuple([types.literal(number) for number in numbers])

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return context.make_tuple(builder, constants, [index(number) for number in numbers])

    return constants(band), codegen


@intrinsic
def write_shares(
    typingctx: Any, factors: Any, at: Any, stride: Any, shares: Any, row: Any, band: Any
) -> Any:
    """Write the share of a vector of rows, and its products with the columns, to the factors.

    Factor f lies at ``at + f stride``; the shares of the rows begin at ``row``.
    """
    vector_type = vector_of(factors.dtype)
    d = len(band)

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        vector = llvm_vector(vector_type)
        factors_at, shares_at = (
            data_of(context, signature.args[i], arguments[i], builder) for i in (0, 3)
        )
        first, step, t = (arguments[i] for i in (1, 2, 4))

        def place(factor: int) -> Any:
            return builder.add(first, builder.mul(index(factor), step))

        share = vector_at(builder, shares_at, t, vector)
        x = [vector_at(builder, factors_at, place(j), vector) for j in range(d)]
        for f, factor in enumerate([share, *(builder.fmul(share, each) for each in x)]):
            store_at(builder, builder.gep(factors_at, [place(d + 1 + f)]), factor)
        return context.get_dummy_value()

    size = types.intp
    return types.void(factors, size, size, shares, size, band), codegen


@intrinsic
def add_feature_products(
    typingctx: Any,
    joint: Any,
    n_components: Any,
    factors: Any,
    n_chunks: Any,
    sums: Any,
    band: Any,
) -> Any:
    """Add the products of all components and all features, over a tile, to ``sums``.

    ``joint`` has the chunks' (k, rows) matrices one behind the other, ``factors`` their
    (n_factors, rows) matrices. The sums are float64, the components of a feature side by side, in
    as many slots as whole blocks of components need; the last blocks begin so early that they are
    full, too (``slot_of``).
    """
    vector_type = vector_of(joint.dtype)
    pairs, (most, width) = factors_of_features(band), block_of(band)

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        vector = llvm_vector(vector_type)
        run = CHUNK_VECTORS * vector.count
        chunk = index(run)
        pitches = [
            pitch(builder, n_rows, run, vector)
            for n_rows in (arguments[1], index(n_factors(len(band))))
        ]
        joint_at, factors_at, sums_at = (
            data_of(context, signature.args[i], arguments[i], builder) for i in (0, 2, 4)
        )
        n, chunks = arguments[1], arguments[3]
        table = ir.Constant.literal_array([index(row) for pair in pairs for row in pair])
        table_at = builder.bitcast(
            cgutils.global_constant(builder.module, "factors_of_features", table),
            index(0).type.as_pointer(),
        )

        def starts_of(feature: Any) -> list[Any]:
            """Return where the two factors of ``width`` features begin in a chunk."""
            first = builder.mul(feature, index(2))
            rows = [
                number_at(builder, table_at, builder.add(first, index(i))) for i in range(2 * width)
            ]
            return [builder.mul(row, chunk) for row in rows]

        def least(a: Any, b: Any) -> Any:
            return builder.select(builder.icmp_signed("<", a, b), a, b)

        def add_blocks(height: int) -> None:
            n_blocks = builder.sdiv(builder.add(n, index(height - 1)), index(height))
            slots = builder.mul(n_blocks, index(height))

            def add_block(f_slot: Any, k_slot: Any) -> None:
                starts = starts_of(least(f_slot, index(len(pairs) - width)))
                first = builder.mul(least(k_slot, builder.sub(n, index(height))), chunk)

                def features(turn: Any, apart: Any) -> list[Any]:
                    at = builder.add(builder.mul(turn, pitches[1]), apart)
                    both = [
                        vector_at(builder, factors_at, builder.add(at, start), vector)
                        for start in starts
                    ]
                    return [builder.fmul(a, b) for a, b in zip(both[::2], both[1::2], strict=True)]

                products = products_with(
                    builder,
                    Operand(joint_at, first, pitches[0], chunk),
                    features, chunks, CHUNK_VECTORS, height, width, vector,
                )  # fmt: skip
                at = builder.add(builder.mul(f_slot, slots), k_slot)
                for column in range(width):
                    add_totals(builder, sums_at, at, [row[column] for row in products])
                    at = builder.add(at, slots)

            def of_features(turn: Any, nothing: list[Any]) -> list[Any]:
                f_slot = builder.mul(turn, index(width))

                def of_components(turn: Any, nothing: list[Any]) -> list[Any]:
                    add_block(f_slot, builder.mul(turn, index(height)))
                    return []

                return loop(builder, n_blocks, [], of_components)

            loop(builder, index(-(-len(pairs) // width)), [], of_features)

        by_height(builder, n, most, add_blocks)
        return context.get_dummy_value()

    return types.void(joint, types.intp, factors, types.intp, sums, band), codegen
