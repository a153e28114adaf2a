"""The nearest of some centres to each row of a chunk, and how sure it is.

Four centres at a time, with the running minimum beside them. Of products the rounding matters where
the best two scores are close: those rows are told apart by differences again (``tell_apart``).
"""

from typing import Any

import numpy as np

from fastgmm._jit import intrinsic, ir, part, types
from fastgmm.kernels.blocks import BLOCK_HEIGHT, CHUNK_VECTORS
from fastgmm.kernels.clustering.bits import bits_of_masks
from fastgmm.kernels.clustering.distances import distance_block, row_distance
from fastgmm.kernels.emission import (
    data_of,
    index,
    literal,
    loop,
    number_at,
    vector_at,
)
from fastgmm.simd.arithmetic import fused, larger, smaller
from fastgmm.simd.memory import store_at
from fastgmm.simd.vectors import call, constant, llvm_vector, splat, vector_of

CENTRES = BLOCK_HEIGHT
"""Centres of a block: what is searched is padded to a multiple of it."""


def starts_of(builder: Any, pointer: Any, first: Any, lanes: int) -> list[Any]:
    """Return what a block of distances begins with: a number of each centre, in all its vectors."""
    starts = []
    for r in range(CENTRES):
        number = number_at(builder, pointer, builder.add(first, index(r)))
        starts += [splat(builder, number, lanes)] * CHUNK_VECTORS
    return starts


@intrinsic(prefer_literal=True)
def find_nearest(
    typingctx: Any,
    columns: Any,
    stride: Any,
    d: Any,
    centres: Any,
    halves: Any,
    n_blocks: Any,
    differences: Any,
    nearest: Any,
    second: Any,
    which: Any,
) -> Any:
    """Write the lowest score of each row of a chunk, the second lowest and whose the lowest is.

    ``centres`` is flat (k, d), ``n_blocks`` blocks of CENTRES of them; a score is what ``halves``
    (k,) has, plus the squared distance or minus x c. Of equal scores the first wins; where no score
    is a number, centre 0 does.
    """
    vector_type = vector_of(columns.dtype)
    direct = bool(literal(differences))

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        vector = llvm_vector(vector_type)
        lanes = vector.count
        columns_at, centres_at, halves_at, nearest_at, second_at, which_at = (
            data_of(context, signature.args[i], arguments[i], builder) for i in (0, 3, 4, 7, 8, 9)
        )
        step, n_columns, blocks = (arguments[i] for i in (1, 2, 5))
        block_numbers = builder.mul(n_columns, index(CENTRES))

        def block(turn: Any, found: list[Any]) -> list[Any]:
            best = found[:CHUNK_VECTORS]
            label = found[CHUNK_VECTORS : 2 * CHUNK_VECTORS]
            other = found[2 * CHUNK_VECTORS :]
            k = builder.mul(turn, index(CENTRES))
            starts = starts_of(builder, halves_at, k, lanes)
            scores = distance_block(
                builder,
                columns_at,
                step,
                n_columns,
                centres_at,
                builder.mul(turn, block_numbers),
                starts,
                direct,
                vector,
            )
            for r in range(CENTRES):
                name = builder.sitofp(builder.add(k, index(r)), vector.element)
                mine = splat(builder, name, lanes)
                for v in range(CHUNK_VECTORS):
                    score = scores[r * CHUNK_VECTORS + v]
                    closer = builder.fcmp_ordered("<", score, best[v])
                    other[v] = smaller(builder, larger(builder, score, best[v]), other[v])
                    label[v] = builder.select(closer, mine, label[v])
                    best[v] = builder.select(closer, score, best[v])
            return [*best, *label, *other]

        endless = [constant(vector, float("inf"))] * CHUNK_VECTORS
        start = [*endless, *[constant(vector, 0.0)] * CHUNK_VECTORS, *endless]
        found = loop(builder, blocks, start, block)
        targets = (nearest_at, which_at, second_at)
        for pointer, at in zip(targets, range(0, len(found), CHUNK_VECTORS), strict=True):
            for v in range(CHUNK_VECTORS):
                place = builder.gep(pointer, [index(v * lanes)])
                store_at(builder, place, found[at + v])
        return context.get_dummy_value()

    size = types.intp
    arrays = (nearest, second, which)
    return (
        types.void(columns, size, size, centres, halves, size, differences, *arrays),
        codegen,
    )


