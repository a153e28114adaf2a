"""Full and diagonal covariances of up to eight columns: log densities unrolled, moments products.

The E-step loops over nothing but rows and components; its columns are unrolled when the kernel is
compiled, one kernel for each number of columns. That number, and how much of the triangle W there
is, come with the *type* of a tuple (``band``), because only types are known at compile time.

Where all components lie near a common ``centre``, both steps take the rows about it. The whitening
needs no subtraction a component then, y = W (x - centre) + W (centre - mean); and the moments of
all components about the centre are one matrix product, the responsibilities (k, t) times the
*features* (t, 1 + d + p) of a row, 1, x and the products x_i x_j: a third fewer instructions than
about each component's own mean at d = 3. With means s standard deviations from the centre the
moments lose eps s^2, so components far apart are centred one by one (``covariance/nearness.py``).
"""

from typing import Any, NamedTuple

import numpy as np

from fastgmm._jit import intrinsic, types
from fastgmm._typing import Float64Array, FloatArray
from fastgmm.kernels.blocks import CHUNK_VECTORS, height_of, slot_of
from fastgmm.kernels.columns import chunk_rows, columns_of_rows, pitch_of
from fastgmm.kernels.densities.features import (
    add_feature_products,
    products_of,
    shape_of,
    write_shares,
)
from fastgmm.kernels.densities.moments import add_moments
from fastgmm.kernels.emission import (
    data_of,
    index,
    literal,
    number_at,
    vector_at,
)
from fastgmm.kernels.memory import aligned, cleared, fill
from fastgmm.kernels.softmax import share_out
from fastgmm.kernels.steps import Steps, implement, small_chunks
from fastgmm.simd import broadcast, lanes_of, load, load_broadcast, store
from fastgmm.simd.arithmetic import fused
from fastgmm.simd.memory import store_at
from fastgmm.simd.vectors import llvm_vector, splat, vector_of

MOST_COLUMNS = 8


@intrinsic
def load_columns(typingctx: Any, rows: Any, start: Any, band: Any) -> Any:
    """Return the columns of as many rows as a vector has lanes: a tuple of d vectors.

    The rows lie one after the other in flat memory from ``start`` on, d numbers each.
    """
    vector_type = vector_of(rows.dtype)
    d = len(band)
    result = types.UniTuple(vector_type, d)

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        vector = llvm_vector(vector_type)
        pointer = data_of(context, signature.args[0], arguments[0], builder)
        columns = columns_of_rows(builder, pointer, arguments[1], d, vector)
        return context.make_tuple(builder, result, columns)

    return result(rows, types.intp, band), codegen


@intrinsic(prefer_literal=True)
def load_group(typingctx: Any, columns: Any, at: Any, stride: Any, width: Any, band: Any) -> Any:
    """Return ``width`` vectors of each of d columns, which lie ``stride`` apart: a flat tuple."""
    vector_type = vector_of(columns.dtype)
    d, vectors = len(band), literal(width)
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
    return result(columns, size, size, width, band), codegen


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
    band: Any,
) -> Any:
    """Write log_scale - |W x + bias|^2 of a group of vectors of rows for one component.

    ``whitening`` (k p,) has packed rows of W, ``log_scale`` is (k,), the biases (d,) begin at
    ``bias_at``; all are flat.
    """
    d, pairs = len(band), products_of(band)
    vectors = len(group) // d

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        vector = llvm_vector(group.dtype)
        lanes = vector.count
        whitening_at, biases_at, scale_at, joint_to = (
            data_of(context, signature.args[i], arguments[i], builder) for i in (1, 3, 5, 6)
        )
        k, bias_first, joint_first = (arguments[i] for i in (2, 4, 7))
        row_of_k = builder.mul(k, index(len(pairs)))

        def parameter(pointer: Any, start: Any, which: int) -> Any:
            at = builder.add(start, index(which))
            return splat(builder, number_at(builder, pointer, at), lanes)

        # column after column: the sums of different rows do not wait for each other
        y = [[parameter(biases_at, bias_first, i)] * vectors for i in range(d)]
        results = [parameter(scale_at, k, 0)] * vectors
        for j in range(d):
            x = [builder.extract_value(arguments[0], j * vectors + v) for v in range(vectors)]
            for i in (row for row, column in pairs if column == j):
                factor = parameter(whitening_at, row_of_k, pairs.index((i, j)))
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
        types.void(group, whitening, size, biases, size, log_scale, joint, size, band),
        codegen,
    )


class UnrolledDensity(NamedTuple):
    """What a pass needs of a mixture in few columns, in the compute dtype."""

    log_scale: FloatArray
    """(k,) log weight + log density at the mean, to base two."""
    means: FloatArray
    """(k, d)."""
    whitening: FloatArray
    """(k, p) packed rows of W = L^-1 / sqrt(2 ln 2), L L^T the covariance; or its diagonal."""
    biases: FloatArray
    """(k, d) W (centre - mean)."""
    near: bool
    """Whether all means are so near the centre that both steps may take the rows about it."""
    centre: FloatArray
    """(d,) what rows are taken about; zeros unless ``near``."""
    origins: FloatArray
    """(k, d) what the statistics are centred about: the centre if ``near``, else the means."""
    band: tuple[tuple[int, ...], ...]
    """d tuples of as many integers as row i of W has numbers: these, a part of the type, count."""


