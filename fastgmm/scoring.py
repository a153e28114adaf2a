"""Scores and predictions of chunks: what a density says of rows, checked for what it cannot."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fastgmm import kernels
from fastgmm._typing import Float64Array, FloatArray, LabelArray
from fastgmm.covariance import Density
from fastgmm.exceptions import DataError
from fastgmm.sources import NO_NAMES, Chunk, Names
from fastgmm.sources.missing import incomplete_rows


@dataclass(frozen=True)
class Scoring:
    """The weighted log likelihood of all rows, the sum of their weights, and how many have any."""

    density: Density
    names: Names
    level: int = 0

    def start(self) -> Float64Array:
        """Return zeros, (3,)."""
        return np.zeros(3)

    def accumulate(self, state: Float64Array, chunk: Chunk) -> Float64Array:
        """Add a chunk's log likelihood, weight and rows."""
        log_density = log_densities(self.density, chunk, self.names).astype(np.float64)
        weights = chunk.weights
        if weights.size:
            check_weights(chunk, self.names)
            log_density[weights == 0.0] = 0.0  # absent, however far away
            state += (weights * log_density).sum(), weights.sum(), np.count_nonzero(weights)
        else:
            state += log_density.sum(), len(log_density), len(log_density)
        return state

    def merge(self, left: Float64Array, right: Float64Array) -> Float64Array:
        """Add."""
        left += right
        return left


ENTROPY_ELEMENTS = 2**15
"""Responsibilities (256 kB) whose logarithms are taken at a time: they stay in L2."""


