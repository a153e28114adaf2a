"""The rows in float32, as columns once and for all: half of what there is to read.

A sketch tells to which rows a candidate may be nearer than all seeds so far, and on the way it
tells the sums and squares of the columns.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastgmm._jit import intrinsic, ir, kernel, maker, types
from fastgmm._typing import Float64Array, FloatArray
from fastgmm.kernels.blocks import CHUNK_VECTORS
from fastgmm.kernels.clustering.bits import BITS, bits_of_masks
from fastgmm.kernels.clustering.chunks import columns_for
from fastgmm.kernels.clustering.distances import DIFFERENCES, distance_block
from fastgmm.kernels.clustering.nearest import CENTRES, starts_of
from fastgmm.kernels.columns import chunk_rows, load_about
from fastgmm.kernels.emission import data_of, index, vector_at
from fastgmm.kernels.memory import aligned, cleared, fill, flattened, sum_of
from fastgmm.simd import fma, lanes_of, load, store
from fastgmm.simd.arithmetic import fused
from fastgmm.simd.vectors import constant, llvm_vector, shuffle, splat, vector_of

EPSILON = 2.0**-23
"""What rounding leaves of float32."""


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


def sketch_of(n_rows: int, block_rows: int, shift: FloatArray) -> Sketch:
    """Return room for a sketch."""
    n_blocks, d = -(-n_rows // block_rows), len(shift)
    size = -(-n_rows // BITS) * BITS if d > DIFFERENCES else 0
    sums, squares = np.zeros((2, n_blocks, d))
    columns, lengths = np.empty(size * d, np.float32), np.empty(size, np.float32)
    return Sketch(shift, sums, squares, columns, lengths)


@kernel
def draw_sketch(rows: Any, sketch: Any, block_rows: int, first: int, last: int) -> None:
    """Sketch some blocks of rows."""
    n_rows, d = rows.shape
    shift, sums, squares, sketched, lengths = sketch
    flat = flattened(rows)
    run, step, width = chunk_rows(flat), chunk_rows(lengths), lanes_of(flat)
    columns = columns_for(d, flat)
    totals, powers = aligned(d * width, flat), aligned(d * width, flat)
    for block in range(first, last):
        begin, end = block * block_rows, min((block + 1) * block_rows, n_rows)
        fill(totals, 0, totals.size, 0)
        fill(powers, 0, powers.size, 0)
        for t in range(begin, (end + BITS - 1) // BITS * BITS, run):
            size = max(min(run, end - t), 0)
            load_about(flat, d, t, size, run, shift, columns, 0, run)
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


class Candidates(NamedTuple):
    """Rows that may become the next seed, flat and in whole blocks."""

    numbers: Any
    """(blocks d,) as rows are."""
    about: Any
    """(blocks d,) as the sketch has rows."""
    starts: Any
    """(blocks,) of each score; infinite behind the last candidate."""


@maker
def candidates_of(candidates: Any, sketch: Any) -> Candidates:
    """Return candidates (c, d) as ``judge`` needs them.

    Rounding can make a score x c less |c|^2 / 2 too small by (d + 4) eps (|x|^2 + |c|^2) at most:
    the candidate's share is in its start.
    """
    n, d = candidates.shape
    whole = (n + CENTRES - 1) // CENTRES * CENTRES
    numbers, about = cleared(whole * d, candidates), cleared(whole * d, sketch.lengths)
    starts = aligned(whole, sketch.lengths)
    fill(starts, 0, whole, np.inf)
    for c in range(n):
        square = 0.0
        for j in range(d):
            numbers[c * d + j] = candidates[c, j]
            away = np.float32(candidates[c, j] - sketch.shift[j])
            about[c * d + j] = away
            square += away * away
        starts[c] = square * (0.5 - (d + 8) * EPSILON)
    return Candidates(numbers, about, starts)


@intrinsic
def find_nearer(
    typingctx: Any,
    sketch: Any,
    stride: Any,
    d: Any,
    candidates: Any,
    starts: Any,
    candidate: Any,
    squares: Any,
    closest: Any,
    first: Any,
    nearer: Any,
) -> Any:
    """Write bits of the rows of a chunk to which each of CENTRES candidates may be nearer.

    Nearer than ``closest``: |c|^2 / 2 - x c below (closest - |x|^2) / 2 and what rounding can make
    of it, (d + 8) eps times closest + |x|^2 here and times |c|^2 in ``starts``. The columns of the
    chunk whose ``first`` row it is are all that there is of the rows; ``closest`` is in any dtype.
    """
    vector_type = vector_of(sketch.dtype)
    given_type = vector_of(closest.dtype)

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        vector, given = llvm_vector(vector_type), llvm_vector(given_type)
        lanes = vector.count
        sketch_at, candidates_at, starts_at, squares_at, closest_at, nearer_at = (
            data_of(context, signature.args[i], arguments[i], builder) for i in (0, 3, 4, 6, 7, 9)
        )
        step, n_columns, c, row = (arguments[i] for i in (1, 2, 5, 8))
        columns_at = builder.gep(sketch_at, [builder.mul(row, n_columns)])
        begins = starts_of(builder, starts_at, c, lanes)
        scores = distance_block(
            builder,
            columns_at,
            step,
            n_columns,
            candidates_at,
            builder.mul(c, n_columns),
            begins,
            False,
            vector,
        )
        slip = builder.sitofp(builder.add(n_columns, index(8)), vector.element)
        slip = builder.fmul(slip, ir.Constant(vector.element, EPSILON))
        slip = splat(builder, slip, lanes)
        half = constant(vector, 0.5)
        masks: list[list[Any]] = [[] for _ in range(CENTRES)]
        for v in range(CHUNK_VECTORS):
            at = builder.add(row, index(v * lanes))
            square = vector_at(builder, squares_at, at, vector)
            parts = [
                vector_at(builder, closest_at, builder.add(at, index(i)), given)
                for i in range(0, lanes, given.count)
            ]
            so_far = parts[0]
            if len(parts) > 1:
                so_far = shuffle(builder, *parts, list(range(lanes)))
                so_far = builder.fptrunc(so_far, vector)
            bound = builder.fmul(half, builder.fsub(so_far, square))
            bound = fused(builder, slip, builder.fadd(so_far, square), bound)
            for r in range(CENTRES):
                score = scores[r * CHUNK_VECTORS + v]
                masks[r].append(builder.fcmp_ordered("<", score, bound))
        for r in range(CENTRES):
            place = builder.gep(nearer_at, [builder.add(c, index(r))])
            builder.store(bits_of_masks(builder, masks[r]), place)
        return context.get_dummy_value()

    size = types.intp
    return (
        types.void(
            *(sketch, size, size, candidates, starts, size, squares, closest, size, nearer),
        ),
        codegen,
    )
