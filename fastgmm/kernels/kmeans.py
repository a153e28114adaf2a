"""k-means on a block of rows: seeding distances, assignment and sums."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastgmm._jit import kernel, maker, part
from fastgmm._typing import Float64Array, FloatArray
from fastgmm.kernels.blocks import WHITENING_WIDTH
from fastgmm.kernels.columns import chunk_rows, load_about
from fastgmm.kernels.nearest import (
    CANDIDATES,
    CENTRES,
    add_members,
    add_potentials,
    add_row,
    chunk_distances,
    find_nearest,
    is_close,
    row_distance,
)
from fastgmm.kernels.steps import aligned
from fastgmm.simd import lanes, lanes_of

DIFFERENCES = 3
"""Up to so many columns distances are sums of squared differences: seven instructions a row and
centre at d = 2, as many as products and the second lowest score take."""


MEMBERS = 128
"""Up to so many counts and sums each is made from all rows, of which the others' count zero: 0.7 ns
a row instead of 3 with four centres in two columns."""


def chunks_of(n_rows: int, dtype: Any) -> int:
    """Return how many chunks the rows make."""
    return -(-n_rows // (WHITENING_WIDTH * lanes(dtype)))


def nearer_bits(n_candidates: int, n_rows: int, dtype: Any) -> NDArray[np.uint16]:
    """Return memory for a bit for each candidate (whole blocks of them) and row (whole chunks)."""
    blocks = -(-n_candidates // CANDIDATES)
    return np.empty((blocks * CANDIDATES, chunks_of(n_rows, dtype) * WHITENING_WIDTH), np.uint16)


@maker
def columns_for(d: int, like: Any) -> Any:
    """Return memory for the columns of a chunk: as many as whole vectors have."""
    width = lanes_of(like)
    return aligned((d + width - 1) // width * width * chunk_rows(like), like)


@maker
def padded(vector: Any) -> Any:
    """Return a copy of d numbers with zeros behind them, up to a whole vector."""
    width = lanes_of(vector)
    whole = np.zeros((vector.size + width - 1) // width * width, vector.dtype)
    whole[: vector.size] = vector
    return whole


@kernel
def candidate_potentials(
    rows: Any,
    weights: Any,
    candidates: Any,
    closest: Any,
    nearer: Any,
    first_row: int,
    potentials: Any,
) -> None:
    """Add to ``potentials`` (c,) the weighted inertia if each candidate (c, d) became a centre.

    ``closest`` (n,) has the squared distances to the centres so far. ``nearer`` is told to which
    rows a candidate is nearer than these; the block begins with the whole chunk of ``first_row``.
    """
    n_rows, d = rows.shape
    n_candidates = candidates.shape[0]
    whole, n_vectors = nearer.shape
    centres = np.zeros(whole * d, rows.dtype)
    centres[: n_candidates * d] = candidates.reshape(n_candidates * d)
    flat = rows.reshape(rows.size)
    run, width = chunk_rows(flat), lanes_of(flat)
    double = lanes_of(potentials)
    columns, shift = columns_for(d, flat), np.zeros(d, rows.dtype)
    counted, step = (weights, 1) if weights.size > 0 else (np.ones(run), 0)
    sums = aligned(whole * double, potentials)
    sums[:] = 0
    for t in range(0, n_rows, run):
        size = min(run, n_rows - t)
        load_about(flat, d, t, size, run, shift, columns, 0, run)
        for c in range(0, n_candidates, CANDIDATES):
            add_potentials(
                columns, run, d, centres, c, closest, t, size, counted, t * step,
                sums, nearer, (first_row + t) // width, n_vectors,
            )  # fmt: skip
    for c in range(n_candidates):
        potentials[c] += sums[c * double : (c + 1) * double].sum()


@kernel
def lower_closest(rows: Any, centre: Any, nearer: Any, first: int, last: int, closest: Any) -> None:
    """Lower ``closest`` (n,) of the rows to which a new ``centre`` (d,) is nearer.

    These have a bit in ``nearer`` (vectors of rows), of which the chunks ``first`` to ``last``
    (excluded) are gone through: row by row, or at once where every fourth row or more is concerned.
    """
    n_rows, d = rows.shape
    flat = rows.reshape(rows.size)
    run, width = chunk_rows(flat), lanes_of(flat)
    columns, shift = columns_for(d, flat), np.zeros(d, rows.dtype)
    distances = aligned(run, flat)
    for chunk in range(first, last):
        t = chunk * run
        count = 0
        for v in range(WHITENING_WIDTH):
            bits = nearer[chunk * WHITENING_WIDTH + v]
            while bits != 0:
                bits &= bits - 1
                count += 1
        if count * 4 >= run:
            size = min(run, n_rows - t)
            load_about(flat, d, t, size, run, shift, columns, 0, run)
            chunk_distances(columns, run, d, centre, distances)
            for i in range(size):
                closest[t + i] = min(closest[t + i], distances[i])
        elif count > 0:
            for v in range(WHITENING_WIDTH):
                bits = nearer[chunk * WHITENING_WIDTH + v]
                n = t + v * width
                while bits != 0:
                    if bits & 1:
                        closest[n] = min(closest[n], row_distance(flat, n * d, d, centre, 0))
                    bits >>= 1
                    n += 1


def adds_up_at_once(n_centres: int, d: int, weights: Float64Array) -> bool:
    """Return whether ``label_rows`` adds rows up faster than ``add_up`` would."""
    return weights.size == 0 and n_centres * (d + 1) <= MEMBERS


def searched(centres: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return centres (k, d) as ``label_rows`` takes them: whole blocks, and a start for each score.

    What fills the last block is infinitely far away.
    """
    k, d = centres.shape
    blocks = np.zeros((-(-k // CENTRES) * CENTRES, d), centres.dtype)
    starts = np.full(len(blocks), np.inf, centres.dtype)
    blocks[:k] = centres
    starts[:k] = 0.0 if d <= DIFFERENCES else 0.5 * (centres.astype(np.float64) ** 2).sum(axis=1)
    return blocks, starts


@part
def nearest_by_differences(row: Any, centres: Any, starts: Any) -> int:
    """Return the centre of the lowest squared distance to a row, of equal ones the first."""
    d = row.size
    best = 0
    nearest = np.inf
    for k in range(starts.size):
        distance = row_distance(row, 0, d, centres, k * d)
        if distance < nearest and starts[k] < np.inf:
            nearest = distance
            best = k
    return best


@kernel
def label_rows(
    rows: Any, shift: Any, centres: Any, starts: Any, labels: Any, counts: Any, sums: Any
) -> int:
    """Write the nearest centre of each row to ``labels`` (n,); return how many changed.

    Rows are taken less ``shift`` (d,), which the centres are about, too: somewhere among the rows,
    so that products keep their digits. ``centres`` and ``starts`` are what ``searched`` returns.
    Ties go to the lower index. The rows are added up as well unless ``counts`` is empty: each
    centre's number and sum over all rows, of which the others' count zero.
    """
    n_rows, d = rows.shape
    flat, targets = rows.reshape(rows.size), centres.reshape(centres.size)
    run = chunk_rows(flat)
    n_blocks = starts.size // CENTRES
    columns, origin = columns_for(d, flat), padded(shift)
    nearest, second, which = aligned(run, flat), aligned(run, flat), aligned(run, flat)
    row = np.zeros(d, rows.dtype)
    margin = rows.dtype.type(12 * (d + 2) * np.finfo(rows.dtype).eps)
    double = lanes_of(sums)
    members = aligned(counts.size * (d + 1) * double, sums)
    members[:] = 0
    changed = 0
    for t in range(0, n_rows, run):
        size = min(run, n_rows - t)
        load_about(flat, d, t, size, run, origin, columns, 0, run)
        if d <= DIFFERENCES:
            find_nearest(columns, run, d, targets, starts, n_blocks, True, nearest, second, which)
        else:
            find_nearest(columns, run, d, targets, starts, n_blocks, False, nearest, second, which)
            close = is_close(columns, run, d, margin, nearest, second)
            i = 0
            while close != 0:
                if close & np.uint64(1) and i < size:
                    for j in range(d):
                        row[j] = columns[j * run + i]
                    which[i] = nearest_by_differences(row, targets, starts)
                close >>= np.uint64(1)
                i += 1
        for i in range(size):
            label = np.int32(which[i])
            changed += label != labels[t + i]
            labels[t + i] = label
        for i in range(size, run):
            which[i] = -1
        for k in range(counts.size):
            add_members(columns, run, d, which, k, members)
    at = 0
    for k in range(counts.size):
        counts[k] += members[at : at + double].sum()
        for j in range(d):
            at += double
            sums[k, j] += members[at : at + double].sum()
        at += double
    return changed


@kernel
def add_up(rows: Any, weights: Any, shift: Any, labels: Any, counts: Any, sums: Any) -> None:
    """Add rows less ``shift`` (d,) to the ``counts`` (k,) and ``sums`` (k, d) of their labels."""
    n_rows, d = rows.shape
    n_centres = counts.size
    flat = rows.reshape(rows.size)
    width = lanes_of(flat)
    origin = padded(shift)
    stride = (d + width - 1) // width * width
    own = aligned(n_centres * stride, counts)
    own[:] = 0
    for t in range(n_rows):
        k = labels[t]
        weight = 1.0 if weights.size == 0 else weights[t]
        counts[k] += weight
        add_row(flat, t * d, d, origin, weight, own, k * stride)
    for k in range(n_centres):
        for j in range(d):
            sums[k, j] += own[k * stride + j]
