"""Covariances along the axes: scaled distances and moments, shared by diagonal and spherical.

Two forms of each step. The *product* form works on rows about one common centre: two fused
instructions a number, which is what the processor can do; where the farthest component lies R
standard deviations from the centre it loses eps R (log density) and eps R^2 (moments). The
*centred* form subtracts each component's own mean: one and a half to two times the work, and no
digits lost. ``near`` decides (``covariance/nearness.py``).

A tile's columns are made once and serve both steps, a vector of rows at a time. Register blocks
take 4 components x 4 vectors of rows for the distances, and for the moments 4 components x 3
columns x (x, x^2): whatever the number of columns, no lane is empty. The last block of components
begins so early that it is full, too; what it does twice is counted once. In tiles where few rows
count for a component its moments are summed over these alone (``chosen.py``), about its origin.
"""

from typing import Any, NamedTuple

import numpy as np

from fastgmm._jit import part
from fastgmm._typing import Float64Array, FloatArray, IntArray
from fastgmm.kernels.blocks import (
    BLOCK_HEIGHT,
    CHUNK_VECTORS,
    height_of,
    slot_of,
)
from fastgmm.kernels.columns import chunk_rows, load_about, numbers_ahead
from fastgmm.kernels.densities.axes_blocks import MOMENTS_WIDTH, add_axes_moments, scaled_distances
from fastgmm.kernels.densities.chosen import choose, few_chosen, least_share, shared
from fastgmm.kernels.memory import aligned, cleared, flattened, stride_of
from fastgmm.kernels.softmax import share_out
from fastgmm.kernels.steps import Steps, implement, whole_tiles
from fastgmm.simd import broadcast, fma, lanes_of, load_broadcast, load_part, store

PAIRS, PAIRS_BY_VECTORS = 8.0, 64.0
"""Moments of the rows that count take no longer than those of all where one of so many pairs of a
row and a component counts: of ``PAIRS_BY_VECTORS`` / (vectors that the columns make), 21 (43) in 24
columns in float64 (float32), but of no fewer than ``PAIRS``: of 4 in 128 columns they took 1.3
times as long."""


class AxesDensity(NamedTuple):
    """What a pass needs of a mixture with covariances along the axes, in the compute dtype."""

    log_scale: FloatArray
    """(k,) log weight + log density at the mean, to base two."""
    means: FloatArray
    """(k, d)."""
    scales: FloatArray
    """(k, d) one over the standard deviations and sqrt(2 ln 2)."""
    biases: FloatArray
    """(k, d) scales times (centre - mean); zeros unless ``near``."""
    near: bool
    """Whether all means are so near the centre that both steps may take the rows about it."""
    centre: FloatArray
    """(d,) what rows are taken about; zeros unless ``near``."""
    origins: FloatArray
    """(k, d) what the statistics are centred about: the centre if ``near``, else the means."""


class AxesWork(NamedTuple):
    """The memory of a pass over a block of rows."""

    scales: FloatArray
    """Flat (k, d); to flatten an array costs as much as eight rows of two columns."""
    shifts: FloatArray
    """Flat (k, d) biases, or means in the centred forms."""
    origins: FloatArray
    """Flat (k, d)."""
    columns: FloatArray
    """Flat (d, stride) columns of a tile; as many as whole vectors have."""
    sums: Float64Array
    """(2 d + 1, slots) sums of r, of r x and of r x^2: a slot for each component of a block."""
    given: Float64Array
    """(k,) sums of responsibilities before a tile."""
    chosen: IntArray
    """Rows of a tile that count for a component."""
    pair: FloatArray
    """Two vectors of sums on their way to the statistics."""


def axes_work(density: Any, tile_rows: Any) -> Any:
    """Return the memory of a pass."""
    n_components, d = density.means.shape
    width = lanes_of(density.means)
    whole = (d + width - 1) // width * width
    columns = aligned(whole * stride_of(tile_rows, density.means), density.means)
    height = height_of(n_components, BLOCK_HEIGHT)
    slots = (n_components + height - 1) // height * height
    sums = cleared((2 * d + 1) * slots, np.empty(0))
    shifts = density.biases if density.near else density.means
    return AxesWork(
        flattened(density.scales),
        flattened(shifts),
        flattened(density.origins),
        columns,
        sums,
        aligned(n_components, np.empty(0)),
        np.empty(tile_rows, np.int64),
        aligned(2 * width, density.means),
    )


