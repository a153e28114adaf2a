"""Log densities that are linear in features of a row: spherical mixtures, and tied ones.

About a common centre log(weight_k N(x | k)) is a constant plus slopes times features: x and,
where components differ in width, |x|^2. Where all share one matrix the square |W x|^2 is the same
for each of them: it cancels in responsibilities and is left out; ``common_log_density`` adds it
where a density is asked for. The moments are sums of responsibilities times the same features, so
both steps are one matrix product each, of k d multiply-adds a row, whatever the matrix. What tied
components need of the second moments is a constant of the data (``covariance/tied.py``).

With means s standard deviations from the centre a product loses eps s^2; components far apart
belong to ``axes.py`` and ``triangles.py`` (``covariance/nearness.py`` decides).
"""

from typing import Any, NamedTuple

import numpy as np

from fastgmm._jit import intrinsic, is_record, overload, types
from fastgmm._typing import Float64Array, FloatArray
from fastgmm.kernels.blocks import (
    PRODUCT_HEIGHT,
    WHITENING_HEIGHT,
    WHITENING_WIDTH,
    Operand,
    add_whitened_squares,
    data_of,
    height_of,
    index,
    literal,
    number_at,
    outer_products,
    slot_of,
)
from fastgmm.kernels.columns import chunk_rows, load_about, pitch_of
from fastgmm.kernels.expectation import (
    accumulate,
    aligned,
    common_log_density,
    finish,
    log_density,
    nothing_common,
    shape_of_tile,
    small_chunks,
    work,
)
from fastgmm.kernels.features import add_features
from fastgmm.simd import broadcast, fma, lanes_of, load, store
from fastgmm.simd.memory import store_at
from fastgmm.simd.vectors import llvm_vector, splat, vector_of


class LinearDensity(NamedTuple):
    """What a pass needs of a mixture whose log densities are linear, in the compute dtype."""

    log_scale: FloatArray
    """(k,) log weight + log determinant of the whitening - d/2 log 2 pi."""
    means: FloatArray
    """(k, d)."""
    squares: FloatArray
    """(k,) |W (centre - mean)|^2."""
    slopes: FloatArray
    """(k, d) of x about the centre, or (k, d + 1) of x and |x|^2."""
    whitening: FloatArray | None
    """(p,) packed rows of W = sqrt(1/2) L^-1 of the one matrix; None if there is none."""
    centre: FloatArray
    """(d,) what rows are taken about."""
    origins: FloatArray
    """(k, d) what the statistics are centred about: the centre."""


class LinearWork(NamedTuple):
    """The memory of a pass over a block of rows; all flat."""

    features: FloatArray
    """(1 + features, rows) of each chunk of a tile: room for shares, then the features."""
    n_rows: int
    """Rows of a chunk's matrix: its features, and room for whole vectors of columns."""
    slopes: FloatArray
    """(k, features)."""
    zeros: FloatArray
    """(d,) biases of a whitening about the centre."""
    squares: FloatArray
    """(rows,) of a chunk."""
    sums: Float64Array
    """(1 + features, slots): a slot for each component of a block."""


