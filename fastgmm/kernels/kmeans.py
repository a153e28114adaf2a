"""k-means on rows in memory: seeding by distance, assignment and sums, both skipping what is sure.

Rows are looked at one by one only to tell whether anything can have changed for them, which takes
a number or two a row; those for which it may have are gathered into chunks, whose distances are
found in vector registers. Blocks of rows keep sums of their own: whoever computes a block, its sums
are the same.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastgmm._jit import kernel, maker, part
from fastgmm._typing import Float64Array, FloatArray, IntArray
from fastgmm.kernels.columns import chunk_rows, load_about
from fastgmm.kernels.memory import aligned, fill, sum_of
from fastgmm.kernels.nearest import (
    CANDIDATES,
    CENTRES,
    add_gains,
    any_below,
    chunk_distances,
    count_bits,
    find_nearer,
    find_nearest,
    first_bit,
    label_chunk,
    row_distance,
    store_chosen,
    tell_apart,
    total_of,
    unsure_rows,
)
from fastgmm.simd import fma, lanes_of, load, store

DIFFERENCES = 3
"""Up to so many columns distances are sums of squared differences: seven instructions a row and
centre at d = 2, as many as products and the second lowest score take."""

BITS = 64
"""Rows that have their bits in one number: whole chunks of any vectors."""

EVERY = np.uint64(2**64 - 1)
"""All of its bits."""

MASS_ROWS = 512
"""Rows whose mass is kept as one number."""


class Centres(NamedTuple):
    """What rows are assigned to: centres in whole blocks, and how far they have ever moved."""

    shift: FloatArray
    """(d,) what rows and centres are taken about: somewhere among the rows, so that products keep
    their digits."""
    numbers: FloatArray
    """(blocks, d), less the shift."""
    starts: FloatArray
    """(blocks,) of each score; infinite behind the last centre."""
    drift: NDArray[np.float32]
    """(k,) what a row's slack shrinks by: the sum of all movements of its own centre, and of the
    longest of any other centre."""
    limits: NDArray[np.float32]
    """(k + 1,) the same, rounded up; rows in no cluster yet, the last, are always looked at."""


class Clustering(NamedTuple):
    """Which cluster each row is in, how surely, and what those of each block add up to."""

    labels: NDArray[np.int32]
    """(n,); k where a row has none yet."""
    slack: NDArray[np.float32]
    """(n,) a row keeps its label while the drift of its cluster is less."""
    changed: IntArray
    """(blocks,) rows that have changed their cluster in the last pass."""
    members: IntArray
    """(blocks, k) rows that weigh anything: sums of none are zero, whatever was added and taken."""
    counts: Float64Array
    """(blocks, k)."""
    sums: Float64Array
    """(blocks, k, d) less the shift; or (blocks, k, 0): nobody asks."""


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


class Sketch(NamedTuple):
    """The rows in float32, turned into columns once and for all: half of what there is to read."""

    shift: FloatArray
    """(d,) what they are taken about: somewhere among them."""
    sums: Float64Array
    """(blocks, d) of the rows less the shift."""
    squares: Float64Array
    """(blocks, d) of their squares."""
    columns: NDArray[np.float32]
    """The (d, rows) of each chunk in turn; empty where there are so few that the rows will do."""
    lengths: NDArray[np.float32]
    """(n,) |x|^2, infinite behind the last row up to a whole chunk; empty, too."""


def clustering(n_rows: int, n_centres: int, n_blocks: int, d: int) -> Clustering:
    """Return rows that are in no cluster."""
    return Clustering(
        np.full(n_rows, n_centres, np.int32),
        np.full(n_rows, -np.inf, np.float32),
        np.zeros(n_blocks, np.int64),
        np.zeros((n_blocks, n_centres), np.int64),
        np.zeros((n_blocks, n_centres)),
        np.zeros((n_blocks, n_centres, d)),
    )


def seeding(n_rows: int, block_rows: int, n_candidates: int, dtype: Any) -> Seeding:
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


def sketch_of(n_rows: int, block_rows: int, shift: FloatArray) -> Sketch:
    """Return room for a sketch."""
    n_blocks, d = -(-n_rows // block_rows), len(shift)
    size = -(-n_rows // BITS) * BITS if d > DIFFERENCES else 0
    sums, squares = np.zeros((2, n_blocks, d))
    columns, lengths = np.empty(size * d, np.float32), np.empty(size, np.float32)
    return Sketch(shift, sums, squares, columns, lengths)


def centres_of(centres: FloatArray, shift: FloatArray, drift: Float64Array) -> Centres:
    """Return centres (k, d), less the shift, as ``assign`` takes them."""
    k, d = centres.shape
    blocks = np.zeros((-(-k // CENTRES) * CENTRES, d), centres.dtype)
    starts = np.full(len(blocks), np.inf, centres.dtype)
    blocks[:k] = centres
    starts[:k] = 0.0 if d <= DIFFERENCES else 0.5 * (centres.astype(np.float64) ** 2).sum(axis=1)
    limits = np.full(k + 1, np.inf, np.float32)
    # a slack and the drift in it are rounded, too
    limits[:k] = np.nextafter((drift * (1 + 2.0**-21)).astype(np.float32), np.float32(np.inf))
    return Centres(shift, blocks, starts, drift.astype(np.float32), limits)


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
    for j in range(vector.size):
        whole[j] = vector[j]
    return whole


@part
def load_chosen(rows: Any, d: int, chosen: Any, size: int, shift: Any, columns: Any) -> None:
    """Write the first ``size`` of the ``chosen`` rows, less ``shift``, as a chunk's columns.

    There is room for a whole chunk of chosen ones: behind the last the first is written once more.
    """
    run, width = chunk_rows(rows), lanes_of(rows)
    for i in range(size, run):
        chosen[i] = chosen[0]
    if d > 4:
        for j in range(0, d, width):
            for t in range(0, run, width):
                store_chosen(rows, chosen, t, d, j, shift, columns, j * run + t, run)
    else:
        for i in range(run):
            at = chosen[i] * d
            for j in range(d):
                columns[j * run + i] = rows[at + j] - shift[j]


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
def assign(
    rows: Any,
    weights: Any,
    centres: Any,
    clusters: Any,
    block_rows: int,
    first: int,
    last: int,
) -> None:
    """Bring the labels and sums of the blocks ``first`` to ``last`` (excluded) up to date.

    Ties go to the lower index. A row is looked at again when its own centre and any other may have
    come as near to each other as it lay between them (Hamerly 2010, with one number a row: what
    there was between the two nearest centres and how far these had moved by then).
    """
    n_rows, d = rows.shape
    shift, numbers, starts, drift, limits = centres
    labels, slack, changed, members, counts, sums = clusters
    flat, targets = rows.reshape(rows.size), numbers.reshape(numbers.size)
    flat_members, flat_counts = members.reshape(members.size), counts.reshape(counts.size)
    flat_sums = sums.reshape(sums.size)
    run = chunk_rows(flat)
    n_blocks, n_centres, n_sums = starts.size // CENTRES, drift.size, sums.shape[2]
    columns, origin = columns_for(d, flat), padded(shift)
    nearest, second, which = aligned(run, flat), aligned(run, flat), aligned(run, flat)
    gaps, row = aligned(run, slack), np.zeros(d, rows.dtype)
    old, new, sure = aligned(run, labels), aligned(run, labels), aligned(run, slack)
    fill(old, 0, run, 0)
    chosen = np.zeros(2 * run, np.int64)
    margin = rows.dtype.type(12 * (d + 2) * np.finfo(rows.dtype).eps)
    highest = limits[0]
    for c in range(1, n_centres):
        highest = max(highest, limits[c])
    # of few columns a row alone costs as much as four in vectors
    alone = 4 if d <= DIFFERENCES else 1
    for block in range(first, last):
        t, end = block * block_rows, min((block + 1) * block_rows, n_rows)
        n_chosen = n_changed = 0
        while t < end or n_chosen > 0:
            whole, start = False, t
            if t + run <= end:
                if any_below(flat, slack, highest, t):
                    unsure = unsure_rows(flat, slack, labels, limits, n_centres + 1, t)
                    whole = count_bits(unsure) * alone >= run
                    while unsure != 0 and not whole:
                        chosen[n_chosen] = t + first_bit(unsure)
                        n_chosen += 1
                        unsure &= unsure - np.uint64(1)
            else:
                for n in range(t, end):
                    chosen[n_chosen] = n
                    n_chosen += 1
            t += run
            if not whole and (n_chosen == 0 or (n_chosen < run and t < end)):
                continue
            size = run if whole else min(run, n_chosen)
            if whole:
                load_about(flat, d, start, run, run, origin, columns, 0, run)
            else:
                load_chosen(flat, d, chosen, size, origin, columns)
            if d <= DIFFERENCES:
                find_nearest(
                    columns, run, d, targets, starts, n_blocks, True, nearest, second, which
                )
                tell_apart(columns, run, d, margin, True, nearest, second, gaps)
            else:
                find_nearest(
                    columns, run, d, targets, starts, n_blocks, False, nearest, second, which
                )
                close = tell_apart(columns, run, d, margin, False, nearest, second, gaps)
                while close != 0:
                    i = first_bit(close)
                    for j in range(d):
                        row[j] = columns[j * run + i]
                    which[i] = nearest_by_differences(row, targets, starts)
                    close &= close - np.uint64(1)
            if whole:
                moved = label_chunk(which, gaps, drift, n_centres, labels, slack, start, old)
            else:
                for i in range(size):
                    new[i] = labels[chosen[i]]
                moved = label_chunk(which, gaps, drift, n_centres, new, sure, 0, old)
                for i in range(size):
                    labels[chosen[i]] = new[i]
                    slack[chosen[i]] = sure[i]
                moved &= ~np.uint64(0) >> np.uint64(64 - size)
            while moved != 0:
                i = first_bit(moved)
                moved &= moved - np.uint64(1)
                n_changed += 1
                n = start + i if whole else chosen[i]
                weight = 1.0 if weights.size == 0 else weights[n]
                weighs = 1 if weight > 0 else 0
                at = block * n_centres + np.int64(which[i])
                flat_members[at] += weighs
                flat_counts[at] += weight
                at *= n_sums
                for j in range(n_sums):
                    flat_sums[at + j] += weight * columns[j * run + i]
                if old[i] < n_centres:
                    at = block * n_centres + old[i]
                    flat_members[at] -= weighs
                    kept = 1.0 if flat_members[at] > 0 else 0.0
                    flat_counts[at] = kept * (flat_counts[at] - weight)
                    at *= n_sums
                    for j in range(n_sums):
                        less = flat_sums[at + j] - weight * columns[j * run + i]
                        flat_sums[at + j] = kept * less
            if not whole:
                n_chosen -= size
                for i in range(run):
                    chosen[i] = chosen[run + i]
        changed[block] = n_changed


@kernel
def draw_sketch(rows: Any, sketch: Any, block_rows: int, first: int, last: int) -> None:
    """Sketch some blocks of rows."""
    n_rows, d = rows.shape
    shift, sums, squares, sketched, lengths = sketch
    flat = rows.reshape(rows.size)
    run, step, width = chunk_rows(flat), chunk_rows(lengths), lanes_of(flat)
    columns, origin = columns_for(d, flat), padded(shift)
    totals, powers = aligned(d * width, flat), aligned(d * width, flat)
    for block in range(first, last):
        begin, end = block * block_rows, min((block + 1) * block_rows, n_rows)
        fill(totals, 0, totals.size, 0)
        fill(powers, 0, powers.size, 0)
        for t in range(begin, (end + BITS - 1) // BITS * BITS, run):
            size = max(min(run, end - t), 0)
            load_about(flat, d, t, size, run, origin, columns, 0, run)
            for j in range(d):
                total, power = load(totals, j * width), load(powers, j * width)
                for i in range(j * run, (j + 1) * run, width):
                    x = load(columns, i)
                    total = total + x
                    power = fma(x, x, power)
                store(totals, j * width, total)
                store(powers, j * width, power)
            if lengths.size == 0:
                continue
            at = t // step * step * d + t % step
            fill(lengths, t, t + run, 0)
            for j in range(d):
                for i in range(run):
                    z = np.float32(columns[j * run + i])
                    sketched[at + j * step + i] = z
                    lengths[t + i] += z * z
            fill(lengths, t + size, t + run, np.inf)
        for j in range(d):
            sums[block, j] = sum_of(totals, j * width, (j + 1) * width)
            squares[block, j] = sum_of(powers, j * width, (j + 1) * width)


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
    _, _, _, sketched, lengths = sketch
    closest, _, gains, nearer = state
    flat = rows.reshape(rows.size)
    run, step, double = chunk_rows(flat), chunk_rows(lengths), lanes_of(gains)
    n_candidates = len(candidates)
    whole = (n_candidates + CENTRES - 1) // CENTRES * CENTRES
    numbers = np.zeros(whole * d, rows.dtype)
    for c in range(n_candidates):
        for j in range(d):
            numbers[c * d + j] = candidates[c, j]
    about, starts = sketched_candidates(candidates, sketch, whole)
    columns, origin = columns_for(d, flat), padded(np.zeros(d, rows.dtype))
    weight, sums = aligned(run, gains), aligned(whole * double, gains)
    fill(weight, 0, run, 1)
    bits, found = np.zeros(whole, np.uint64), np.zeros(whole, np.uint64)
    for block in range(first, last):
        fill(sums, 0, sums.size, 0)
        end = min((block + 1) * block_rows, n_rows)
        for start in range(block * block_rows, end, BITS):
            n_found = BITS * n_candidates
            fill(found, 0, whole, 0)
            if d > DIFFERENCES:
                for t in range(start, start + BITS, step):
                    for c in range(0, n_candidates, CENTRES):
                        find_nearer(sketched, step, d, about, starts, c, lengths, closest, t, bits)
                    for c in range(n_candidates):
                        found[c] |= bits[c] << np.uint64(t - start)
                n_found = 0
                for c in range(n_candidates):
                    n_found += count_bits(found[c])
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


@maker
def sketched_candidates(candidates: Any, sketch: Any, n_whole: int) -> Any:
    """Return candidates and where their scores start, as the sketch has rows; flat, whole blocks.

    Rounding can make a score x c less |c|^2 / 2 too small by (d + 4) eps (|x|^2 + |c|^2) at most:
    the candidate's share is in its start.
    """
    n, d = candidates.shape
    numbers = np.zeros(n_whole * d, sketch.lengths.dtype)
    starts = np.empty(n_whole, sketch.lengths.dtype)
    fill(starts, 0, n_whole, np.inf)
    for c in range(n):
        square = 0.0
        for j in range(d):
            numbers[c * d + j] = candidates[c, j] - sketch.shift[j]
            square += numbers[c * d + j] ** 2
        starts[c] = square * (0.5 - (d + 8) * np.finfo(np.float32).eps)
    return numbers, starts


@part
def gain_of(
    rows: Any, d: int, weights: Any, candidates: Any, c: int, closest: Any, first: int, found: Any
) -> float:
    """Return what a candidate saves in a few rows; leave on the bits of those it is nearer to."""
    bits = found[c]
    gain = 0.0
    while bits != 0:
        lowest = bits & (~bits + np.uint64(1))
        n = first + first_bit(bits)
        bits ^= lowest
        saved = closest[n] - row_distance(rows, n * d, d, candidates, c * d)
        if saved > 0:
            gain += saved * (1.0 if weights.size == 0 else weights[n])
        else:
            found[c] ^= lowest
    return gain


@kernel
def draw(marks: Any, ends: Any, closest: Any, n_rows: int, weights: Any, rows: Any) -> None:
    """Write to ``rows`` the row at which the sum of all masses reaches each mark.

    ``ends`` are the sums at the end of every MASS_ROWS rows: those of one stretch are added up.
    """
    for m in range(marks.size):
        stretch = min(np.searchsorted(ends, marks[m]), ends.size - 1)
        n, last = stretch * MASS_ROWS, min((stretch + 1) * MASS_ROWS, n_rows) - 1
        total = ends[stretch - 1] if stretch > 0 else 0.0
        total += closest[n] * (1.0 if weights.size == 0 else weights[n])
        while total < marks[m] and n < last:
            n += 1
            total += closest[n] * (1.0 if weights.size == 0 else weights[n])
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
    closest, masses, _, nearer = state
    flat = rows.reshape(rows.size)
    run = chunk_rows(flat)
    columns, origin = columns_for(d, flat), padded(np.zeros(d, rows.dtype))
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
                    closest[n] = min(closest[n], distance)
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
