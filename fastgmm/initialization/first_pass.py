"""The first pass: are the rows usable, what do they weigh, and which of them make the start."""

import math
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from fastgmm import kernels
from fastgmm._typing import Float64Array, FloatArray
from fastgmm.exceptions import DataError
from fastgmm.executors import Placement, Report
from fastgmm.expectation import check_finite, check_weights, column_names
from fastgmm.sources import Chunk

WHOLE_ELEMENTS = 2**23
"""Up to so many elements (64 MB of float64) the start is made from all rows: the same draws and
the same partition as scikit-learn's."""

SAMPLE_ELEMENTS = 2**20
SAMPLE_ROWS = 2**17
"""Above that it is made from a sample of at most so many elements and rows, ..."""

SAMPLE_ROWS_PER_COMPONENT = 64
"""... but at least so many rows a component. 131,072 rows place a start's means within 0.3 % of a
standard deviation; a million of them (d = 1) would cost half a gigabyte while they are gathered."""


class StartRows(NamedTuple):
    """The rows that starts are made from: all of them, or a sample drawn by hashed row index."""

    rows: FloatArray
    """(m, d) in the order of the data."""
    weights: Float64Array | None
    """(m,) or None. In a sample every row counts once: it was drawn in proportion to its weight."""


class Survey(NamedTuple):
    """What the first pass found."""

    total_weight: float
    """Sum of the weights, or the number of rows."""
    start_rows: StartRows | None


class _Check(NamedTuple):
    complaint: str | None
    """The first row that cannot be used."""
    weight: float


@dataclass(frozen=True)
class Checking:
    """Find the first entry that is not finite and the first bad weight; sum the weights."""

    columns: tuple[str, ...] | None
    level: int = 0

    def start(self) -> _Check:
        """Return: nothing found."""
        return _Check(None, 0.0)

    def accumulate(self, state: _Check, chunk: Chunk) -> _Check:
        """Look at a chunk."""
        weight = float(chunk.weights.sum()) if chunk.weights.size else float(len(chunk.rows))
        return _Check(state.complaint or self._complaint(chunk), state.weight + weight)

    def _complaint(self, chunk: Chunk) -> str | None:
        try:
            check_finite(chunk, self.columns)
            check_weights(chunk)
        except DataError as error:  # kept, not raised: the first row's is told, whoever finds it
            return str(error)
        return None

    def merge(self, left: _Check, right: _Check) -> _Check:
        """Keep the first complaint, add the weights."""
        return _Check(left.complaint or right.complaint, left.weight + right.weight)


@dataclass
class _Gathered:
    """Runs of rows in the order of the data."""

    rows: list[FloatArray] = field(default_factory=list)
    weights: list[Float64Array] = field(default_factory=list)
    keys: list[Float64Array] = field(default_factory=list)

    def extend(self, right: "_Gathered") -> "_Gathered":
        self.rows.extend(right.rows)
        self.weights.extend(right.weights)
        self.keys.extend(right.keys)
        return self


@dataclass(frozen=True)
class Gathering:
    """Gather all rows and their weights."""

    level: int = 0

    def start(self) -> _Gathered:
        """Return no rows."""
        return _Gathered()

    def accumulate(self, state: _Gathered, chunk: Chunk) -> _Gathered:
        """Copy a chunk's rows: a source may reuse its buffers."""
        state.rows.append(chunk.rows.copy())
        state.weights.append(chunk.weights.copy())
        return state

    def merge(self, left: _Gathered, right: _Gathered) -> _Gathered:
        """Put one run after the other."""
        return left.extend(right)

    def start_rows(self, state: _Gathered, weighted: bool) -> StartRows:
        """Return the rows in one piece."""
        weights = np.concatenate(state.weights) if weighted else None
        return StartRows(np.concatenate(state.rows), weights)


