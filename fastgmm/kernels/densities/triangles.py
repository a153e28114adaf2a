"""Triangular arithmetic in register blocks, shared by the shapes that have whole matrices.

A triangle of factors lies in *bands* of ``WHITENING_HEIGHT`` rows: in a band the columns follow
each other, a number for each of its rows.

The moments have two forms (see ``unrolled.py`` for when rows may be taken about one centre).
Near it they are one matrix product (``panels.py``). Far from it every component's own scatter is
summed from sqrt(r) (x - origin), in bands of ``BAND`` rows, row by row, all rows of a band equally
long.
"""

import math
from typing import Any, NamedTuple

import numpy as np

from fastgmm._jit import part
from fastgmm._typing import Float64Array, FloatArray, IntArray
from fastgmm.kernels.blocks import (
    PRODUCT_HEIGHT,
    WHITENING_HEIGHT,
    WHITENING_WIDTH,
    add_square_products,
    add_whitened_squares,
)
from fastgmm.kernels.columns import chunk_rows, load_about, padded_row, pitch_of
from fastgmm.kernels.densities.panels import (
    PANEL_ROW,
    add_panels,
    finish_panels,
    round_up,
    turned_row,
)
from fastgmm.kernels.memory import aligned, fill, flattened
from fastgmm.kernels.softmax import share_out
from fastgmm.kernels.steps import Steps, implement, whole_tiles
from fastgmm.simd import (
    broadcast,
    fma,
    lanes_of,
    load,
    load_broadcast,
    load_part,
    square_root,
    store,
    total,
)

SCATTER_ROWS = 64
"""Rows whose products are summed in registers at a time: 64 x 56 doubles (d = 41) stay in L1."""

BAND = 8
"""Rows of a band of scatter."""

LEAST_ROOT = 1e-15
"""Far components pass rows over whose r is no more than the square of this times what the rows
before have given them: 1e9 such rows, 1e3 standard deviations away, are 1e-15 of a covariance. Of
separated components most rows are such (110 digits in 41 columns: 1.6 times as fast a fit)."""

FEWEST_COLUMNS = 16
"""From so many columns on: of fewer, looking at a responsibility costs a tenth of its products."""


@part
def scaled_away(
    rows: Any,
    d: int,
    first: int,
    chosen: Any,
    chosen_at: int,
    size: int,
    origins: Any,
    origin_at: int,
    roots: Any,
    roots_at: int,
    away: Any,
    stride: int,
    moments: Any,
) -> None:
    """Write sqrt(r) (x - origin) of some rows, and add r (x - origin) up in ``moments`` (d,).

    They are ``size`` of the ``chosen`` ones of a tile that begins with row ``first``.

    ``away`` is a flat (size, stride) matrix, zero from column d to the end of its vector. With the
    root on both sides one matrix serves as both operands of the scatter, and stays in L1.
    """
    width = lanes_of(rows)
    for j in range(0, d, width):
        inside = min(width, d - j)
        origin = load_part(origins, origin_at + j, inside)
        even = broadcast(rows.dtype.type(0))
        odd = even
        whole = size // 2 * 2 if inside == width else 0
        for t in range(0, whole, 2):
            n = chosen[chosen_at + t]
            root = load_broadcast(roots, roots_at + n)
            z = (load(rows, (first + n) * d + j) - origin) * root
            store(away, t * stride + j, z)
            even = fma(z, root, even)
            n = chosen[chosen_at + t + 1]
            root = load_broadcast(roots, roots_at + n)
            z = (load(rows, (first + n) * d + j) - origin) * root
            store(away, (t + 1) * stride + j, z)
            odd = fma(z, root, odd)
        for t in range(whole, size):
            n = chosen[chosen_at + t]
            root = load_broadcast(roots, roots_at + n)
            z = (load_part(rows, (first + n) * d + j, inside) - origin) * root
            store(away, t * stride + j, z)
            even = fma(z, root, even)
        # through memory: adding lanes to float64 sums is rare enough
        store(away, SCATTER_ROWS * stride, even + odd)
        for lane in range(inside):
            moments[j + lane] += away[SCATTER_ROWS * stride + lane]


@part
def roots_of(joint: Any, at: int, size: int) -> float:
    """Replace ``size`` responsibilities by their square roots; return their sum."""
    width = lanes_of(joint)
    result = broadcast(joint.dtype.type(0))
    for t in range(at, at + size, width):
        r = load(joint, t)
        result = result + r
        store(joint, t, square_root(r))
    return total(result)