def axes_log_density(tile: Any, density: Any, scratch: Any) -> None:
    """Write log_scale - |scale (x - mean)|^2 for all components (see kernels/steps.py)."""
    rows, start, size, joint, stride = tile
    n_components, d = density.means.shape
    columns, scales, shifts = scratch.columns, scratch.scales, scratch.shifts
    log_scale = density.log_scale
    run = chunk_rows(rows)
    height = height_of(n_components, BLOCK_HEIGHT)
    # A chunk is d x CHUNK_VECTORS vectors of memory. While the first blocks of components work on
    # one, a chunk that is read soon comes from the outer caches: 5 to 9 % of a pass at d >= 16.
    share = d * lanes_of(rows) // height
    for t in range(0, size, run):
        load_about(rows, d, start + t, min(run, size - t), run, density.centre, columns, t, stride)
        following = (start + t + run) * d + numbers_ahead(rows)
        block = 0
        while block < n_components:  # in steps: a range would divide, 40 cycles a chunk
            k = min(block, n_components - height)
            ahead = following + min(block, (CHUNK_VECTORS - 1) * height) * share
            block += height
            if not density.near:
                for c in range(k, k + height):
                    scaled_distances(
                        columns, t, stride, d, scales, shifts, 1, CHUNK_VECTORS, True,
                        log_scale, c, joint, t, stride, rows, ahead,
                    )  # fmt: skip
            elif height == 4:
                scaled_distances(
                    columns, t, stride, d, scales, shifts, 4, CHUNK_VECTORS, False,
                    log_scale, k, joint, t, stride, rows, ahead,
                )  # fmt: skip
            elif height == 2:
                scaled_distances(
                    columns, t, stride, d, scales, shifts, 2, CHUNK_VECTORS, False,
                    log_scale, k, joint, t, stride, rows, ahead,
                )  # fmt: skip
            else:
                scaled_distances(
                    columns, t, stride, d, scales, shifts, 1, CHUNK_VECTORS, False,
                    log_scale, k, joint, t, stride, rows, ahead,
                )  # fmt: skip


def axes_accumulate(tile: Any, density: Any, scratch: Any, shares: Any, statistics: Any) -> None:
    """Add sums of r, r x and r x^2 over a tile, x about the origins or the common centre."""
    rows, start, size, joint, stride = tile
    n_components, d = density.means.shape
    height = height_of(n_components, BLOCK_HEIGHT)
    for k in range(n_components):
        # of dense tiles until the end of the block
        waiting = scratch.sums[slot_of(k, n_components, height)]
        scratch.given[k] = statistics.counts[k] + waiting
    pairs = max(PAIRS, PAIRS_BY_VECTORS * lanes_of(rows) / d)
    if few_chosen(joint, 0, stride, n_components, d, size, pairs, scratch.given, start):
        add_chosen_moments(tile, density, scratch, shares, statistics)
        return
    columns, origins, sums = scratch.columns, scratch.origins, scratch.sums
    n_vectors = (size + lanes_of(rows) - 1) // lanes_of(rows)
    share_out(joint, 0, stride, n_components, n_vectors, shares, 0)
    following = 0
    while following < n_components:
        slot = following
        following += height
        k = min(slot, n_components - height)
        if not density.near:
            for c in range(height):
                add_axes_moments(
                    columns, stride, d, joint, k + c, n_vectors, 1, 1, True, origins, sums,
                    slot + c,
                )  # fmt: skip
        elif height == 4:
            add_axes_moments(
                columns, stride, d, joint, k, n_vectors, 4, MOMENTS_WIDTH, False, origins, sums,
                slot,
            )  # fmt: skip
        elif height == 2:
            add_axes_moments(
                columns, stride, d, joint, k, n_vectors, 2, 1, False, origins, sums, slot
            )
        else:
            add_axes_moments(
                columns, stride, d, joint, k, n_vectors, 1, 1, False, origins, sums, slot
            )


@part
def add_chosen_moments(tile: Any, density: Any, scratch: Any, shares: Any, statistics: Any) -> None:
    """Add to the statistics, component by component, the rows of a tile that count for it."""
    rows, start, size, joint, stride = tile
    n_components, d = density.origins.shape
    width = lanes_of(rows)
    origins, chosen, pair = scratch.origins, scratch.chosen, scratch.pair
    step = 1 if statistics.second.shape[1] == d else 0
    share = least_share(start + size, rows)
    for k in range(n_components):
        at = k * stride
        count = shared(joint, at, size, shares)
        statistics.counts[k] += count
        n = choose(joint, at, size, share * (scratch.given[k] + count), chosen)
        if n == 0:
            continue
        first, second = statistics.first[k], statistics.second[k]
        for j in range(0, d, width):
            inside = min(width, d - j)
            origin = load_part(origins, k * d + j, inside)
            one = broadcast(rows.dtype.type(0))
            two = one
            for i in range(n):
                root = load_broadcast(joint, at + chosen[i])
                z = (load_part(rows, (start + chosen[i]) * d + j, inside) - origin) * root
                one = fma(z, root, one)
                two = fma(z, z, two)
            # through memory: to add lanes to float64 sums is rare enough
            store(pair, 0, one)
            store(pair, width, two)
            for lane in range(inside):
                first[j + lane] += pair[lane]
                second[(j + lane) * step] += pair[width + lane]


def axes_finish(density: Any, scratch: Any, statistics: Any) -> None:
    """Add counts, first moments and second moments about the origins over a block of rows.

    ``statistics.second`` is (k, d), or (k, 1) for the sums over the features.
    """
    n_components, d = density.means.shape
    sums = scratch.sums.reshape(2 * d + 1, scratch.sums.size // (2 * d + 1))
    step = 1 if statistics.second.shape[1] == d else 0
    height = height_of(n_components, BLOCK_HEIGHT)
    for k in range(n_components):
        slot = slot_of(k, n_components, height)
        count = sums[0, slot]
        statistics.counts[k] += count
        for j in range(d):
            statistics.first[k, j] += sums[1 + 2 * j, slot]
            statistics.second[k, j * step] += sums[2 + 2 * j, slot]


implement(
    AxesDensity, Steps(axes_work, whole_tiles, axes_log_density, axes_accumulate, axes_finish)
)
