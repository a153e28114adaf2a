"""The parameter update of whole matrices: from scatter to covariances to factors, serial.

LAPACK's threads change the last bits with their number, so fits that must be bit-identical
everywhere do not call it. Here every matrix is worked on by itself, so that it does not matter for
the bits which matrices a call is given.
"""

import math
from typing import Any, NamedTuple

import numpy as np

from fastgmm._jit import kernel, maker, part
from fastgmm.kernels.bands import rows_of_band
from fastgmm.kernels.blocks import PRODUCT_HEIGHT
from fastgmm.kernels.matrix_blocks import add_square_products
from fastgmm.kernels.memory import aligned, fill, flattened
from fastgmm.simd import (
    broadcast,
    fma,
    fnma,
    lanes_of,
    load,
    load_broadcast,
    load_part,
    store,
    store_part,
    transpose_block,
)

PANEL = PRODUCT_HEIGHT
"""Rows that are reduced together: every number loaded from the rows above serves all of them."""


class Work(NamedTuple):
    """(A | I) on its way to (L^T | L^-1), in blocks of two vectors of columns.

    A block holds its rows one after the other, so that reducing a panel reads the rows above it as
    one stream; with whole rows one after the other d = 128 took twice as long.
    """

    numbers: Any
    """All blocks, those of the left half first."""
    across: int
    """Columns of a block."""
    size: int
    """Numbers of a block."""
    half: int
    """Blocks of one half."""
    panel: Any
    """(PANEL, PANEL) the factor of the square on the diagonal."""


@maker
def work_of(d: int, like: Any) -> Work:
    """Return work for matrices (d, d); d is completed with ones on the diagonal."""
    across = 2 * lanes_of(like)
    size = (d + PANEL - 1) // PANEL * PANEL * across
    half = (d + across - 1) // across
    return Work(aligned(2 * half * size, like), across, size, half, aligned(PANEL * PANEL, like))


@part
def fill_block(work: Any, matrix: Any, d: int, i: int, block: int) -> None:
    """Write a panel of -(A | I), from row i on, to a block; ``matrix`` (d d,) is A."""
    numbers, across = work.numbers, work.across
    width = lanes_of(numbers)
    zeros = broadcast(0.0)
    at = block * work.size + i * across
    if block < work.half:
        c = block * across
        for r in range(i, i + PANEL):
            inside = d - c if r < d else 0
            store(numbers, at, -load_part(matrix, r * d + c, inside))
            store(numbers, at + width, -load_part(matrix, r * d + c + width, inside - width))
            if r >= d and c <= r < c + across:
                numbers[at + r - c] = -1.0
            at += across
    else:
        c = (block - work.half) * across
        for r in range(i, i + PANEL):
            store(numbers, at, zeros)
            store(numbers, at + width, zeros)
            if c <= r < c + across:
                numbers[at + r - c] = -1.0
            at += across


@part
def solve(work: Any, i: int, block: int) -> bool:
    """Multiply a reduced panel's numbers in a block by the inverse of the panel's own factor.

    The block of the panel's diagonal, which comes first, decides that factor: ``work.panel`` gets
    it, with -1 / L_rr on its diagonal, for the minus sign of what is solved. False if a pivot is
    not positive.
    """
    numbers, across, panel = work.numbers, work.across, work.panel
    width = lanes_of(numbers)
    begin = block * work.size + i * across
    own = begin + i % across if block == i // across else -1
    for q in range(PANEL):
        at = begin + q * across
        if own >= 0:
            pivot = -numbers[own + q * across + q]
            if not pivot > 0.0 or pivot == np.inf:
                return False
            panel[PANEL * q + q] = -1.0 / math.sqrt(pivot)
        factor = load_broadcast(panel, PANEL * q + q)
        left, right = load(numbers, at) * factor, load(numbers, at + width) * factor
        store(numbers, at, left)
        store(numbers, at + width, right)
        for r in range(q + 1, PANEL):
            if own >= 0:
                panel[PANEL * q + r] = numbers[own + q * across + r]
            factor = load_broadcast(panel, PANEL * q + r)
            below = begin + r * across
            store(numbers, below, fma(factor, left, load(numbers, below)))
            store(numbers, below + width, fma(factor, right, load(numbers, below + width)))
    return True