@part
def choose(roots: Any, at: int, size: int, least: float, chosen: Any) -> int:
    """Write which of ``size`` rows have a root above the least; return how many."""
    n = 0
    for t in range(size):
        chosen[n] = t
        n += 1 if roots[at + t] > least else 0
    return n


class TriangleDensity(NamedTuple):
    """What a pass needs of a mixture with whole covariance matrices, in the compute dtype."""

    log_scale: FloatArray
    """(k,) log weight + log determinant of the whitening - d/2 log 2 pi."""
    means: FloatArray
    """(k, d)."""
    whitening: FloatArray
    """(k, ...) or (1, ...) W = sqrt(1/2) L^-1 in bands, where L L^T is the covariance."""
    biases: FloatArray
    """(k, d) W (centre - mean); zeros unless ``near``."""
    near: bool
    """Whether all means are so near the centre that both steps may take the rows about it."""
    centre: FloatArray
    """(d,) what rows are taken about; zeros unless ``near``."""
    origins: FloatArray
    """(k, d) what the statistics are centred about: the centre if ``near``, else the means."""


class TriangleWork(NamedTuple):
    """The memory of a pass over a block of rows; all flat."""

    columns: FloatArray
    """(d, rows) of each chunk of a tile, chunk after chunk."""
    away: FloatArray
    """Far: (d, rows) of one chunk less a mean; or (rows, d) of scaled rows."""
    panel: FloatArray
    """Near: (features of a panel, rows)."""
    turned: FloatArray
    """Near: (rows, k) responsibilities."""
    sums: Float64Array
    """Near: (features, k), whole panels by whole vectors. Far: bands of scatter."""
    corner: Float64Array
    """A square of sums on its way to the statistics."""
    chosen: IntArray
    """Far: rows of a tile that count for a component."""


@part
def band_size(d: int) -> int:
    """Return how many numbers a triangle of scatter has in bands."""
    bands = (d + BAND - 1) // BAND
    return BAND * BAND * bands * (bands + 1) // 2


