"""Greedy k-means++: squared distances to the seeds so far, and what one more would save."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastgmm._jit import kernel, part
from fastgmm._typing import Float64Array, FloatArray
from fastgmm.kernels.clustering.bits import BITS, EVERY, count_bits, first_bit
from fastgmm.kernels.clustering.chunks import columns_for, weight_of
from fastgmm.kernels.clustering.distances import DIFFERENCES, chunk_distances, row_distance
from fastgmm.kernels.clustering.gains import CANDIDATES, add_gains, gain_of, total_of
from fastgmm.kernels.clustering.nearest import CENTRES
from fastgmm.kernels.clustering.sketch import candidates_of, find_nearer
from fastgmm.kernels.columns import chunk_rows, load_about
from fastgmm.kernels.memory import aligned, cleared, fill, flattened, sum_of
from fastgmm.simd import lanes_of

MASS_ROWS = 512
"""Rows whose mass is kept as one number."""


class Seeding(NamedTuple):
    """How far each row is from the seeds so far, and to which rows candidates are nearer."""

    closest: FloatArray
    """(n,) and up to a whole chunk: squared distances to the seeds so far."""
    masses: Float64Array
    """(n / MASS_ROWS,) sums of ``closest`` by weight."""
    gains: Float64Array
    """(blocks, candidates) by how much each candidate would lower the masses."""
    nearer: NDArray[np.uint64]
    """(candidates, n / 64) a bit for each row to which a candidate is nearer."""


def unseeded(n_rows: int, block_rows: int, n_candidates: int, dtype: Any) -> Seeding:
    """Return rows that are infinitely far from everything: the first candidate is nearer to all."""
    n_masses, n_blocks = -(-n_rows // MASS_ROWS), -(-n_rows // block_rows)
    closest = np.full(n_masses * MASS_ROWS, np.inf, dtype)
    closest[n_rows:] = 0  # nothing is nearer
    return Seeding(
        closest,
        np.zeros(n_masses),
        np.zeros((n_blocks, n_candidates)),
        np.full((n_candidates, len(closest) // BITS), EVERY, np.uint64),
    )


@kernel
def judge(
    rows: Any,
    weights: Any,
    candidates: Any,
    sketch: Any,
    state: Any,
    block_rows: int,
    first: int,
    last: int,
) -> None:
    """Find what each of the candidates (c, d) would save as one more seed.

    The sketch tells to which rows a candidate may be nearer: for these the distances are found; for
    all if they are many, or the columns few.
    """
    n_rows, d = rows.shape
    closest, gains, nearer = state.closest, state.gains, state.nearer
    flat = flattened(rows)
    run, double = chunk_rows(flat), lanes_of(gains)
    n_candidates = len(candidates)
    judged = candidates_of(candidates, sketch)
    numbers, whole = judged.numbers, judged.starts.size
    columns, origin = columns_for(d, flat), cleared(d, flat)
    weight, sums = aligned(run, gains), aligned(whole * double, gains)
    fill(weight, 0, run, 1)
    bits, found = aligned(whole, nearer), aligned(whole, nearer)
    for block in range(first, last):
        fill(sums, 0, sums.size, 0)
        end = min((block + 1) * block_rows, n_rows)
        for start in range(block * block_rows, end, BITS):
            n_found = BITS * n_candidates
            if d > DIFFERENCES:
                n_found = sketch_nearer(sketch, d, judged, closest, start, bits, found)
            if n_found * 4 >= BITS * n_candidates:
                fill(found, 0, whole, 0)
                for t in range(start, min(start + BITS, end), run):
                    size = min(run, end - t)
                    load_about(flat, d, t, size, run, origin, columns, 0, run)
                    if weights.size > 0:
                        for i in range(size):
                            weight[i] = weights[t + i]
                    for c in range(0, n_candidates, CANDIDATES):
                        add_gains(columns, run, d, numbers, c, closest, t, weight, sums, bits)
                    for c in range(n_candidates):
                        found[c] |= bits[c] << np.uint64(t - start)
            elif n_found > 0:
                for c in range(n_candidates):
                    sums[c * double] += gain_of(flat, d, weights, numbers, c, closest, start, found)
            for c in range(n_candidates):
                nearer[c, start // BITS] = found[c]
        for c in range(n_candidates):
            gains[block, c] = sum_of(sums, c * double, (c + 1) * double)


@part
def sketch_nearer(
    sketch: Any, d: int, candidates: Any, closest: Any, first: int, bits: Any, found: Any
) -> int:
    """Find to which of the BITS rows from ``first`` on each candidate may be nearer, and how many.

    ``found`` gets a bit for each; ``bits`` is what a chunk's are written to.
    """
    step, starts = chunk_rows(sketch.lengths), candidates.starts
    fill(found, 0, found.size, 0)
    for t in range(first, first + BITS, step):
        for c in range(0, starts.size, CENTRES):
            find_nearer(
                sketch.columns, step, d, candidates.about, starts, c, sketch.lengths, closest, t,
                bits,
            )  # fmt: skip
        for c in range(starts.size):
            found[c] |= bits[c] << np.uint64(t - first)
    n_found = 0
    for c in range(starts.size):
        n_found += count_bits(found[c])
    return n_found


@kernel
def draw(marks: Any, ends: Any, closest: Any, n_rows: int, weights: Any, rows: Any) -> None:
    """Write to ``rows`` the row at which the sum of all masses reaches each mark.

    ``ends`` are the sums at the end of every MASS_ROWS rows: those of one stretch are added up.
    """
    for m in range(marks.size):
        stretch, beyond = 0, ends.size - 1
        while stretch < beyond:
            middle = (stretch + beyond) // 2
            if ends[middle] < marks[m]:
                stretch = middle + 1
            else:
                beyond = middle
        n, last = stretch * MASS_ROWS, min((stretch + 1) * MASS_ROWS, n_rows) - 1
        total = ends[stretch - 1] if stretch > 0 else 0.0
        total += closest[n] * weight_of(weights, n)
        while total < marks[m] and n < last:
            n += 1
            total += closest[n] * weight_of(weights, n)
        rows[m] = n


@kernel
def settle(
    rows: Any,
    weights: Any,
    seed: Any,
    candidate: int,
    state: Any,
    block_rows: int,
    first: int,
    last: int,
) -> None:
    """Lower the distances of the rows to which a new ``seed`` (d,) is nearer: a candidate it was.

    Row by row, or all at once where every fourth is concerned.
    """
    n_rows, d = rows.shape
    closest, masses, nearer = state.closest, state.masses, state.nearer
    flat = flattened(rows)
    run = chunk_rows(flat)
    columns, origin = columns_for(d, flat), cleared(d, flat)
    distances = aligned(run, flat)
    for start in range(first * block_rows, min(last * block_rows, n_rows), MASS_ROWS):
        end = min(start + MASS_ROWS, n_rows)
        touched = False
        for begin in range(start, end, BITS):
            bits = nearer[candidate, begin // BITS]
            touched |= bits != 0
            if count_bits(bits) * 4 >= BITS:
                for t in range(begin, min(begin + BITS, end), run):
                    size = min(run, end - t)
                    load_about(flat, d, t, size, run, origin, columns, 0, run)
                    chunk_distances(columns, run, d, seed, distances)
                    for i in range(size):
                        if distances[i] < closest[t + i]:
                            closest[t + i] = distances[i]
                continue
            while bits != 0:
                n = begin + first_bit(bits)
                bits &= bits - np.uint64(1)
                if n < end:
                    distance = row_distance(flat, n * d, d, seed, 0)
                    if distance < closest[n]:
                        closest[n] = distance
        if touched:
            masses[start // MASS_ROWS] = mass_of(closest, weights, start, end - start)


@part
def mass_of(closest: Any, weights: Any, first: int, size: int) -> float:
    """Return the sum of the squared distances of MASS_ROWS rows, by weight; ``size`` are there."""
    if weights.size == 0:
        return total_of(closest, first, MASS_ROWS)
    mass = 0.0
    for n in range(first, first + size):
        mass += closest[n] * weights[n]
    return mass
