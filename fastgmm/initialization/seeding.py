"""Greedy k-means++: seeds far from each other, drawn as scikit-learn draws them."""

from contextlib import closing
from typing import TYPE_CHECKING

import numpy as np

from fastgmm import kernels
from fastgmm._typing import IntArray
from fastgmm.executors import ThreadExecutor
from fastgmm.executors.threads import ThreadPlacement
from fastgmm.initialization.first_pass import StartRows
from fastgmm.sources import NO_WEIGHTS, ArraySource

if TYPE_CHECKING:
    from fastgmm.kernels.clustering.sketch import Sketch

BLOCK_PRODUCTS = 2**20
"""Products of a row's and a centre's number that a block is worth: about 0.1 ms."""

MOST_BLOCKS = 64
"""Every block has sums of its own."""

WORTH_SHARING = 2**23
"""Products that are worth a thread each: waking one takes a tenth of a millisecond, and seeds and
iterations come by the dozen. Those of 1797 rows and 110 centres took 8 ms on two, 5 on one."""

ROW_PRODUCTS = 8
"""Centres whose products cost as much as the rest of what is done with a row."""


def placed(start: StartRows, n_centres: int, n_threads: int) -> tuple[ThreadPlacement, int]:
    """Place rows that so many centres will meet, in blocks worth handing out; and a block's rows.

    Which blocks there are follows from the rows and the centres alone, so their sums do, too.
    """
    n_samples, d = start.rows.shape
    products = n_samples * d * (n_centres + ROW_PRODUCTS)
    wanted = products // BLOCK_PRODUCTS
    # a power of two, so that two threads, or four, have the same to do
    wanted = 1 << (min(max(wanted, 1), MOST_BLOCKS).bit_length() - 1)
    step = kernels.seeding.MASS_ROWS
    block_rows = -(-n_samples // (step * wanted)) * step
    n_threads = min(n_threads, -(-n_samples // block_rows), max(products // WORTH_SHARING, 1))
    source = ArraySource(start.rows, start.weights)
    return ThreadExecutor(n_threads).place(source, block_rows), block_rows


def sketched(start: StartRows, n_threads: int) -> "Sketch":
    """Return the rows about one of them, in float32, and their sums and squares."""
    placement, block_rows = placed(start, 1, n_threads)
    sketch = kernels.sketch.sketch_of(len(start.rows), block_rows, start.rows[0])

    def draw(first: int, last: int) -> None:
        kernels.sketch.draw_sketch(start.rows, sketch, block_rows, first, last)

    with closing(placement):
        placement.share(draw, placement.grid.n_blocks)
    return sketch


def seed_rows(
    start: StartRows,
    sketch: "Sketch",
    n_components: int,
    random_state: np.random.RandomState,
    n_threads: int,
) -> IntArray:
    """Choose rows as seeds: each the best of 2 + log k candidates drawn by squared distance.

    Greedy k-means++ (Arthur and Vassilvitskii 2007), with the draws that scikit-learn makes.
    """
    rows, n_samples = start.rows, len(start.rows)
    weights = NO_WEIGHTS if start.weights is None else start.weights
    n_candidates = 2 + int(np.log(n_components))
    placement, block_rows = placed(start, n_candidates, n_threads)
    n_blocks = placement.grid.n_blocks
    state = kernels.seeding.unseeded(n_samples, block_rows, n_candidates, rows.dtype)
    chosen = np.empty(n_components, np.int64)

    def judge(first: int, last: int) -> None:
        arguments = rows, weights, rows[candidates], sketch, state, block_rows
        kernels.seeding.judge(*arguments, first, last)

    def settle(first: int, last: int) -> None:
        seed = rows[chosen[k]]
        kernels.seeding.settle(rows, weights, seed, best, state, block_rows, first, last)

    with closing(placement):
        best, candidates = 0, _drawn_by_weight(start, random_state)
        for k in range(n_components):
            if k:
                ends = np.cumsum(state.masses)
                marks = random_state.uniform(size=n_candidates) * ends[-1]
                candidates = np.empty(n_candidates, np.int64)
                kernels.seeding.draw(marks, ends, state.closest, n_samples, weights, candidates)
                placement.share(judge, n_blocks)
                best = int(np.argmax(state.gains.sum(axis=0)))
            chosen[k] = candidates[best]
            placement.share(settle, n_blocks)
    return chosen


def _drawn_by_weight(start: StartRows, random_state: np.random.RandomState) -> IntArray:
    """Draw a row as random_state.choice does with chances, without its checks."""
    mark = random_state.random_sample(1)
    if start.weights is None:
        return np.minimum((mark * len(start.rows)).astype(np.int64), len(start.rows) - 1)
    chances = np.cumsum(start.weights / start.weights.sum())
    return np.searchsorted(chances / chances[-1], mark, side="right")
