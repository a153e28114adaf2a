"""Triangular arithmetic in register blocks, shared by the shapes that have whole matrices.

A triangle of factors lies in *bands* of ``WHITENING_HEIGHT`` rows: in a band the columns follow
each other, a number for each of its rows. A triangle of scatter lies in bands of ``BAND`` rows, row
by row, all rows of a band equally long.
"""

from typing import Any, NamedTuple

from fastgmm._jit import is_record, overload, part
from fastgmm._typing import FloatArray
from fastgmm.kernels.blocks import (
    PRODUCT_HEIGHT,
    PRODUCT_WIDTH,
    WHITENING_HEIGHT,
    WHITENING_WIDTH,
    add_square_products,
    add_whitened_squares,
)
from fastgmm.kernels.columns import chunk_rows, load_chunk, padded_row
from fastgmm.kernels.expectation import (
    accumulate,
    aligned,
    finish,
    log_density,
    nothing_left,
    work,
)
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
"""Rows of a band of scatter, whatever the processor: statistics travel between machines."""


@part
def scaled_away(
    rows: Any,
    d: int,
    first: int,
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
            root = load_broadcast(roots, roots_at + t)
            z = (load(rows, (first + t) * d + j) - origin) * root
            store(away, t * stride + j, z)
            even = fma(z, root, even)
            root = load_broadcast(roots, roots_at + t + 1)
            z = (load(rows, (first + t + 1) * d + j) - origin) * root
            store(away, (t + 1) * stride + j, z)
            odd = fma(z, root, odd)
        for t in range(whole, size):
            root = load_broadcast(roots, roots_at + t)
            z = (load_part(rows, (first + t) * d + j, inside) - origin) * root
            store(away, t * stride + j, z)
            even = fma(z, root, even)
        # through memory: adding lanes to float64 sums is rare enough
        store(away, SCATTER_ROWS * stride, even + odd)
        for lane in range(inside):
            moments[j + lane] += away[SCATTER_ROWS * stride + lane]


@part
def subtract(
    scratch: Any, d: int, run: int, means: Any, mean_at: int, z_at: int, out: Any, out_at: int
) -> None:
    """Write a run's columns less a mean behind them, and zeros to the run of ``out``."""
    width = lanes_of(scratch)
    for v in range(WHITENING_WIDTH):
        store(out, out_at + v * width, broadcast(scratch.dtype.type(0)))
    for j in range(d):
        mean = load_broadcast(means, mean_at + j)
        for v in range(WHITENING_WIDTH):
            at = j * run + v * width
            store(scratch, z_at + at, load(scratch, at) - mean)


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


class TriangleDensity(NamedTuple):
    """What a pass needs of a mixture with whole covariance matrices, in the compute dtype."""

    log_scale: FloatArray
    """(k,) log weight + log determinant of the whitening - d/2 log 2 pi."""
    means: FloatArray
    """(k, d)."""
    whitening: FloatArray
    """(k, ...) or (1, ...) sqrt(1/2) L^-1 in bands, where L L^T is the covariance."""
    origins: FloatArray
    """(k, d) what the statistics are centred about: the means, as a rule."""


@overload(work)
def _work(density: Any, tile_rows: Any) -> Any:
    if not is_record(density, TriangleDensity):
        return None

    def operands(density: Any, tile_rows: Any) -> Any:
        d = density.means.shape[1]
        run = 2 * d * chunk_rows(density.means)
        scatter = (SCATTER_ROWS + 1) * padded_row(d, density.means)
        return aligned(max(run, scatter), density.means)

    return operands


@overload(log_density)
def _log_density(
    rows: Any, start: Any, size: Any, density: Any, scratch: Any, joint: Any, stride: Any
) -> Any:
    return banded_log_density if is_record(density, TriangleDensity) else None


@overload(accumulate)
def _accumulate(
    rows: Any,
    start: Any,
    size: Any,
    density: Any,
    scratch: Any,
    joint: Any,
    stride: Any,
    statistics: Any,
) -> Any:
    return banded_accumulate if is_record(density, TriangleDensity) else None


@overload(finish)
def _finish(density: Any, scratch: Any, statistics: Any) -> Any:
    return nothing_left if is_record(density, TriangleDensity) else None


# The two functions below are the implementations themselves and hold their loops over register
# blocks: every function between a block and its kernel is optimised once more.


def banded_log_density(
    rows: Any, start: Any, size: Any, density: Any, scratch: Any, joint: Any, stride: Any
) -> None:
    """Write log_scale - |L^-1 (x - mean)|^2 for all components (see kernels/expectation.py).

    ``density.whitening`` has one row for all components, or one a component.
    """
    n_components, d = density.means.shape
    means = density.means.reshape(density.means.size)
    factors = density.whitening.reshape(density.whitening.size)
    apart = factors.size // n_components if density.whitening.shape[0] > 1 else 0
    width = lanes_of(rows)
    run = chunk_rows(rows)
    z_at = d * run
    for first in range(0, size, run):
        load_chunk(rows, d, start + first, min(run, size - first), run, scratch, 0, run)
        for k in range(n_components):
            out = k * stride + first
            subtract(scratch, d, run, means, k * d, z_at, joint, out)
            band = k * apart
            i = 0
            while i + WHITENING_HEIGHT <= d:
                add_whitened_squares(
                    factors, band, scratch, z_at, run, i, WHITENING_HEIGHT, WHITENING_WIDTH,
                    joint, out,
                )  # fmt: skip
                i += WHITENING_HEIGHT
                band += i * WHITENING_HEIGHT
            while i < d:
                add_whitened_squares(
                    factors, band, scratch, z_at, run, i, 1, WHITENING_WIDTH, joint, out
                )
                i += 1
                band += i
            scale = load_broadcast(density.log_scale, k)
            for v in range(WHITENING_WIDTH):
                store(joint, out + v * width, scale - load(joint, out + v * width))


def banded_accumulate(
    rows: Any,
    start: Any,
    size: Any,
    density: Any,
    scratch: Any,
    joint: Any,
    stride: Any,
    statistics: Any,
) -> None:
    """Add counts, first moments and scatter of all components over a tile.

    ``statistics.second`` has the triangle of scatter of all components, or one a component, in
    bands of eight rows, each as wide as its last row rounded up to eight (``BAND``).
    """
    n_components, d = density.origins.shape
    origins = density.origins.reshape(density.origins.size)
    second = statistics.second.reshape(statistics.second.size)
    apart = second.size // n_components if statistics.second.shape[0] > 1 else 0
    width = lanes_of(rows)
    row = padded_row(d, rows)
    for k in range(n_components):
        statistics.counts[k] += roots_of(joint, k * stride, size)
        for t in range(0, size, SCATTER_ROWS):
            n = min(SCATTER_ROWS, size - t)
            scaled_away(
                rows, d, start + t, n, origins, k * d, joint, k * stride + t,
                scratch, row, statistics.first[k],
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
                            scratch, row, n, i, j, across - j, 1, 1, second, out + j, across
                        )
                        j += width
                    # 4 = 2 + 2, not 3 + 1: a block of one vector waits for its loads
                    elif left == 3 or left > 4:
                        add_square_products(
                            scratch, row, n, i, j, across - j, PRODUCT_HEIGHT, PRODUCT_WIDTH,
                            second, out + j, across,
                        )  # fmt: skip
                        j += PRODUCT_WIDTH * width
                    elif left >= 2:
                        add_square_products(
                            scratch, row, n, i, j, across - j, PRODUCT_HEIGHT, 2,
                            second, out + j, across,
                        )  # fmt: skip
                        j += 2 * width
                    else:
                        add_square_products(
                            scratch, row, n, i, j, across - j, PRODUCT_HEIGHT, 1,
                            second, out + j, across,
                        )  # fmt: skip
                        j += width
                i += PRODUCT_HEIGHT if high else 1