def triangle_work(density: Any, tile_rows: Any) -> Any:
    """Return the memory of a pass."""
    n_components, d = density.means.shape
    like = density.means
    width = lanes_of(like)
    run = chunk_rows(like)
    n_chunks = round_up(tile_rows, run) // run
    columns = aligned(n_chunks * pitch_of(round_up(d, width), run, like), like)
    if density.near:
        panel = aligned(PRODUCT_HEIGHT * PANEL_ROW, like)
        turned = aligned(tile_rows * turned_row(n_components, like), like)
        # one panel more: squares of sums are read whole
        n_features = round_up(1 + d + d * (d + 1) // 2, PRODUCT_HEIGHT) + PRODUCT_HEIGHT
        sums = aligned(n_features * round_up(n_components, width), np.empty(0))
        away = aligned(0, like)
    else:
        panel = aligned(0, like)
        turned = aligned(0, like)
        sums = aligned(density.whitening.shape[0] * band_size(d), np.empty(0))
        away = aligned(max(d * run, (SCATTER_ROWS + 1) * padded_row(d, like)), like)
    fill(sums, 0, sums.size, 0)
    corner = aligned(lanes_of(sums) ** 2, sums)
    chosen = np.empty(tile_rows + 1, np.int64)
    for t in range(chosen.size):
        chosen[t] = t
    return TriangleWork(columns, away, panel, turned, sums, corner, chosen)


def banded_log_density(tile: Any, density: Any, scratch: Any) -> None:
    """Write log_scale - |L^-1 (x - mean)|^2 for all components (see kernels/steps.py).

    ``density.whitening`` has one row for all components, or one a component.
    """
    rows, start, size, joint, stride = tile
    n_components, d = density.means.shape
    factors = flattened(density.whitening)
    means, biases = flattened(density.means), flattened(density.biases)
    apart = density.whitening.shape[1] if density.whitening.shape[0] > 1 else 0
    width = lanes_of(rows)
    run = chunk_rows(rows)
    pitch = pitch_of(round_up(d, width), run, rows)
    for first in range(0, size, run):
        columns_at = first // run * pitch
        load_about(
            rows, d, start + first, min(run, size - first), run, density.centre, scratch.columns,
            columns_at, run,
        )  # fmt: skip
        for k in range(n_components):
            out = k * stride + first
            for v in range(WHITENING_WIDTH):
                store(joint, out + v * width, broadcast(joint.dtype.type(0)))
            z, z_at = scratch.columns, columns_at
            if not density.near:
                for j in range(d):
                    mean = load_broadcast(means, k * d + j)
                    for t in range(j * run, (j + 1) * run, width):
                        store(scratch.away, t, load(scratch.columns, columns_at + t) - mean)
                z, z_at = scratch.away, 0
            band = k * apart
            i = 0
            while i + WHITENING_HEIGHT <= d:
                add_whitened_squares(
                    factors, band, z, z_at, run, i, WHITENING_HEIGHT, WHITENING_WIDTH,
                    biases, k * d + i, joint, out,
                )  # fmt: skip
                i += WHITENING_HEIGHT
                band += i * WHITENING_HEIGHT
            while i < d:
                add_whitened_squares(
                    factors, band, z, z_at, run, i, 1, WHITENING_WIDTH, biases, k * d + i,
                    joint, out,
                )  # fmt: skip
                i += 1
                band += i
            scale = load_broadcast(density.log_scale, k)
            for v in range(WHITENING_WIDTH):
                store(joint, out + v * width, scale - load(joint, out + v * width))


def triangle_accumulate(
    tile: Any, density: Any, scratch: Any, shares: Any, statistics: Any
) -> None:
    """Add counts, first moments and scatter of all components over a tile."""
    if density.near:
        add_panels(tile, density, scratch, shares)
        return
    rows, start, size, joint, stride = tile
    n_components, d = density.origins.shape
    width = lanes_of(rows)
    share_out(joint, 0, stride, n_components, (size + width - 1) // width, shares, 0)
    origins = flattened(density.origins)
    away, sums = scratch.away, scratch.sums
    apart = band_size(d) if density.whitening.shape[0] > 1 else 0
    row = padded_row(d, rows)
    for k in range(n_components):
        statistics.counts[k] += roots_of(joint, k * stride, size)
        n_chosen = size
        if d >= FEWEST_COLUMNS:
            # of what there is so far: a component that dies away keeps its rows
            least = LEAST_ROOT * math.sqrt(statistics.counts[k])
            n_chosen = choose(joint, k * stride, size, least, scratch.chosen)
        for t in range(0, n_chosen, SCATTER_ROWS):
            n = min(SCATTER_ROWS, n_chosen - t)
            scaled_away(
                rows, d, start, scratch.chosen, t, n, origins, k * d, joint, k * stride,
                away, row, statistics.first[k],
            )  # fmt: skip
            i = 0
            while i < d:
                across = i // BAND * BAND + BAND
                out = k * apart + 4 * (across // BAND - 1) * across + (i % BAND) * across
                high = i + PRODUCT_HEIGHT <= d
                # a narrow vector need not go on to the end of the band
                end = (i + (PRODUCT_HEIGHT if high else 1) + width - 1) // width * width
                j = 0
                while j < end:
                    left = (end - j) // width
                    if not high:
                        add_square_products(
                            away, row, n, i, j, across - j, 1, 1, sums, out + j, across
                        )
                        j += width
                    elif left >= 2:
                        add_square_products(
                            away, row, n, i, j, across - j, PRODUCT_HEIGHT, 2,
                            sums, out + j, across,
                        )  # fmt: skip
                        j += 2 * width
                    else:
                        add_square_products(
                            away, row, n, i, j, across - j, PRODUCT_HEIGHT, 1,
                            sums, out + j, across,
                        )  # fmt: skip
                        j += width
                i += PRODUCT_HEIGHT if high else 1


def triangle_finish(density: Any, scratch: Any, statistics: Any) -> None:
    """Add the sums of a block of rows to the statistics."""
    if density.near:
        finish_panels(density, scratch, statistics)
        return
    d = density.origins.shape[1]
    second, sums = statistics.second, scratch.sums
    for g in range(second.shape[0]):
        for i in range(d):
            across = i // BAND * BAND + BAND
            at = g * band_size(d) + (across - BAND) * across // 2 + i % BAND * across
            for j in range(i + 1):
                second[g, i * (i + 1) // 2 + j] += sums[at + j]


implement(
    TriangleDensity,
    Steps(triangle_work, whole_tiles, banded_log_density, triangle_accumulate, triangle_finish),
)
