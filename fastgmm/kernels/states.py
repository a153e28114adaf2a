"""Statistics of several blocks of rows, one behind the other: what one call of a kernel fills.

A block by itself takes the interpreter 0.1 ms, as long as a kernel takes for 60,000 rows of two
columns: its caches are full of rows when it gets back to its own work.
"""

from typing import Any

from fastgmm._jit import maker, part
from fastgmm.kernels.memory import flattened, section
from fastgmm.statistics import Statistics


@part
def blocks_of(n_rows: int, block_rows: int) -> int:
    """Return how many blocks of so many rows there are, the last of which may be shorter."""
    return (n_rows + block_rows - 1) // block_rows


@maker
def state_of(statistics: Any, block: int, n_blocks: int) -> Statistics:
    """Return the statistics of one of so many blocks, for a kernel to add to."""
    n_components = statistics.counts.shape[0] // n_blocks
    n_seconds = statistics.second.shape[0] // n_blocks
    return Statistics(
        section(statistics.log_likelihood, block, 1),
        section(statistics.counts, block * n_components, n_components),
        section(statistics.first, block * n_components, n_components),
        section(statistics.second, block * n_seconds, n_seconds),
    )


@maker
def merge_states(statistics: Any, n_blocks: int) -> None:
    """Merge the statistics of 2^j blocks along the tree, into those of the first."""
    merge_pairs(statistics.log_likelihood, n_blocks)
    merge_pairs(statistics.counts, n_blocks)
    merge_pairs(flattened(statistics.first), n_blocks)
    merge_pairs(flattened(statistics.second), n_blocks)


@part
def merge_pairs(numbers: Any, n_blocks: int) -> None:
    """Add the right neighbour to every left one, then the sums of two, until all are one sum."""
    size = numbers.size // n_blocks
    step = 1
    while step < n_blocks:
        for block in range(0, n_blocks, 2 * step):
            left, right = block * size, (block + step) * size
            for i in range(size):
                numbers[left + i] += numbers[right + i]
        step *= 2
