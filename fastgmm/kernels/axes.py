"""Covariances along the axes: scaled distances and moments, shared by diagonal and spherical.

Two forms of each step. The *product* form works on rows about one common centre: two fused
instructions a number, which is what the processor can do; it loses eps R (log density) and eps R^2
(moments), where R says how many standard deviations the farthest component lies from the centre.
The *centred* form subtracts each component's own mean: one and a half to two times the work, and no
digits lost. ``spread`` is R; the limits below choose.
"""

from typing import Any, NamedTuple

import numpy as np

from fastgmm._jit import is_record, overload, part
from fastgmm._typing import FloatArray
from fastgmm.kernels.blocks import (
    PRODUCT_WIDTH,
    WHITENING_HEIGHT,
    WHITENING_WIDTH,
    add_products,
    scaled_distances,
)
from fastgmm.kernels.columns import chunk_rows, load_chunk, padded_row
from fastgmm.kernels.expectation import accumulate, aligned, log_density, work
from fastgmm.kernels.softmax import share_out
from fastgmm.kernels.triangles import sum_of
from fastgmm.simd import (
    broadcast,
    fma,
    fnma,
    lanes_of,
    load,
    load_broadcast,
    load_part,
    store,
    total,
)

# Largest R for the product forms
DISTANCE_LIMIT_DOUBLE = 1e6
DISTANCE_LIMIT_SINGLE = 1e2
MOMENT_LIMIT_DOUBLE = 1e3
MOMENT_LIMIT_SINGLE = 16.0

PRODUCT_ROWS = 64
"""Rows whose products are summed in registers at a time."""

COMPONENTS = 8 if PRODUCT_WIDTH == 3 else 4
"""Components of a block of products."""


class AxesDensity(NamedTuple):
    """What a pass needs of a mixture with covariances along the axes, in the compute dtype."""

    log_scale: FloatArray
    """(k,) log weight + log determinant of the whitening - d/2 log 2 pi."""
    means: FloatArray
    """(k, d)."""
    scales: FloatArray
    """(k, d) sqrt(1/2) over the standard deviations."""
    offsets: FloatArray
    """(k, d) scales times (centre - mean)."""
    centre: FloatArray
    """(d,) what rows are taken about in the product forms."""
    spread: float
    """R: standard deviations that the farthest mean or origin lies from the centre."""
    origins: FloatArray
    """(k, d) what the statistics are centred about: the means, as a rule."""


@overload(work)
def _work(density: Any, tile_rows: Any) -> Any:
    if not is_record(density, AxesDensity):
        return None

    def operands(density: Any, tile_rows: Any) -> Any:
        d = density.means.shape[1]
        run = d * chunk_rows(density.means)
        powers = 2 * PRODUCT_ROWS * padded_row(d, density.means)
        columns = d * (tile_rows + lanes_of(density.means))
        return aligned(max(max(run, powers), columns), density.means)

    return operands


# The two functions below are the implementations themselves and hold their loops over register
# blocks: every function between a block and its kernel is optimised once more.


@overload(log_density)
def _log_density(
    rows: Any, start: Any, size: Any, density: Any, scratch: Any, joint: Any, at: Any, stride: Any
) -> Any:
    return axes_log_density if is_record(density, AxesDensity) else None


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
    return axes_accumulate if is_record(density, AxesDensity) else None


def axes_log_density(
    rows: Any,
    start: Any,
    size: Any,
    density: Any,
    scratch: Any,
    joint: Any,
    at: Any,
    stride: Any,
) -> None:
    """Write log_scale - |scale (x - mean)|^2 for all components (see kernels/expectation.py)."""
    n_components, d = density.means.shape
    scales = density.scales.reshape(density.scales.size)
    offsets = density.offsets.reshape(density.offsets.size)
    means = density.means.reshape(density.means.size)
    log_scale = density.log_scale
    width = lanes_of(rows)
    run = chunk_rows(rows)
    limit = DISTANCE_LIMIT_DOUBLE if rows.itemsize == 8 else DISTANCE_LIMIT_SINGLE
    for first in range(0, size, run):
        load_chunk(rows, d, start + first, min(run, size - first), run, scratch, 0, run)
        if density.spread > limit:
            for k in range(n_components):
                for v in range(WHITENING_WIDTH):
                    result = load_broadcast(log_scale, k)
                    for j in range(d):
                        z = load(scratch, j * run + v * width) - load_broadcast(means, k * d + j)
                        y = z * load_broadcast(scales, k * d + j)
                        result = fnma(y, y, result)
                    store(joint, k * stride + at + first + v * width, result)
            continue
        for j in range(d):
            shift = load_broadcast(density.centre, j)
            for v in range(WHITENING_WIDTH):
                place = j * run + v * width
                store(scratch, place, load(scratch, place) - shift)
        k = 0
        while k + WHITENING_HEIGHT <= n_components:
            scaled_distances(
                scratch, 0, run, d, scales, offsets, k * d, d, WHITENING_HEIGHT, WHITENING_WIDTH,
                log_scale, k, joint, k * stride + at + first, stride,
            )  # fmt: skip
            k += WHITENING_HEIGHT
        while k < n_components:
            scaled_distances(
                scratch, 0, run, d, scales, offsets, k * d, d, 1, WHITENING_WIDTH,
                log_scale, k, joint, k * stride + at + first, stride,
            )  # fmt: skip
            k += 1


