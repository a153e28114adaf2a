"""What a chunk's squared distances add up to, in float64: by how much another seed lowers them."""

from typing import Any

import numpy as np

from fastgmm._jit import intrinsic, ir, part, types
from fastgmm.kernels.blocks import CHUNK_VECTORS
from fastgmm.kernels.clustering.bits import bits_of_masks, first_bit
from fastgmm.kernels.clustering.chunks import weight_of
from fastgmm.kernels.clustering.distances import distance_block, row_distance
from fastgmm.kernels.emission import (
    data_of,
    index,
    loop,
    vector_at,
)
from fastgmm.simd.arithmetic import fused
from fastgmm.simd.memory import load_at, store_at
from fastgmm.simd.shuffles import folded
from fastgmm.simd.vectors import bits_of, constant, llvm_vector, shuffle, vector_of

CANDIDATES = 2
"""Candidates of a block of the seeding."""


@intrinsic
def add_gains(
    typingctx: Any,
    columns: Any,
    stride: Any,
    d: Any,
    candidates: Any,
    candidate: Any,
    closest: Any,
    first: Any,
    weights: Any,
    gains: Any,
    nearer: Any,
) -> Any:
    """Add how much ``closest`` would fall with CANDIDATES more centres, each alone, by weight.

    The chunk's squared distances to the centres so far are in ``closest`` from ``first`` on, its
    ``weights`` from 0 on. ``gains`` holds a vector of float64 for each candidate, ``nearer`` is
    given bits of the rows for which it is nearer than the centres so far.
    """
    vector_type = vector_of(columns.dtype)

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        vector = llvm_vector(vector_type)
        lanes = vector.count
        double = widened(vector)
        columns_at, candidates_at, closest_at, weights_at, gains_at, nearer_at = (
            data_of(context, signature.args[i], arguments[i], builder) for i in (0, 3, 5, 7, 8, 9)
        )
        step, n_columns, c, row = (arguments[i] for i in (1, 2, 4, 6))
        squares = distance_block(
            builder,
            columns_at,
            step,
            n_columns,
            candidates_at,
            builder.mul(c, n_columns),
            [constant(vector, 0.0)] * (CHUNK_VECTORS * CANDIDATES),
            True,
            vector,
        )
        for r in range(CANDIDATES):
            candidate_of = builder.add(c, index(r))
            place = builder.gep(gains_at, [builder.mul(candidate_of, index(double.count))])
            total = load_at(builder, place, double)
            masks = []
            for v in range(CHUNK_VECTORS):
                square = squares[r * CHUNK_VECTORS + v]
                so_far = vector_at(builder, closest_at, builder.add(row, index(v * lanes)), vector)
                masks.append(builder.fcmp_ordered("<", square, so_far))
                saved = builder.fsub(so_far, square)
                saved = builder.select(masks[-1], saved, constant(vector, 0.0))
                for i, own in enumerate(halves_of(builder, saved)):
                    offset = index(v * lanes + i * double.count)
                    weight = vector_at(builder, weights_at, offset, double)
                    total = fused(builder, weight, own, total)
            store_at(builder, place, total)
            builder.store(bits_of_masks(builder, masks), builder.gep(nearer_at, [candidate_of]))
        return context.get_dummy_value()

    size = types.intp
    return (
        types.void(
            *(columns, size, size, candidates, size, closest, size, weights, gains, nearer),
        ),
        codegen,
    )


@part
def gain_of(
    rows: Any, d: int, weights: Any, candidates: Any, c: int, closest: Any, first: int, found: Any
) -> float:
    """Return what a candidate saves in a few rows; leave on the bits of those it is nearer to."""
    bits = found[c]
    gain = 0.0
    while bits != 0:
        lowest = bits & (~bits + np.uint64(1))
        n = first + first_bit(bits)
        bits ^= lowest
        saved = closest[n] - row_distance(rows, n * d, d, candidates, c * d)
        if saved > 0:
            gain += saved * weight_of(weights, n)
        else:
            found[c] ^= lowest
    return gain


@intrinsic
def total_of(typingctx: Any, numbers: Any, first: Any, size: Any) -> Any:
    """Return the sum in float64 of ``size`` numbers, four vectors of them or a multiple."""
    vector_type = vector_of(numbers.dtype)

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        vector = llvm_vector(vector_type)
        numbers_at = data_of(context, signature.args[0], arguments[0], builder)
        step = index(4 * vector.count)

        def add(turn: Any, sums: list[Any]) -> list[Any]:
            at = builder.add(arguments[1], builder.mul(turn, step))
            new = []
            for v, old in enumerate(sums):
                place = builder.add(at, index(v * vector.count))
                for half in halves_of(builder, vector_at(builder, numbers_at, place, vector)):
                    old = builder.fadd(old, half)
                new.append(old)
            return new

        zeros = [constant(widened(vector), 0.0)] * 4
        a, b, c, d = loop(builder, builder.sdiv(arguments[2], step), zeros, add)
        return folded(builder, builder.fadd(builder.fadd(a, b), builder.fadd(c, d)))

    return types.float64(numbers, types.intp, types.intp), codegen


def widened(vector: Any) -> Any:
    """Return LLVM's type of the float64 numbers that fill a register."""
    return ir.VectorType(ir.DoubleType(), vector.count * bits_of(vector) // 64)


def halves_of(builder: Any, value: Any) -> list[Any]:
    """Return a vector as vectors of float64: itself, or two."""
    double = widened(value.type)
    if double == value.type:
        return [value]
    halves = [list(range(at, at + double.count)) for at in (0, double.count)]
    return [builder.fpext(shuffle(builder, value, value, half), double) for half in halves]
