"""The first pass: are the rows usable, what do they weigh, and which of them make the start."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from fastgmm import kernels
from fastgmm._typing import BoolArray, Float64Array, FloatArray, IntArray
from fastgmm.exceptions import DataError
from fastgmm.executors import Placement, Report, Work
from fastgmm.folds import Part, within
from fastgmm.initialization.constants import (
    ColumnMoments,
    DataConstants,
    Moments,
    TotalScatter,
)
from fastgmm.initialization.gathering import Gathered, joined, smallest
from fastgmm.scoring import check_finite, check_weights
from fastgmm.sources import Chunk, Names, Source, source_names

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
    """The rows that starts are made from: all of them, or a sample drawn by hashed row index.

    Rows of weight zero are left out: a start that only looks at distances would see them.
    """

    rows: FloatArray
    """(m, d) in the order of the data."""
    weights: Float64Array | None
    """(m,) or None. In a sample every row counts once: it was drawn in proportion to its weight."""
    counting: BoolArray | None = None
    """(n,) which of all rows these are, where some were left out."""


class Survey(NamedTuple):
    """What the first pass found."""

    constants: DataConstants
    """Of all rows."""
    of_parts: list[DataConstants]
    """Of the rows of each part that was asked about."""
    gathered: "StartMaterial | None"

    def start_rows(self, n_components: int, part: Part | None = None) -> StartRows:
        """Return the rows that a fit of so many components, to all rows or a part, starts from."""
        if self.gathered is None:
            raise ValueError("nothing was gathered: survey the rows with a random_state")
        return self.gathered.start_rows(n_components, part)


def check_counting(n_rows: int, n_components: int) -> None:
    """Raise DataError if fewer rows have a positive weight than there are components."""
    if n_rows < n_components:
        raise DataError(
            f"Only {n_rows} rows have a positive weight: too few for {n_components} components"
        )


class StartMaterial(NamedTuple):
    """All rows, or as large a sample as any of the starts needs: whichever of them these take."""

    rows: FloatArray
    """(m, d) in the order of the data."""
    weights: Float64Array | None
    """(m,), or None where every row counts once."""
    keys: Float64Array | None
    """(m,) of a sample, else None."""
    indices: IntArray | None
    """(m,) of a sample, else None: which rows of the data these are."""

    def start_rows(self, n_components: int, part: Part | None = None) -> StartRows:
        """Return what a start is made from: the rows of a part, or of these a smaller sample."""
        rows, weights, keys, indices = self
        if part is not None:
            mine = part.holds(np.arange(len(rows)) if indices is None else indices)
            rows = rows[mine]
            weights = None if weights is None else weights[mine]
            keys = None if keys is None else keys[mine]
        limit = sample_rows(n_components, rows.shape[1])
        if keys is not None and len(keys) > limit:  # else rows would be copied
            rows = rows[smallest(keys, limit)]
        counting = None
        if weights is not None and not weights.all():
            counting = weights > 0.0
            rows, weights = rows[counting], weights[counting]
        check_counting(len(rows), n_components)
        return StartRows(rows, weights, counting)


class _Check(NamedTuple):
    complaint: str | None
    """The first row that cannot be used."""
    weight: float
    n_rows: int
    """Rows of positive weight."""


@dataclass(frozen=True)
class Checking:
    """Find the first entry that is not finite and the first bad weight; sum the weights."""

    names: Names
    level: int = 0

    def start(self) -> _Check:
        """Return: nothing found."""
        return _Check(None, 0.0, 0)

    def accumulate(self, state: _Check, chunk: Chunk) -> _Check:
        """Look at a chunk."""
        weight, n_rows = float(len(chunk.rows)), len(chunk.rows)
        if chunk.weights.size:
            weight, n_rows = float(chunk.weights.sum()), int(np.count_nonzero(chunk.weights))
        complaint = state.complaint or self._complaint(chunk)
        return _Check(complaint, state.weight + weight, state.n_rows + n_rows)

    def _complaint(self, chunk: Chunk) -> str | None:
        try:
            check_finite(chunk, self.names)
            check_weights(chunk, self.names)
        except DataError as error:  # kept, not raised: the first row's is told, whoever finds it
            return str(error)
        return None

    def merge(self, left: _Check, right: _Check) -> _Check:
        """Keep the first complaint, add the weights."""
        return _Check(
            left.complaint or right.complaint,
            left.weight + right.weight,
            left.n_rows + right.n_rows,
        )


@dataclass(frozen=True)
class Gathering:
    """Gather all rows and their weights."""

    level: int = 0

    def start(self) -> Gathered:
        """Return no rows."""
        return Gathered()

    def accumulate(self, state: Gathered, chunk: Chunk) -> Gathered:
        """Copy a chunk's rows: a source may reuse its buffers."""
        state.rows.append(chunk.rows.copy())
        state.weights.append(chunk.weights.copy())
        return state

    def merge(self, left: Gathered, right: Gathered) -> Gathered:
        """Put one run after the other."""
        return left.extend(right)

    def material(self, state: Gathered, weighted: bool) -> StartMaterial:
        """Return the rows in one piece."""
        weights = np.concatenate(state.weights) if weighted else None
        return StartMaterial(np.concatenate(state.rows), weights, None, None)


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

    def start(self) -> Gathered:
        """Return no rows."""
        return Gathered()

    def accumulate(self, state: Gathered, chunk: Chunk) -> Gathered:
        """Take a chunk's rows with the smallest keys."""
        keys = np.empty(len(chunk.rows))
        kernels.rows.sampling_keys(np.uint64(self.seed), chunk.first_row, chunk.weights, keys)
        below = np.flatnonzero((keys <= self.bound) & np.isfinite(keys))
        drawn = below[smallest(keys[below], self.limit)]
        state.rows.append(chunk.rows[drawn])
        state.keys.append(keys[drawn])
        state.indices.append(chunk.first_row + drawn)
        return state.thinned(self.limit)

    def merge(self, left: Gathered, right: Gathered) -> Gathered:
        """Put one run after the other and thin them out."""
        return left.extend(right).thinned(self.limit)

    def material(self, state: Gathered, weighted: bool) -> StartMaterial:
        """Return the sample in one piece; its rows count once, weights have done their work."""
        return StartMaterial(joined(state.rows), None, joined(state.keys), joined(state.indices))


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
    *,
    variances: bool = False,
    scatter: bool = False,
    parts: Sequence[Part] = (),
) -> Survey:
    """Read the rows once: check them, sum their weights and gather what starts are made from.

    Starts of up to ``n_components``, on all rows and on every one of ``parts``. With
    ``random_state`` None no start is needed and nothing is gathered. A seed is drawn from it
    only where the rows have to be sampled, so that up to ``WHOLE_ELEMENTS`` the draws that follow
    are scikit-learn's. The variances of the columns cost several times as much as all the rest, the
    scatter n d^2 operations; both are found on demand.

    Raises DataError where the rows cannot be used, and where all of them, those of a part or those
    that it leaves out are too few.
    """
    source, n_samples = placement.source, placement.grid.n_samples
    if n_samples < 2:
        raise DataError(
            f"Found array with {n_samples} sample(s) (shape={(n_samples, source.n_features)}) "
            "while a minimum of 2 is required by GaussianMixture."
        )
    if n_samples < n_components:
        raise DataError(
            f"Expected n_samples >= n_components but got n_components = {n_components}, "
            f"n_samples = {n_samples}"
        )
    about: list[Part | None] = [None, *parts]
    asked: dict[str, Work[Any]] = {"check": Checking(source_names(source))}
    if variances:
        asked["moments"] = ColumnMoments(source.n_features)
    if scatter:
        asked["scatter"] = TotalScatter(source.n_features)
    works = [within(part, work) for part in about for work in asked.values()]
    gathering = None
    if random_state is not None:
        gathering = _gathering(placement, n_components, random_state, parts)
        works.append(gathering)
    found = placement.reduce(works, report)
    answers = iter(found)
    results = [{name: next(answers) for name in asked} for _ in about]
    whole, *of_parts = [result["check"] for result in results]
    if whole.complaint is None:
        for part, one in zip(parts, of_parts, strict=True):
            _check_part(part, whole.n_rows, one.n_rows, n_components)
    constants = [_constants(source, **result) for result in results]
    gathered = None if gathering is None else gathering.material(found[-1], source.weighted)
    return Survey(constants[0], constants[1:], gathered)


