"""Starts by chance: random responsibilities, or random rows of the data."""

import numpy as np

from fastgmm._typing import Float64Array
from fastgmm.initialization.first_pass import StartRows
from fastgmm.initialization.partition import Hard, Soft, rows_partition


def random_responsibilities(
    start: StartRows, n_components: int, random_state: np.random.RandomState, n_threads: int
) -> Soft:
    """Give every row uniform random responsibilities, drawn row after row."""
    state = random_state.get_state()
    # leave the generator where one draw of all of them would: the next start goes on from there
    for first in range(0, len(start.rows), 2**16):
        random_state.uniform(size=(min(2**16, len(start.rows) - first), n_components))

    def again() -> "_Draw":
        generator = np.random.RandomState()
        generator.set_state(state)
        return _Draw(generator, n_components, start.rows.dtype)

    return Soft(again)


class _Draw:
    def __init__(
        self, generator: np.random.RandomState, n_components: int, dtype: np.dtype[np.floating]
    ) -> None:
        self._generator = generator
        self._n_components = n_components
        self._dtype = dtype

    def __call__(self, n_rows: int) -> Float64Array:
        drawn = self._generator.uniform(size=(n_rows, self._n_components)).astype(self._dtype)
        drawn /= drawn.sum(axis=1)[:, np.newaxis]
        return drawn.astype(np.float64)


def random_rows(
    start: StartRows, n_components: int, random_state: np.random.RandomState, n_threads: int
) -> Hard:
    """Begin each component with one row, drawn without replacement, by weight if there are any."""
    chances = None if start.weights is None else start.weights / start.weights.sum()
    drawn = random_state.choice(len(start.rows), size=n_components, replace=False, p=chances)
    return rows_partition(drawn)