@overload(work, makes_arrays=True)
def _work(density: Any, tile_rows: Any) -> Any:
    if not is_record(density, LinearDensity):
        return None

    def tile_and_sums(density: Any, tile_rows: Any) -> Any:
        n_components, d = density.means.shape
        m = density.slopes.shape[1]
        like = density.means
        width, run = lanes_of(like), chunk_rows(like)
        n_rows = 1 + max((d + width - 1) // width * width, m)
        height = height_of(n_components, PRODUCT_HEIGHT)
        slots = (n_components + height - 1) // height * height
        sums = aligned((1 + m) * slots, np.empty(0))
        sums[:] = 0
        return LinearWork(
            aligned(tile_rows // run * pitch_of(n_rows, run, like), like),
            n_rows,
            density.slopes.reshape(density.slopes.size),
            np.zeros(d, like.dtype),
            aligned(run, like),
            sums,
        )

    return tile_and_sums


@overload(shape_of_tile)
def _shape_of_tile(density: Any, n_rows: Any) -> Any:
    return small_chunks if is_record(density, LinearDensity) else None


@overload(log_density)
def _log_density(
    rows: Any, start: Any, size: Any, density: Any, scratch: Any, joint: Any, stride: Any
) -> Any:
    return linear_log_density if is_record(density, LinearDensity) else None


@overload(common_log_density)
def _common_log_density(density: Any, scratch: Any, chunk: Any, stride: Any, highest: Any) -> Any:
    if not is_record(density, LinearDensity):
        return None
    whitening = density.types[density.fields.index("whitening")]
    return nothing_common if isinstance(whitening, types.NoneType) else add_common_squares


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
    return linear_accumulate if is_record(density, LinearDensity) else None


@overload(finish)
def _finish(density: Any, scratch: Any, statistics: Any) -> Any:
    return linear_finish if is_record(density, LinearDensity) else None


# The functions below are the implementations themselves and hold their loops over register
# blocks: every function between a block and its kernel is optimised once more.


def linear_log_density(
    rows: Any, start: Any, size: Any, density: Any, scratch: Any, joint: Any, stride: Any
) -> None:
    """Write log_scale - squares + slopes x features (see kernels/expectation.py)."""
    n_components, d = density.means.shape
    features, slopes = scratch.features, scratch.slopes
    log_scale, squares = density.log_scale, density.squares
    m = slopes.size // n_components
    width = lanes_of(rows)
    height = height_of(n_components, WHITENING_HEIGHT)
    for first in range(0, size, stride):
        chunk = first // stride
        # the first row is for the shares
        at = chunk * pitch_of(scratch.n_rows, stride, rows) + stride
        some = min(stride, size - first)
        load_about(rows, d, start + first, some, stride, density.centre, features, at, stride)
        if m > d:
            for t in range(at, at + stride, width):
                square = broadcast(rows.dtype.type(0))
                for j in range(d):
                    z = load(features, t + j * stride)
                    square = fma(z, z, square)
                store(features, t + d * stride, square)
        out = chunk * pitch_of(n_components, stride, rows)
        block = 0
        while block < n_components:  # the last block begins so early that it is full, too
            k = min(block, n_components - height)
            block += height
            to = out + k * stride
            if height == 4:
                write_linear(features, at, stride, slopes, m, k, log_scale, squares, 4, joint, to)
            elif height == 2:
                write_linear(features, at, stride, slopes, m, k, log_scale, squares, 2, joint, to)
            else:
                write_linear(features, at, stride, slopes, m, k, log_scale, squares, 1, joint, to)


def add_common_squares(density: Any, scratch: Any, chunk: Any, stride: Any, highest: Any) -> None:
    """Add -|W x|^2 of a chunk's rows to ``highest``."""
    d = density.means.shape[1]
    features, squares = scratch.features, scratch.squares
    width = lanes_of(features)
    at = chunk * pitch_of(scratch.n_rows, stride, features) + stride
    for t in range(0, stride, width):
        store(squares, t, broadcast(features.dtype.type(0)))
    row = 0
    for i in range(d):
        add_whitened_squares(
            density.whitening, row, features, at, stride, i, 1, WHITENING_WIDTH,
            scratch.zeros, i, squares, 0,
        )  # fmt: skip
        row += i + 1
    for t in range(0, stride, width):
        store(highest, t, load(highest, t) - load(squares, t))


def linear_accumulate(
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
    """Add the sums of responsibilities, and of these times the features, over a tile."""
    n_components = density.means.shape[0]
    features, sums, n_rows = scratch.features, scratch.sums, scratch.n_rows
    m = scratch.slopes.size // n_components
    width = lanes_of(rows)
    n_chunks = (size + stride - 1) // stride
    pitch = pitch_of(n_rows, stride, rows)
    for chunk in range(n_chunks):
        # a share times m features is less work than times k responsibilities
        for t in range(0, stride, width):
            at = chunk * pitch + t
            share = load(shares, chunk * stride + t)
            store(features, at, share)
            for _ in range(m):
                at += stride
                store(features, at, load(features, at) * share)
    height = height_of(n_components, PRODUCT_HEIGHT)
    slots = (n_components + height - 1) // height * height
    for k_slot in range(0, n_components, height):
        k = min(k_slot, n_components - height)
        f = 0
        while f <= m:
            left = 1 + m - f
            slot = f * slots + k_slot
            # 4 = 2 + 2, not 3 + 1: blocks of one feature wait for their loads
            if left == 3 or left > 4:
                if height == 8:
                    add_features(
                        joint, k, n_components, features, f, n_rows, n_chunks, 8, 3, sums, slot
                    )
                elif height == 4:
                    add_features(
                        joint, k, n_components, features, f, n_rows, n_chunks, 4, 3, sums, slot
                    )
                elif height == 2:
                    add_features(
                        joint, k, n_components, features, f, n_rows, n_chunks, 2, 3, sums, slot
                    )
                else:
                    add_features(
                        joint, k, n_components, features, f, n_rows, n_chunks, 1, 3, sums, slot
                    )
                f += 3
            else:
                if height == 8:
                    add_features(
                        joint, k, n_components, features, f, n_rows, n_chunks, 8, 2, sums, slot
                    )
                elif height == 4:
                    add_features(
                        joint, k, n_components, features, f, n_rows, n_chunks, 4, 2, sums, slot
                    )
                elif height == 2:
                    add_features(
                        joint, k, n_components, features, f, n_rows, n_chunks, 2, 2, sums, slot
                    )
                else:
                    add_features(
                        joint, k, n_components, features, f, n_rows, n_chunks, 1, 2, sums, slot
                    )
                f += 2


def linear_finish(density: Any, scratch: Any, statistics: Any) -> None:
    """Add the sums of a block of rows to the statistics.

    The second moments (k, 1) are those of |x|^2; without that feature they are left alone.
    """
    n_components, d = density.means.shape
    m = scratch.slopes.size // n_components
    sums = scratch.sums
    height = height_of(n_components, PRODUCT_HEIGHT)
    slots = (n_components + height - 1) // height * height
    for k in range(n_components):
        slot = slot_of(k, n_components, height)
        statistics.counts[k] += sums[slot]
        for j in range(d):
            statistics.first[k, j] += sums[(1 + j) * slots + slot]
        if m > d:
            statistics.second[k, 0] += sums[(1 + d) * slots + slot]


@intrinsic(prefer_literal=True)
def write_linear(
    typingctx: Any,
    features: Any,
    at: Any,
    stride: Any,
    slopes: Any,
    n_features: Any,
    component: Any,
    log_scale: Any,
    squares: Any,
    height: Any,
    joint: Any,
    to: Any,
) -> Any:
    """Write log_scale - squares + slopes x features of ``height`` components for a chunk of rows.

    The features (m, stride) begin at ``at``, ``slopes`` are flat (k, m); row t of the block's
    component c goes to ``to + c stride + t``.
    """
    vector_type = vector_of(features.dtype)
    rows = literal(height)

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        vector = llvm_vector(vector_type)
        features_at, slopes_at, scale_at, squares_at, joint_at = (
            data_of(context, signature.args[i], arguments[i], builder) for i in (0, 3, 6, 7, 9)
        )
        first, step, m, k, place = (arguments[i] for i in (1, 2, 4, 5, 10))
        initial = []
        for r in range(rows):
            which = builder.add(k, index(r))
            number = builder.fsub(
                number_at(builder, scale_at, which), number_at(builder, squares_at, which)
            )
            initial.append(splat(builder, number, vector.count))
        sums = outer_products(
            builder,
            Operand(slopes_at, builder.mul(k, m), index(1), m),
            Operand(features_at, first, step, None),
            m,
            rows,
            WHITENING_WIDTH,
            vector,
            initial,
        )
        for r in range(rows):
            row = builder.add(place, builder.mul(index(r), step))
            for v in range(WHITENING_WIDTH):
                address = builder.gep(joint_at, [builder.add(row, index(v * vector.count))])
                store_at(builder, address, sums[r][v])
        return context.get_dummy_value()

    size = types.intp
    parameters = (slopes, size, size, log_scale, squares, height)
    return types.void(features, size, size, *parameters, joint, size), codegen
