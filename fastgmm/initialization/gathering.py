"""Rows gathered along the tree: all of them, or those with the smallest keys."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from fastgmm._typing import Float64Array, FloatArray, IntArray


@dataclass
class Gathered:
    """Runs of rows in the order of the data."""

    rows: list[FloatArray] = field(default_factory=list)
    weights: list[Float64Array] = field(default_factory=list)
    keys: list[Float64Array] = field(default_factory=list)
    indices: list[IntArray] = field(default_factory=list)
    """Which rows of the data they are, where that matters."""

    def extend(self, right: "Gathered") -> "Gathered":
        """Append what was gathered from the rows behind."""
        self.rows.extend(right.rows)
        self.weights.extend(right.weights)
        self.keys.extend(right.keys)
        self.indices.extend(right.indices)
        return self

    def thinned(self, limit: int) -> "Gathered":
        """Return the ``limit`` rows with the smallest keys, in one run if some had to go."""
        if sum(map(len, self.keys)) <= limit:
            return self
        keys = np.concatenate(self.keys)
        kept = smallest(keys, limit)
        return Gathered(
            [_taken(self.rows, kept)],
            [_taken(self.weights, kept)] if self.weights else [],
            [keys[kept]],
            [_taken(self.indices, kept)] if self.indices else [],
        )


def joined(runs: list[Any]) -> Any:
    """Return runs one behind the other; a single one as it is, since samples are large."""
    return runs[0] if len(runs) == 1 else np.concatenate(runs)


def _taken(runs: list[Any], kept: IntArray) -> Any:
    """Return the entries ``kept``, rising numbers, of runs one behind the other.

    Without a copy of all of them, which would be as large as the sample once more. (With any mode
    but "clip" NumPy writes to a buffer first.)
    """
    out = np.empty((len(kept), *runs[0].shape[1:]), runs[0].dtype)
    begins = np.cumsum([0, *map(len, runs)])
    bounds = np.searchsorted(kept, begins)
    for run, begin, first, end in zip(runs, begins[:-1], bounds[:-1], bounds[1:], strict=True):
        np.take(run, kept[first:end] - begin, axis=0, out=out[first:end], mode="clip")
    return out


def smallest(keys: Float64Array, limit: int) -> IntArray:
    """Return where the ``limit`` smallest keys are, rising; of equal keys the first.

    The first of equals, so that runs may be thinned in any portions: what a range of rows keeps
    is what the whole would have kept of it.
    """
    if len(keys) <= limit:
        return np.arange(len(keys))
    bound = np.partition(keys, limit - 1)[limit - 1]
    chosen = keys < bound
    ties = np.flatnonzero(keys == bound)
    chosen[ties[: limit - np.count_nonzero(chosen)]] = True
    return np.flatnonzero(chosen)
