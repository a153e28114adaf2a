"""The moments of whole matrices, component by component: the scatter of the rows that count for it.

A component's scatter is summed from sqrt(r) (x - origin), r a row's responsibility, in *bands* of
``BAND`` rows, row by row, all rows of a band equally long. Far components have no other way, as
each has an origin of its own. Near ones take it for tiles whose rows count for few of them
(``chosen.py``): the panels of all components (``panels.py``) are one product for every row and
component.
"""

from typing import Any

from fastgmm._jit import part
from fastgmm.kernels.blocks import PRODUCT_HEIGHT
from fastgmm.kernels.columns import padded_row
from fastgmm.kernels.densities.chosen import FEWEST_COLUMNS, choose, least_share, shared
from fastgmm.kernels.matrix_blocks import add_square_products
from fastgmm.kernels.memory import flattened
from fastgmm.simd import (
    broadcast,
    fma,
    lanes_of,
    load,
    load_broadcast,
    load_part,
    store,
)

SCATTER_ROWS = 64
"""Rows whose products are summed in registers at a time: 64 x 48 doubles (d = 41) stay in L1."""

BAND = 8
"""Rows of a band of scatter."""


@part
def band_size(d: int) -> int:
    """Return how many numbers a triangle of scatter has in bands."""
    bands = (d + BAND - 1) // BAND
    return BAND * BAND * bands * (bands + 1) // 2


@part
def add_scatter(
    tile: Any, origins: Any, scratch: Any, shares: Any, statistics: Any, apart: int
) -> None:
    """Add counts, first moments and scatter about ``origins`` (k, d) of all components over a tile.

    The scatter goes to ``scratch.scatter``, ``apart`` numbers from component to component.
    ``scratch.given`` (k,) is what components have been given before the tile.
    """
    rows, start, size, joint, stride = tile
    n_components, d = origins.shape
    flat = flattened(origins)
    away, row = scratch.away, padded_row(d, rows)
    share = least_share(start + size, rows)
    for k in range(n_components):
        count = shared(joint, k * stride, size, shares)
        statistics.counts[k] += count
        least = share * (scratch.given[k] + count) if d >= FEWEST_COLUMNS else -1.0
        n_chosen = choose(joint, k * stride, size, least, scratch.chosen)
        for t in range(0, n_chosen, SCATTER_ROWS):
            n = min(SCATTER_ROWS, n_chosen - t)
            scaled_away(
                rows, d, start, scratch.chosen, t, n, flat, k * d, joint, k * stride,
                away, row, statistics.first[k],
            )  # fmt: skip
            add_bands(away, row, n, d, scratch.scatter, k * apart)


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
def add_bands(away: Any, row: int, size: int, d: int, sums: Any, begin: int) -> None:
    """Add the products of all pairs of columns over ``size`` rows to a triangle in bands."""
    width = lanes_of(away)
    i = 0
    while i < d:
        across = i // BAND * BAND + BAND
        out = begin + 4 * (across // BAND - 1) * across + (i % BAND) * across
        high = i + PRODUCT_HEIGHT <= d
        # a narrow vector need not go on to the end of the band
        end = (i + (PRODUCT_HEIGHT if high else 1) + width - 1) // width * width
        j = 0
        while j < end:
            left = (end - j) // width
            if not high:
                add_square_products(away, row, size, i, j, across - j, 1, 1, sums, out + j, across)
                j += width
            elif left >= 2:
                add_square_products(
                    away, row, size, i, j, across - j, PRODUCT_HEIGHT, 2,
                    sums, out + j, across,
                )  # fmt: skip
                j += 2 * width
            else:
                add_square_products(
                    away, row, size, i, j, across - j, PRODUCT_HEIGHT, 1,
                    sums, out + j, across,
                )  # fmt: skip
                j += width
        i += PRODUCT_HEIGHT if high else 1


@part
def finish_scatter(sums: Any, d: int, second: Any) -> None:
    """Add triangles in bands to ``second`` (k or 1, d (d + 1) / 2)."""
    for g in range(second.shape[0]):
        for i in range(d):
            across = i // BAND * BAND + BAND
            at = g * band_size(d) + (across - BAND) * across // 2 + i % BAND * across
            for j in range(i + 1):
                second[g, i * (i + 1) // 2 + j] += sums[at + j]