@intrinsic(prefer_literal=True)
def tell_apart(
    typingctx: Any,
    columns: Any,
    stride: Any,
    d: Any,
    margin: Any,
    differences: Any,
    nearest: Any,
    second: Any,
    gaps: Any,
) -> Any:
    """Write how much farther the second nearest centre of each row of a chunk is, at least.

    Returns a bit for each row: whether rounding may have chosen the wrong centre.

    A score |c|^2 / 2 - x c has an error of (d + 2) eps (|x| |c| + |c|^2 / 2) at most. A centre with
    |c| > R = |x| + sqrt(|x|^2 + 2 s) has a score above s, however it is rounded; with s the second
    lowest score all others err by less than (d + 2) eps 3/2 R^2, and R^2 <= 4 (|x|^2 + s). So the
    order of two scores is certain if they are ``margin`` = 12 (d + 2) eps times |x|^2 + s apart,
    and a squared distance errs by no more. One that is a sum of squares errs by less than
    ``margin`` times itself. ``gaps`` are float32, whose square roots cost a fifth.
    """
    vector_type = vector_of(columns.dtype)
    direct = bool(literal(differences))

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        vector = llvm_vector(vector_type)
        lanes = vector.count
        single = ir.VectorType(ir.FloatType(), lanes)
        columns_at, nearest_at, second_at, gaps_at = (
            data_of(context, signature.args[i], arguments[i], builder) for i in (0, 5, 6, 7)
        )

        def body(j: Any, sums: list[Any]) -> list[Any]:
            at = builder.mul(j, arguments[1])
            new = []
            for v in range(CHUNK_VECTORS):
                x = vector_at(builder, columns_at, builder.add(at, index(v * lanes)), vector)
                new.append(fused(builder, x, x, sums[v]))
            return new

        def root(square: Any) -> Any:
            if square.type != single:
                square = builder.fptrunc(square, single)
            square = larger(builder, square, constant(single, 0.0))
            return call(builder, f"llvm.sqrt.v{lanes}f32", single, square)

        zeros = [constant(vector, 0.0)] * CHUNK_VECTORS
        squares = zeros if direct else loop(builder, arguments[2], zeros, body)
        share = splat(builder, arguments[3], lanes)
        two = constant(vector, 2.0)
        masks = []
        for v in range(CHUNK_VECTORS):
            low = vector_at(builder, nearest_at, index(v * lanes), vector)
            high = vector_at(builder, second_at, index(v * lanes), vector)
            if direct:
                low_doubt, high_doubt = (builder.fmul(share, x) for x in (low, high))
            else:
                low_doubt = high_doubt = builder.fmul(share, builder.fadd(squares[v], high))
                masks.append(builder.fcmp_ordered("<=", builder.fsub(high, low), high_doubt))
                low, high = (fused(builder, two, x, squares[v]) for x in (low, high))
            near = root(builder.fadd(low, low_doubt))
            far = root(builder.fsub(high, high_doubt))
            # what float32 has rounded off
            slip = builder.fmul(builder.fadd(near, far), constant(single, 2.0**-21))
            gap = builder.fsub(builder.fsub(far, near), slip)
            store_at(builder, builder.gep(gaps_at, [index(v * lanes)]), gap)
        return bits_of_masks(builder, masks)

    size = types.intp
    arrays = (nearest, second, gaps)
    return (
        types.uint64(columns, size, size, vector_type.dtype, differences, *arrays),
        codegen,
    )


@part
def nearest_by_differences(row: Any, centres: Any, starts: Any) -> int:
    """Return the centre of the lowest squared distance to a row, of equal ones the first."""
    d = row.size
    best = 0
    nearest = np.inf
    for k in range(starts.size):
        distance = row_distance(row, 0, d, centres, k * d)
        if distance < nearest and starts[k] < np.inf:
            nearest = distance
            best = k
    return best
