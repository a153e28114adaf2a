"""Triangular arithmetic in register blocks, shared by the shapes that have whole matrices.

A triangle of factors lies in *bands* of a few rows (``bands.py``), which are register blocks.

The moments have two forms (see ``unrolled.py`` for when rows may be taken about one centre).
Near it they are one matrix product (``panels.py``), unless few rows count for a component; then,
and far from it, every component's own scatter is summed (``scatter.py``).
"""

from typing import Any, NamedTuple

import numpy as np

from fastgmm._typing import Float64Array, FloatArray, IntArray
from fastgmm.kernels.bands import BAND_HEIGHT, LOW_BAND, rows_of_band
from fastgmm.kernels.blocks import CHUNK_VECTORS, PRODUCT_HEIGHT
from fastgmm.kernels.columns import chunk_rows, load_about, padded_row
from fastgmm.kernels.densities.chosen import few_chosen
from fastgmm.kernels.densities.panels import (
    PANEL_ROW,
    add_panels,
    finish_panels,
    keep_columns,
    round_up,
    turned_row,
)
from fastgmm.kernels.densities.scatter import (
    SCATTER_ROWS,
    add_scatter,
    band_size,
    finish_scatter,
)
from fastgmm.kernels.matrix_blocks import add_whitened_squares
from fastgmm.kernels.memory import aligned, fill, flattened
from fastgmm.kernels.steps import Steps, implement, whole_tiles
from fastgmm.simd import broadcast, lanes_of, load, load_broadcast, store

PAIRS, PAIRS_BY_VECTORS = 2.0, 10.0
"""Scatter takes no longer than panels where one of ``PAIRS + PAIRS_BY_VECTORS`` / (vectors that the
columns make) pairs of a row and a component counts: in float64 (float32) one of 7 (12) in 16
columns, of 3 (4) in 64."""


class TriangleDensity(NamedTuple):
    """What a pass needs of a mixture with whole covariance matrices, in the compute dtype."""

    log_scale: FloatArray
    """(k,) log weight + log density at the mean, to base two."""
    means: FloatArray
    """(k, d)."""
    whitening: FloatArray
    """(k, ...) or (1, ...) W = L^-1 / sqrt(2 ln 2) in bands, L L^T being the covariance."""
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

    chunk: FloatArray
    """(d, rows) of one chunk of a tile, side by side for the densities."""
    columns: FloatArray
    """Near: (d, rows) of the tile, for the moments: 16 chunks of 128 columns are on 128 pages."""
    away: FloatArray
    """Far: (d, rows) of one chunk less a mean; or (rows, d) of scaled rows."""
    panel: FloatArray
    """Near: (features of a panel, rows)."""
    turned: FloatArray
    """Near: (rows, k) responsibilities."""
    sums: Float64Array
    """Near: (features, k), whole panels by whole vectors."""
    scatter: Float64Array
    """(k or 1, ...) triangles in bands."""
    begun: IntArray
    """(2,) whether the sums, and the scatter, have been begun with zeros: few blocks need both."""
    given: Float64Array
    """(k,) sums of responsibilities before a tile."""
    corner: Float64Array
    """A square of sums on its way to the statistics."""
    chosen: IntArray
    """Rows of a tile that count for a component."""