class UnrolledWork(NamedTuple):
    """The memory of a pass over a block of rows; all flat, matrices chunk after chunk."""

    columns: FloatArray
    """(factors, rows) of each chunk of a tile: x, 1, the share, and the share times x."""
    away: FloatArray
    """(d, rows) of one chunk, less one component's mean; or a vector of rows, filled up."""
    zeros: FloatArray
    """(d,) the biases of rows that are about the mean."""
    sums: Float64Array
    """(features, slots) responsibilities times features: a slot for each component of a block."""


def unrolled_work(density: Any, tile_rows: Any) -> Any:
    """Return the memory of a pass."""
    n_components, d = density.means.shape
    factors, features, block, most = shape_of(density.band)
    like = density.means
    n_chunks, stride = tile_rows // chunk_rows(like), chunk_rows(like)
    columns = aligned(n_chunks * pitch_of(factors, stride, like), like)
    for chunk in range(n_chunks):
        one = chunk * pitch_of(factors, stride, like) + d * stride
        fill(columns, one, one + stride, 1)
    height = height_of(n_components, most)
    slots = (n_components + height - 1) // height * height
    sums = cleared((features + block - 1) // block * block * slots, np.empty(0))
    return UnrolledWork(
        columns,
        aligned(d * stride, like),
        cleared(d, like),
        sums,
    )


@intrinsic
def group_of(typingctx: Any, band: Any) -> Any:
    """Return how many vectors of rows the E-step takes at a time: a compile-time constant."""
    vectors = min(4 if len(band) <= 3 else 2, CHUNK_VECTORS)
    constant = types.literal(vectors)

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return index(vectors)

    return constant(band), codegen


def unrolled_log_density(tile: Any, density: Any, scratch: Any) -> None:
    """Write log_scale - |L^-1 (x - mean)|^2 for all components (see kernels/steps.py)."""
    rows, start, size, joint, stride = tile
    n_components, d = density.means.shape
    band = density.band
    width = lanes_of(rows)
    columns, away = scratch.columns, scratch.away
    factors = shape_of(band)[0]
    whitening, biases, log_scale = density.whitening, density.biases, density.log_scale
    group = group_of(band) * width
    for first in range(0, size, stride):
        columns_at = first // stride * pitch_of(factors, stride, rows)
        out = first // stride * pitch_of(n_components, stride, rows)
        # whole chunks, the last of them completed with zeros
        for t in range(0, stride, width):
            row = start + first + t
            if first + t + width <= size:
                loaded = load_columns(rows, row * d, band)
            else:
                for i in range(width * d):
                    away[i] = rows[row * d + i] if first + t + i // d < size else 0
                loaded = load_columns(away, 0, band)
            for j in range(d):
                place = columns_at + j * stride + t
                store(columns, place, loaded[j] - load_broadcast(density.centre, j))
        if density.near:
            for t in range(0, stride, group):
                x = load_group(columns, columns_at + t, stride, group_of(band), band)
                for k in range(n_components):
                    write_log_densities(
                        x, whitening, k, biases, k * d, log_scale, joint, out + k * stride + t,
                        band,
                    )  # fmt: skip
            continue
        for k in range(n_components):
            for j in range(d):
                mean = broadcast(density.means[k, j])
                for t in range(j * stride, (j + 1) * stride, width):
                    store(away, t, load(columns, columns_at + t) - mean)
            for t in range(0, stride, group):
                z = load_group(away, t, stride, group_of(band), band)
                write_log_densities(
                    z, whitening, k, scratch.zeros, 0, log_scale, joint, out + k * stride + t,
                    band,
                )  # fmt: skip


def unrolled_accumulate(
    tile: Any, density: Any, scratch: Any, shares: Any, statistics: Any
) -> None:
    """Add counts and first and second moments about the origins over a tile."""
    rows, _, size, joint, stride = tile
    n_components = density.means.shape[0]
    band = density.band
    columns = scratch.columns
    width = lanes_of(rows)
    n_chunks = (size + stride - 1) // stride
    if not density.near:
        pitch, vectors = pitch_of(n_components, stride, rows), stride // width
        for chunk in range(n_chunks):
            first = chunk * stride
            share_out(joint, chunk * pitch, stride, n_components, vectors, shares, first)
        for k in range(n_components):
            add_moments(
                columns, joint, n_components, n_chunks, density.origins, k, band,
                statistics.counts, statistics.first, statistics.second,
            )  # fmt: skip
        return
    pitch = pitch_of(shape_of(band)[0], stride, rows)
    for first in range(0, n_chunks * stride, stride):
        at = first // stride * pitch
        for t in range(0, stride, width):
            write_shares(columns, at + t, stride, shares, first + t, band)
    add_feature_products(joint, n_components, columns, n_chunks, scratch.sums, band)


def unrolled_finish(density: Any, scratch: Any, statistics: Any) -> None:
    """Add the sums of responsibilities times features to the statistics."""
    n_components, d = density.means.shape
    if not density.near:
        return
    _, n_features, block, most = shape_of(density.band)
    height = height_of(n_components, most)
    slots = (n_components + height - 1) // height * height
    for k in range(n_components):
        k_slot = slot_of(k, n_components, height)
        for f in range(n_features):
            value = scratch.sums[slot_of(f, n_features, block) * slots + k_slot]
            if f == 0:
                statistics.counts[k] += value
            elif f <= d:
                statistics.first[k, f - 1] += value
            else:
                statistics.second[k, f - 1 - d] += value


implement(
    UnrolledDensity,
    Steps(unrolled_work, small_chunks, unrolled_log_density, unrolled_accumulate, unrolled_finish),
)