def axes_accumulate(
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
    """Add counts, first moments and second moments about the origins over a tile.

    ``statistics.second`` is (k, d), or (k, 1) for the sums over the features.
    """
    n_components, d = density.means.shape
    origins, centre = density.origins, density.centre
    limit = MOMENT_LIMIT_DOUBLE if rows.itemsize == 8 else MOMENT_LIMIT_SINGLE
    product = density.spread <= limit
    step = 1 if statistics.second.shape[1] == d else 0
    sums = np.empty(2 * n_components * d)
    width = lanes_of(rows)
    columns = (size + width - 1) // width * width
    share_out(joint, stride, n_components, columns // width, shares)
    if product:
        product_moments(rows, d, start, size, centre, scratch, joint, stride, n_components, sums)
    else:
        load_chunk(rows, d, start, size, columns, scratch, 0, columns)
    for k in range(n_components):
        count = float(sum_of(joint, k * stride, size))
        statistics.counts[k] += count
        for j in range(d):
            if product:
                delta = float(origins[k, j]) - float(centre[j])
                one = sums[k * d + j]
                two = sums[(n_components + k) * d + j]
                two += delta * (delta * count - 2.0 * one)
                one -= delta * count
            else:
                one, two = moments_about(
                    scratch, j * columns, joint, k * stride, size, origins[k, j]
                )
            statistics.first[k, j] += one
            statistics.second[k, j * step] += two


@part
def load_powers(
    rows: Any, d: int, first: int, size: int, centre: Any, scratch: Any, row: int, squares_at: int
) -> None:
    """Write x and x^2 of some rows about the centre: flat (size, row) matrices."""
    width = lanes_of(rows)
    for j in range(0, d, width):
        inside = min(width, d - j)
        shift = load_part(centre, j, inside)
        for i in range(size):
            x = load_part(rows, (first + i) * d + j, inside) - shift
            store(scratch, i * row + j, x)
            store(scratch, squares_at + i * row + j, x * x)


@part
def product_moments(
    rows: Any,
    d: int,
    start: int,
    size: int,
    centre: Any,
    scratch: Any,
    joint: Any,
    stride: int,
    n_components: int,
    sums: Any,
) -> None:
    """Set ``sums`` to sum r x (k d,) and sum r x^2 (k d,), x about the common centre."""
    sums[:] = 0
    row = padded_row(d, rows)
    squares_at = PRODUCT_ROWS * row
    width = lanes_of(rows)
    for t in range(0, size, PRODUCT_ROWS):
        n = min(PRODUCT_ROWS, size - t)
        load_powers(rows, d, start + t, n, centre, scratch, row, squares_at)
        for half in range(2):
            x_at = half * squares_at
            for k in range(0, n_components, COMPONENTS):
                joint_at = k * stride + t
                out = (half * n_components + k) * d
                height = min(COMPONENTS, n_components - k)
                j = 0
                while j < d:
                    left = d - j
                    if height < COMPONENTS:
                        for r in range(height):
                            add_products(
                                joint, joint_at + r * stride, stride, scratch, x_at + j, row, n,
                                1, 1, sums, out + r * d + j, d, left,
                            )  # fmt: skip
                        j += width
                    elif left > 2 * width and PRODUCT_WIDTH == 3:
                        add_products(
                            joint, joint_at, stride, scratch, x_at + j, row, n,
                            COMPONENTS, 3, sums, out + j, d, left,
                        )  # fmt: skip
                        j += 3 * width
                    elif left > width:
                        add_products(
                            joint, joint_at, stride, scratch, x_at + j, row, n,
                            COMPONENTS, 2, sums, out + j, d, left,
                        )  # fmt: skip
                        j += 2 * width
                    else:
                        add_products(
                            joint, joint_at, stride, scratch, x_at + j, row, n,
                            COMPONENTS, 1, sums, out + j, d, left,
                        )  # fmt: skip
                        j += width


@part
def moments_about(
    columns: Any, at: int, joint: Any, joint_at: int, size: int, origin: Any
) -> tuple[float, float]:
    """Return sum r z and sum r z^2 of one feature, z = x - origin."""
    shift = broadcast(origin)
    one = broadcast(columns.dtype.type(0))
    two = one
    for t in range(0, size, lanes_of(columns)):
        z = load(columns, at + t) - shift
        weighted = load(joint, joint_at + t) * z
        one = one + weighted
        two = fma(weighted, z, two)
    return float(total(one)), float(total(two))