LARGEST_WEIGHT = {8: 1e100, 4: 1e15}
"""Of a row, and one over the smallest, in the mean: sums of a tile times squared columns of up to
1e10 are numbers of the dtype."""


def _check_part(part: Part, n_all: int, n_rows: int, n_components: int) -> None:
    """Raise DataError where a part, or what it leaves out, has too few rows of positive weight."""
    fold, n_folds = part.fold, part.folds.n_folds
    if n_rows == n_all:
        raise DataError(
            f"Fold {fold} of {n_folds} has none of the {n_all} rows, so nothing is held out: ask "
            "for fewer folds (n_folds)"
        )
    if n_rows < n_components:
        raise DataError(
            f"Outside of fold {fold} of {n_folds} are {n_rows} of the {n_all} rows, too few for "
            f"{n_components} components: ask for fewer components or other folds (n_folds)"
        )


def _constants(
    source: Source,
    check: _Check,
    moments: Moments | None = None,
    scatter: Moments | None = None,
) -> DataConstants:
    if check.complaint is not None:
        dropped = getattr(source, "n_dropped", 0)
        without = f" (of the rows without missing values; {dropped} have some)" if dropped else ""
        raise DataError(check.complaint + without)
    if not check.weight > 0.0:
        raise DataError("All weights are zero: give at least one row a positive sample_weight")
    row_weight = check.weight / check.n_rows
    largest = LARGEST_WEIGHT[source.dtype.itemsize]
    if not 1.0 / largest <= row_weight <= largest:
        raise DataError(
            f"The rows weigh {row_weight:.1e} each, which {source.dtype.name} cannot add up: "
            "multiply all of sample_weight by a constant, on which a fit does not depend"
        )
    spread = np.full(source.n_features, np.nan) if moments is None else moments.variances
    total = None if scatter is None else scatter.whole()
    return DataConstants(check.weight, row_weight, spread, total)


def sample_rows(n_components: int, n_features: int) -> int:
    """Return how many rows a start of so many components is made from where not from all."""
    return max(
        min(SAMPLE_ELEMENTS // n_features, SAMPLE_ROWS), SAMPLE_ROWS_PER_COMPONENT * n_components
    )


def _gathering(
    placement: Placement,
    n_components: int,
    random_state: np.random.RandomState,
    parts: Sequence[Part],
) -> Gathering | Sampling:
    n_samples, d = placement.grid.n_samples, placement.source.n_features
    if n_samples * d <= WHOLE_ELEMENTS:
        return Gathering()
    limit = sample_rows(n_components, d)
    if parts:  # so many of all rows that every part has the rows with its smallest keys among them
        limit = math.ceil((limit + 8 * limit**0.5) / min(part.share for part in parts))
    seed = int(random_state.randint(np.iinfo(np.int32).max))
    return sampling(min(limit, n_samples), n_samples, placement.source.weighted, seed)
