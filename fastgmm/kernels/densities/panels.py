"""The moments of whole matrices about a common centre: panels of features, for all components.

They are one matrix product: *panels* of a few features (1, x and the products x_i x_j) by the
responsibilities turned to (t, k). A panel is made of a tile's columns, a vector of rows an
instruction, and serves all components; no number of a triangle is computed twice.
"""

from typing import Any

from fastgmm._jit import part
from fastgmm.kernels.blocks import PRODUCT_HEIGHT, PRODUCT_WIDTH, WIDE
from fastgmm.kernels.columns import turn_shared
from fastgmm.kernels.matrix_blocks import add_products
from fastgmm.kernels.memory import fill, flattened
from fastgmm.kernels.steps import MOST_ROWS
from fastgmm.simd import lanes_of, load, store, transpose_block

LOW_HEIGHT = 6
"""Features of a panel whose blocks are four vectors wide, with 10 loads for 24 products: two blocks
of eight by two, with 10 for 16, take 1.25 times as long."""


PANEL_ROW = MOST_ROWS + 16
"""Numbers from one feature of a panel to the next, whatever the tile: a constant needs no sums of
addresses, and is no power of two."""


@part
def round_up(n: int, step: int) -> int:
    """Return the next multiple of ``step``."""
    return (n + step - 1) // step * step


@part
def turned_row(n_components: int, like: Any) -> int:
    """Return the numbers from one row of turned responsibilities to the next: odd many lines."""
    width = lanes_of(like)
    return ((n_components + width - 1) // width | 1) * width


@part
def keep_columns(chunk: Any, d: int, run: int, columns: Any, to: int) -> None:
    """Write a chunk (d, run) of a tile to the tile's columns, from row ``to`` on."""
    width = lanes_of(chunk)
    for j in range(d):
        for t in range(0, run, width):
            store(columns, j * PANEL_ROW + to + t, load(chunk, j * run + t))


@part
def write_feature(
    columns: Any, feature: int, i: int, j: int, d: int, end: int, out: Any, out_at: int
) -> None:
    """Write a feature of a tile's rows: 1, a column, the product of columns i and j, or zeros."""
    width = lanes_of(columns)
    if feature == 0 or i >= d:
        fill(out, out_at, out_at + end, 1 if feature == 0 else 0)
    elif feature <= d:
        at = (feature - 1) * PANEL_ROW
        for t in range(0, end, width):
            store(out, out_at + t, load(columns, at + t))
    else:
        for t in range(0, end, width):
            value = load(columns, i * PANEL_ROW + t) * load(columns, j * PANEL_ROW + t)
            store(out, out_at + t, value)


@part
def panel_height(n_vectors: int) -> int:
    """Return how many features a panel has, by the vectors that all components make."""
    return LOW_HEIGHT if WIDE and (n_vectors == 4 or n_vectors > 6) else PRODUCT_HEIGHT


@part
def add_panel(panel: Any, turned: Any, row: int, end: int, sums: Any, at: int, whole: int) -> None:
    """Add the products of a panel of PRODUCT_HEIGHT features and all components."""
    width = lanes_of(turned)
    k = 0
    while k < whole:
        left = (whole - k) // width
        # 4 = 2 + 2, not 3 + 1: a block of one vector waits for its loads
        if PRODUCT_WIDTH == 3 and (left == 3 or left > 4):
            add_products(
                panel, PANEL_ROW, turned, k, row, end, PRODUCT_HEIGHT, 3, sums, at + k, whole
            )
            k += 3 * width
        elif left >= 2:
            add_products(
                panel, PANEL_ROW, turned, k, row, end, PRODUCT_HEIGHT, 2, sums, at + k, whole
            )
            k += 2 * width
        else:
            add_products(
                panel, PANEL_ROW, turned, k, row, end, PRODUCT_HEIGHT, 1, sums, at + k, whole
            )
            k += width


@part
def add_low_panel(
    panel: Any, turned: Any, row: int, end: int, sums: Any, at: int, whole: int
) -> None:
    """Add the products of a panel of LOW_HEIGHT features and all components."""
    width = lanes_of(turned)
    # as few blocks of three vectors as leave a multiple of four
    narrow = -(whole // width) % 4
    k = 0
    while k < whole:
        if narrow > 0:
            add_products(panel, PANEL_ROW, turned, k, row, end, LOW_HEIGHT, 3, sums, at + k, whole)
            k += 3 * width
            narrow -= 1
        else:
            add_products(panel, PANEL_ROW, turned, k, row, end, LOW_HEIGHT, 4, sums, at + k, whole)
            k += 4 * width


@part
def add_panels(tile: Any, density: Any, scratch: Any, shares: Any) -> None:
    """Add all components' moments over a tile to the sums (features, k)."""
    _, _, size, joint, stride = tile
    n_components, d = density.origins.shape
    width = lanes_of(joint)
    panel, turned = scratch.panel, scratch.turned
    end = round_up(size, width)
    whole = round_up(n_components, width)
    row = turned_row(n_components, joint)
    for t in range(0, end, width):
        for k in range(0, n_components, width):
            turn_shared(joint, k * stride + t, stride, shares, t, turned, t * row + k, row)
    n_features = 1 + d + d * (d + 1) // 2
    height = panel_height(whole // width)
    # the pair of columns whose product comes next
    i, j = 0, 0
    for feature in range(0, n_features, height):
        for f in range(height):
            write_feature(scratch.columns, feature + f, i, j, d, end, panel, f * PANEL_ROW)
            if feature + f > d:
                j += 1
                if j > i:
                    i, j = i + 1, 0
        at = feature * whole
        if height == LOW_HEIGHT:
            add_low_panel(panel, turned, row, end, scratch.sums, at, whole)
        else:
            add_panel(panel, turned, row, end, scratch.sums, at, whole)


@part
def finish_panels(density: Any, scratch: Any, statistics: Any) -> None:
    """Add the sums of a block of rows to the statistics."""
    n_components, d = density.origins.shape
    second, sums, corner = statistics.second, scratch.sums, scratch.corner
    size = d * (d + 1) // 2
    whole = round_up(n_components, lanes_of(density.means))
    for k in range(n_components):
        statistics.counts[k] += sums[k]
        for j in range(d):
            statistics.first[k, j] += sums[(1 + j) * whole + k]
    # square by square: number by number, every one on a page of its own, it was the dearest
    # part of a pass over few rows
    step = lanes_of(sums)
    triangles = flattened(second)
    for p in range(0, size, step):
        for k in range(0, n_components, step):
            transpose_block(sums, (1 + d + p) * whole + k, whole, corner, 0, step)
            for r in range(min(step, n_components - k)):
                at = (k + r) * size + p
                if p + step <= size:
                    store(triangles, at, load(triangles, at) + load(corner, r * step))
                else:
                    for rest in range(size - p):
                        triangles[at + rest] += corner[r * step + rest]