@part
def factorise(matrix: Any, work: Any) -> bool:
    """Write (L^T | L^-1) of A = L L^T (d, d) to ``work``; False if A is not positive definite.

    Factor and inverse are one elimination, since L^-1 (A | I) = (L^T | L^-1): a panel of rows is
    reduced by all rows above it and multiplied by the inverse of the square on its diagonal. What
    would be zero in both triangles is left out. Of A only the upper triangle counts.
    """
    d = matrix.shape[0]
    flat = flattened(matrix)
    across, size = work.across, work.size
    for i in range(0, d, PANEL):
        own = i // across
        for block in range(own, work.half + own + 1):
            fill_block(work, flat, d, i, block)
            # L^-1 is a lower triangle: in its columns the first rows are zero
            first = max(block - work.half, 0) * across * across
            add_square_products(
                work.numbers, across, max(i - first // across, 0), own * size + first + i % across,
                block * size + first, across, PANEL, 2,
                work.numbers, block * size + i * across, across,
            )  # fmt: skip
            if not solve(work, i, block):
                return False
    return True


@part
def inverse_at(work: Any, i: int, j: int) -> float:
    """Return a number of L^-1."""
    block = work.half + j // work.across
    return work.numbers[block * work.size + i * work.across + j % work.across]


@part
def copy_row(work: Any, i: int, scale: float, out: Any, out_at: int, out_step: int) -> None:
    """Write row i of scale L^-1, up to the diagonal, its numbers ``out_step`` apart."""
    # unsigned: of every signed index Numba asks whether it counts from the end, which took longer
    # than all of the elimination
    at, step, one = np.uintp(out_at), np.uintp(out_step), np.uintp(1)
    for c in range(0, i + 1, work.across):
        block = work.half + c // work.across
        source = np.uintp(block * work.size + i * work.across)
        for _ in range(min(work.across, i + 1 - c)):
            out[at] = scale * work.numbers[source]
            at += step
            source += one


@part
def describe(
    factors: Any, at: int, d: int, height: int, covariance: Any, away: Any, biases: Any, sums: Any
) -> float:
    """Set the biases W away of one triangle W in bands; return sqrt(|W D|_1 |W D|_inf).

    D has the columns' standard deviations. That is a bound of the spectral norm of W D: one over
    the least standard deviation of the columns in units of their own, times the scale. ``sums``
    (2 d,) is for the columns' sums and units.
    """
    for c in range(d):
        sums[c] = 0.0
        sums[d + c] = math.sqrt(covariance[c, c])
    widest = 0.0
    i = 0
    while i < d:
        rows = rows_of_band(i, d, height)
        for r in range(rows):
            bias = 0.0
            size = 0.0
            place = np.uintp(at + r)
            for c in range(i + r + 1):
                value = factors[place]
                place += np.uintp(rows)
                bias += value * away[c]
                scaled = abs(value) * sums[d + c]
                size += scaled
                sums[c] += scaled
            biases[i + r] = bias
            widest = max(widest, size)
        at += rows * (i + rows)
        i += rows
    highest = 0.0
    for c in range(d):
        highest = max(highest, sums[c])
    return math.sqrt(widest * highest)


@kernel
def whiten(
    covariances: Any,
    scale: float,
    height: int,
    away: Any,
    factors: Any,
    biases: Any,
    sharpness: Any,
    log_determinants: Any,
) -> None:
    """Factorise covariances (k, d, d) into W = scale L^-1 and its log determinant log |L^-1| (k,).

    ``biases`` (k, d) are W away, ``sharpness`` (k,) bounds of W's norm in
    units of the columns' standard deviations.

    ``factors`` (k, p) gets bands of ``height`` rows (``bands.py``); those of one row are packed
    rows. A covariance that is not positive definite gets factors of zero and a log determinant that
    is no number.
    """
    n_components, d, _ = covariances.shape
    work = work_of(d, covariances)
    sums = aligned(2 * d, biases)
    flat = flattened(factors)
    for k in range(n_components):
        at = k * factors.shape[1]
        if not factorise(covariances[k], work):
            log_determinants[k] = math.nan
            fill(flat, at, at + factors.shape[1], 0)
            continue
        log_determinants[k] = 0.0
        for i in range(d):
            log_determinants[k] += math.log(inverse_at(work, i, i))
        i = 0
        while i < d:
            rows = rows_of_band(i, d, height)
            for r in range(rows):
                copy_row(work, i + r, scale, flat, at + r, rows)
                for c in range(i + r + 1, i + rows):
                    flat[at + c * rows + r] = 0.0
            at += rows * (i + rows)
            i += rows
        at = k * factors.shape[1]
        sharpness[k] = describe(flat, at, d, height, covariances[k], away[k], biases[k], sums)


@kernel
def linear_form(factors: Any, away: Any, squares: Any, slopes: Any) -> None:
    """Write |W away|^2 (k,) and the slopes 2 W^T W away (k, d) for packed rows of W (p,).

    With W = sqrt(1/2) L^-1 the slopes are those of log N(centre + x | mean) in x, for ``away`` =
    mean - centre. By way of W away they err by the square root of the condition number only.
    """
    n_components, d = away.shape
    slopes[:] = 0.0
    for k in range(n_components):
        squares[k] = 0.0
        at = 0
        for i in range(d):
            whitened = 0.0
            for j in range(i + 1):
                whitened += factors[at + j] * away[k, j]
            squares[k] += whitened * whitened
            for j in range(i + 1):
                slopes[k, j] += 2.0 * whitened * factors[at + j]
            at += i + 1


@kernel
def total_square(factors: Any, scatter: Any) -> float:
    """Return the sum of |W x|^2 over rows x of the given scatter (d, d); W (p,) packed."""
    d = scatter.shape[0]
    total = 0.0
    at = 0
    for i in range(d):
        for j in range(i + 1):
            inner = 0.0
            for c in range(i + 1):
                inner += factors[at + c] * scatter[j, c]
            total += factors[at + j] * inner
        at += i + 1
    return total


@kernel
def invert_positive_definite(matrices: Any, inverses: Any) -> int:
    """Invert symmetric positive definite matrices (k, d, d); -1, or the first that is not."""
    n_components, d, _ = matrices.shape
    work = work_of(d, matrices)
    for k in range(n_components):
        if not factorise(matrices[k], work):
            return k
        for i in range(d):
            for j in range(i + 1):
                total = 0.0
                for m in range(i, d):
                    total += inverse_at(work, m, i) * inverse_at(work, m, j)
                inverses[k, i, j] = total
                inverses[k, j, i] = total
    return -1


@part
def mirror(matrix: Any, at: int, d: int) -> None:
    """Copy the lower triangle of a flat (d, d) matrix from ``at`` on to its upper triangle."""
    width = lanes_of(matrix)
    whole = d // width * width
    for i in range(0, whole, width):
        for j in range(0, i, width):
            transpose_block(matrix, at + i * d + j, d, matrix, at + j * d + i, d)
        for r in range(i, i + width):
            for c in range(i, r):
                matrix[at + c * d + r] = matrix[at + r * d + c]
    for r in range(whole, d):
        for c in range(r):
            matrix[at + c * d + r] = matrix[at + r * d + c]


@kernel
def estimate(second: Any, counts: Any, delta: Any, covariances: Any) -> None:
    """Write covariances (g, d, d): (second - n delta delta^T) / n.

    ``second`` (g, p) holds packed triangles of scatter. A matrix belongs to k / g neighbouring
    components of ``counts`` (k,) and ``delta`` (k, d): one each, or one for all.
    """
    groups, d, _ = covariances.shape
    members = counts.size // groups
    scatter = flattened(second)
    out = flattened(covariances)
    shift = flattened(delta)
    width = lanes_of(out)
    for g in range(groups):
        total = 0.0
        for k in range(g * members, (g + 1) * members):
            total += counts[k]
        share = broadcast(1.0 / total)
        for i in range(d):
            row = g * second.shape[1] + i * (i + 1) // 2
            to = (g * d + i) * d
            for j in range(0, i + 1, width):
                inside = min(width, i + 1 - j)
                value = load_part(scatter, row + j, inside)
                for k in range(g * members, (g + 1) * members):
                    factor = broadcast(counts[k] * shift[k * d + i])
                    value = fnma(factor, load_part(shift, k * d + j, inside), value)
                store_part(out, to + j, value * share, inside)
        mirror(out, g * d * d, d)