def triangle_work(density: Any, tile_rows: Any) -> Any:
    """Return the memory of a pass."""
    n_components, d = density.means.shape
    like = density.means
    width = lanes_of(like)
    run = chunk_rows(like)
    chunk = aligned(round_up(d, width) * run, like)
    if density.near:
        columns = aligned(d * PANEL_ROW, like)
        panel = aligned(PRODUCT_HEIGHT * PANEL_ROW, like)
        turned = aligned(tile_rows * turned_row(n_components, like), like)
        # one panel more: squares of sums are read whole
        n_features = round_up(1 + d + d * (d + 1) // 2, PRODUCT_HEIGHT) + PRODUCT_HEIGHT
        sums = aligned(n_features * round_up(n_components, width), np.empty(0))
    else:
        columns = aligned(0, like)
        panel = aligned(0, like)
        turned = aligned(0, like)
        sums = aligned(0, np.empty(0))
    scatter = aligned(density.whitening.shape[0] * band_size(d), np.empty(0))
    away = aligned(max(d * run, (SCATTER_ROWS + 1) * padded_row(d, like)), like)
    corner = aligned(lanes_of(sums) ** 2, sums)
    chosen = np.empty(tile_rows, np.int64)
    begun, given = np.zeros(2, np.int64), aligned(n_components, np.empty(0))
    return TriangleWork(
        chunk, columns, away, panel, turned, sums, scatter, begun, given, corner, chosen
    )


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
    for first in range(0, size, run):
        load_about(
            rows, d, start + first, min(run, size - first), run, density.centre, scratch.chunk, 0,
            run,
        )  # fmt: skip
        if density.near:
            keep_columns(scratch.chunk, d, run, scratch.columns, first)
        for k in range(n_components):
            out = k * stride + first
            for v in range(CHUNK_VECTORS):
                store(joint, out + v * width, broadcast(joint.dtype.type(0)))
            z = scratch.chunk
            if not density.near:
                for j in range(d):
                    mean = load_broadcast(means, k * d + j)
                    for t in range(j * run, (j + 1) * run, width):
                        store(scratch.away, t, load(scratch.chunk, t) - mean)
                z = scratch.away
            band = k * apart
            i = 0
            while i < d:
                height = rows_of_band(i, d, BAND_HEIGHT)
                if height == BAND_HEIGHT:
                    add_whitened_squares(
                        factors, band, z, 0, run, i, BAND_HEIGHT, CHUNK_VECTORS,
                        biases, k * d + i, joint, out,
                    )  # fmt: skip
                elif height == LOW_BAND:
                    add_whitened_squares(
                        factors, band, z, 0, run, i, LOW_BAND, CHUNK_VECTORS,
                        biases, k * d + i, joint, out,
                    )  # fmt: skip
                else:
                    add_whitened_squares(
                        factors, band, z, 0, run, i, 1, CHUNK_VECTORS,
                        biases, k * d + i, joint, out,
                    )  # fmt: skip
                i += height
                band += i * height
            scale = load_broadcast(density.log_scale, k)
            for v in range(CHUNK_VECTORS):
                store(joint, out + v * width, scale - load(joint, out + v * width))


def triangle_accumulate(
    tile: Any, density: Any, scratch: Any, shares: Any, statistics: Any
) -> None:
    """Add counts, first moments and scatter of all components over a tile."""
    n_components, d = density.origins.shape
    begun, given = scratch.begun, scratch.given
    for k in range(n_components):
        # the first feature of a panel is 1
        given[k] = statistics.counts[k] + (scratch.sums[k] if begun[0] == 1 else 0.0)
    pairs = PAIRS + PAIRS_BY_VECTORS * lanes_of(tile.joint) / d
    few = density.near and few_chosen(
        tile.joint, 0, tile.stride, n_components, d, tile.size, pairs, given, tile.start
    )
    if density.near and not few:
        if begun[0] == 0:
            fill(scratch.sums, 0, scratch.sums.size, 0)
            begun[0] = 1
        add_panels(tile, density, scratch, shares)
        return
    if begun[1] == 0:
        fill(scratch.scatter, 0, scratch.scatter.size, 0)
        begun[1] = 1
    apart = band_size(d) if density.whitening.shape[0] > 1 else 0
    add_scatter(tile, density.origins, scratch, shares, statistics, apart)


def triangle_finish(density: Any, scratch: Any, statistics: Any) -> None:
    """Add the sums of a block of rows to the statistics."""
    if scratch.begun[0] == 1:
        finish_panels(density, scratch, statistics)
    if scratch.begun[1] == 1:
        finish_scatter(scratch.scatter, density.origins.shape[1], statistics.second)


implement(
    TriangleDensity,
    Steps(triangle_work, whole_tiles, banded_log_density, triangle_accumulate, triangle_finish),
)