@dataclass(frozen=True)
class EntropyScoring:
    """As :class:`Scoring`, and the weighted entropy of the responsibilities."""

    density: Density
    names: Names
    level: int = 0

    def start(self) -> Float64Array:
        """Return zeros, (4,)."""
        return np.zeros(4)

    def accumulate(self, state: Float64Array, chunk: Chunk) -> Float64Array:
        """Add a chunk's, some rows after the others."""
        check_finite(chunk, self.names)
        if chunk.weights.size:
            check_weights(chunk, self.names)
        some = max(ENTROPY_ELEMENTS // len(self.density.means), 64)
        for first in range(0, len(chunk.rows), some):
            rows, weights = chunk.rows[first : first + some], chunk.weights[first : first + some]
            state += _totals(self.density, rows, weights)
        return state

    def merge(self, left: Float64Array, right: Float64Array) -> Float64Array:
        """Add."""
        left += right
        return left


def _totals(density: Density, rows: FloatArray, weights: Float64Array) -> Float64Array:
    log_density = np.empty(len(rows), rows.dtype)
    shares = np.empty((len(rows), len(density.means)), rows.dtype)
    kernels.expectation.score(rows, density, log_density, _NO_LABELS, shares)
    n_rows = len(rows)
    if weights.size:
        absent = weights == 0.0  # however far away
        log_density[absent], shares[absent] = 0.0, 0.0
        n_rows -= int(np.count_nonzero(absent))
    # of a share of zero it is zero, not zero times minus infinity
    surprise = shares + np.finfo(rows.dtype).tiny
    np.log(surprise, out=surprise)
    surprise *= shares
    # sums over all at once: over a few components of every row they take ten times as long
    if weights.size:
        surprise = surprise * weights[:, np.newaxis]
        likelihood, weight = weights @ log_density, weights.sum()
    else:
        likelihood, weight = log_density.sum(dtype=np.float64), n_rows
    return np.array([likelihood, weight, n_rows, -surprise.sum(dtype=np.float64)])


def check_finite(chunk: Chunk, names: Names) -> None:
    """Raise DataError naming row and column of the first entry that is not finite."""
    at = kernels.rows.first_not_finite(chunk.rows)
    if at < 0:
        return
    row, column = divmod(at, chunk.rows.shape[1])
    raise DataError(not_finite(chunk.rows[row, column], chunk.first_row + row, column, names))


def check_weights(chunk: Chunk, names: Names) -> None:
    """Raise DataError naming the row of the first weight that is negative or not finite."""
    good = np.isfinite(chunk.weights) & (chunk.weights >= 0.0)
    if not good.all():
        row = int(np.argmin(good))
        raise DataError(
            f"sample_weight is {chunk.weights[row]} in {names.row(chunk.first_row + row)}: weights "
            "must be finite and not negative"
        )


def not_finite(value: Any, row: int, column: int, names: Names) -> str:
    """Say where an entry is not finite, beginning as scikit-learn does, and what to do."""
    what = "NaN" if np.isnan(value) else "infinity or a value too large"
    where = f"{names.row(row)}, {names.column(column)}"
    cure = 'missing="drop" lets a fit leave such rows out; else ' if what == "NaN" else ""
    return f"Input X contains {what}: {where}; {cure}remove such rows or fill them in"


def log_densities(density: Density, chunk: Chunk, names: Names = NO_NAMES) -> FloatArray:
    """Return (t,) the natural log density of each row of a chunk."""
    out = np.empty(len(chunk.rows), chunk.rows.dtype)
    _score(density, chunk, names, out, _NO_LABELS, _nothing(chunk))
    return out


def labels(density: Density, chunk: Chunk, names: Names = NO_NAMES) -> LabelArray:
    """Return (t,) the component of the highest responsibility of each row of a chunk."""
    out = np.empty(len(chunk.rows), np.int64)
    _score(density, chunk, names, np.empty(0, chunk.rows.dtype), out, _nothing(chunk))
    return out


def responsibilities(density: Density, chunk: Chunk, names: Names = NO_NAMES) -> FloatArray:
    """Return (t, k) the responsibilities of a chunk's rows; each row sums to 1."""
    out = np.empty((len(chunk.rows), len(density.means)), chunk.rows.dtype)
    _score(density, chunk, names, np.empty(0, chunk.rows.dtype), _NO_LABELS, out)
    return out


def component_log_densities(
    densities: Sequence[Density], chunk: Chunk, names: Names = NO_NAMES
) -> FloatArray:
    """Return (t, k) the natural log density of each row under k densities of one component each."""
    check_finite(chunk, names)
    out = np.empty((len(chunk.rows), len(densities)), chunk.rows.dtype)
    one = np.empty(len(chunk.rows), chunk.rows.dtype)
    for k, density in enumerate(densities):
        if len(chunk.rows):
            kernels.expectation.score(chunk.rows, density, one, _NO_LABELS, _nothing(chunk))
        out[:, k] = one
    return out


def distances(densities: Sequence[Density], chunk: Chunk, names: Names = NO_NAMES) -> FloatArray:
    """Return (t, k) the Mahalanobis distance of each row from k densities of one component each."""
    # without their log scales, as which small distances would lose their digits
    bare = [density._replace(log_scale=np.zeros_like(density.log_scale)) for density in densities]
    squares = -2 * component_log_densities(bare, chunk, names)
    return np.sqrt(np.maximum(squares, 0))


def where_complete(function: Callable[..., Any], chunk: Chunk, names: Names = NO_NAMES) -> Any:
    """Return what a function makes of a chunk's rows, -1 or NaN for those with missing values."""
    incomplete = incomplete_rows(chunk)
    if not incomplete.any():
        return function(chunk, names=names)
    rows = chunk.rows.copy()
    rows[incomplete] = 0  # so that the other rows keep their numbers in messages
    out = function(chunk._replace(rows=rows), names=names)
    out[incomplete] = -1 if out.dtype.kind == "i" else np.nan
    return out


def _score(
    density: Density,
    chunk: Chunk,
    names: Names,
    log_density: FloatArray,
    component: LabelArray,
    posterior: FloatArray,
) -> None:
    check_finite(chunk, names)
    if len(chunk.rows):  # a partition of a collection may be empty
        kernels.expectation.score(chunk.rows, density, log_density, component, posterior)


_NO_LABELS = np.empty(0, np.int64)


def _nothing(chunk: Chunk) -> FloatArray:
    return np.empty((0, 0), chunk.rows.dtype)


PREDICTIONS: dict[str, Callable[..., Any]] = {
    "log_density": log_densities,
    "label": labels,
    "responsibility": responsibilities,
}
"""What a pass over the rows can write per row."""