@dataclass(frozen=True)
class Sampling:
    """Gather the ``limit`` rows with the smallest keys, a sample without replacement.

    Which rows these are is a function of the seed, their global indices and their weights: never
    of blocks, threads or the order in which chunks arrive, and never a prefix of a sorted file.
    """

    limit: int
    seed: int
    bound: float
    """Rows with a key above it are left aside at once; infinite where the weights decide."""
    level: int = 0

    def start(self) -> _Gathered:
        """Return no rows."""
        return _Gathered()

    def accumulate(self, state: _Gathered, chunk: Chunk) -> _Gathered:
        """Take a chunk's rows with the smallest keys."""
        keys = np.empty(len(chunk.rows))
        kernels.rows.sampling_keys(np.uint64(self.seed), chunk.first_row, chunk.weights, keys)
        below = np.flatnonzero((keys <= self.bound) & np.isfinite(keys))
        drawn = below[self._smallest(keys[below])]
        state.rows.append(chunk.rows[drawn])
        state.keys.append(keys[drawn])
        return self._thinned(state)

    def merge(self, left: _Gathered, right: _Gathered) -> _Gathered:
        """Put one run after the other and thin them out."""
        return self._thinned(left.extend(right))

    def start_rows(self, state: _Gathered, weighted: bool) -> StartRows:
        """Return the sample in one piece; its rows count once, weights have done their work."""
        return StartRows(np.concatenate(state.rows), None)

    def _thinned(self, state: _Gathered) -> _Gathered:
        if sum(map(len, state.keys)) <= self.limit:
            return state
        keys = np.concatenate(state.keys)
        drawn = self._smallest(keys)
        return _Gathered([np.concatenate(state.rows)[drawn]], keys=[keys[drawn]])

    def _smallest(self, keys: Float64Array) -> np.ndarray[tuple[int], np.dtype[np.intp]]:
        if len(keys) <= self.limit:
            return np.arange(len(keys))
        return np.sort(np.argpartition(keys, self.limit - 1)[: self.limit])


def sampling(limit: int, n_samples: int, weighted: bool, seed: int) -> Sampling:
    """Return the sampling of ``limit`` of so many rows.

    Without weights keys are exponential, so that a bound is known under which ``limit`` rows lie
    but for one chance in 10^15 (eight standard deviations): every range of the pass then gathers
    its share instead of ``limit`` rows, 8 MB in all instead of 100.
    """
    share = (limit + 8 * limit**0.5) / n_samples
    bound = -math.log1p(-share) if share < 1 and not weighted else math.inf
    return Sampling(limit, seed, bound)


def survey(
    placement: Placement,
    n_components: int,
    random_state: np.random.RandomState | None,
    report: Report | None = None,
) -> Survey:
    """Read the rows once: check them, sum their weights and gather what starts are made from.

    With ``random_state`` None no start is needed and nothing is gathered. A seed is drawn from it
    only where the rows have to be sampled, so that up to ``WHOLE_ELEMENTS`` the draws that follow
    are scikit-learn's.
    """
    source, n_samples = placement.source, placement.grid.n_samples
    if n_samples == 0:
        raise DataError("Found array with 0 sample(s): there are no rows to fit")
    if n_samples < max(2, n_components):
        if n_samples < n_components:
            raise DataError(
                f"Expected n_samples >= n_components but got n_components = {n_components}, "
                f"n_samples = {n_samples}"
            )
        raise DataError(
            f"Found array with {n_samples} sample(s) (shape={(n_samples, source.n_features)}) "
            "while a minimum of 2 is required by GaussianMixture."
        )
    checking = Checking(column_names(source))
    if random_state is None:
        (check,) = placement.reduce([checking], report)
        return Survey(_checked(check), None)
    gathering = _gathering(placement, n_components, random_state)
    check, gathered = placement.reduce([checking, gathering], report)
    total_weight = _checked(check)
    return Survey(total_weight, gathering.start_rows(gathered, source.weighted))


def _checked(check: _Check) -> float:
    if check.complaint is not None:
        raise DataError(check.complaint)
    if not check.weight > 0.0:
        raise DataError("All weights are zero: give at least one row a positive sample_weight")
    return check.weight


def _gathering(
    placement: Placement, n_components: int, random_state: np.random.RandomState
) -> Gathering | Sampling:
    n_samples, d = placement.grid.n_samples, placement.source.n_features
    if n_samples * d <= WHOLE_ELEMENTS:
        return Gathering()
    limit = max(min(SAMPLE_ELEMENTS // d, SAMPLE_ROWS), SAMPLE_ROWS_PER_COMPONENT * n_components)
    seed = int(random_state.randint(np.iinfo(np.int32).max))
    return sampling(min(limit, n_samples), n_samples, placement.source.weighted, seed)
