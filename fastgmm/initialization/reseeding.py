"""New starts for some components of a running fit: at the rows that it explains worst."""

from dataclasses import dataclass

import numpy as np

from fastgmm._typing import Float64Array, FloatArray, IntArray
from fastgmm.covariance import FAMILIES, Density
from fastgmm.executors import Placement, Report
from fastgmm.expectation import leaf_level
from fastgmm.folds import Part, within
from fastgmm.initialization.constants import DataConstants
from fastgmm.initialization.first_pass import StartRows
from fastgmm.initialization.gathering import Gathered, smallest
from fastgmm.initialization.partition import Hard, first_parameters
from fastgmm.parameters import Parameters
from fastgmm.scoring import log_densities
from fastgmm.sources import Chunk

ROWS_PER_SEED = 64
"""A component starts anew on at most so many rows. On a single one it would not live: in 39
columns a row far from all others is nobody's neighbour, and the component keeps just that row."""


@dataclass(frozen=True)
class WorstRows:
    """Gather the ``limit`` rows of the lowest log density; of equal ones the first in the data.

    Which rows these are is a function of the density and the data: never of blocks that arrive in
    another order, threads or workers. Rows of weight zero are nobody's concern.
    """

    density: Density
    limit: int
    level: int = 0

    def start(self) -> Gathered:
        """Return no rows."""
        return Gathered()

    def accumulate(self, state: Gathered, chunk: Chunk) -> Gathered:
        """Take a chunk's worst rows."""
        keys = log_densities(self.density, chunk).astype(np.float64)
        if chunk.weights.size:
            keys[chunk.weights == 0.0] = np.inf
        worst = smallest(keys, self.limit)
        worst = worst[keys[worst] < np.inf]
        state.rows.append(chunk.rows[worst])
        state.keys.append(keys[worst])
        state.weights.append(chunk.weights[worst] if chunk.weights.size else np.ones(len(worst)))
        return state.thinned(self.limit)

    def merge(self, left: Gathered, right: Gathered) -> Gathered:
        """Put one run after the other and thin them out."""
        return left.extend(right).thinned(self.limit)


def reseeded(
    placement: Placement,
    part: Part | None,
    covariance_type: str,
    parameters: Parameters,
    density: Density,
    components: IntArray,
    ridge: Float64Array,
    constants: DataConstants,
    report: Report,
) -> tuple[Parameters, IntArray]:
    """Return parameters in which ``components`` start anew on the worst-explained rows.

    One pass gathers the rows of the lowest log density under ``density``, at most
    ``ROWS_PER_SEED`` for each component. They are halved across their widest column until there
    are as many groups of (nearly) equal size, near each other as far as they go; each component
    becomes the mean, covariance and weight of a group. Groups of equal size, as a cluster of one
    row would collapse at once.

    Returns
    -------
    parameters, components
        The components that were started: fewer than asked for where too few rows have weight.
    """
    family = FAMILIES[covariance_type]
    k, d = parameters.means.shape
    n_rows = round(constants.total_weight / constants.row_weight)
    fewest = 2 * (family.rows_without_spread(d) + 1)
    each = max(min(ROWS_PER_SEED, n_rows // (2 * k)), fewest)
    limit = min(each * len(components), n_rows)
    work = WorstRows(density, limit, leaf_level(placement.grid, d, limit * d))
    (worst,) = placement.reduce([within(part, work)], report)
    rows, weights = np.concatenate(worst.rows), np.concatenate(worst.weights)
    components = components[: len(rows)]
    # the median: components that have collapsed or hold an outlier have no say
    variances = np.broadcast_to(family.variances(parameters.covariances, d), (k, d))
    units = np.sqrt(np.maximum(np.median(variances, axis=0), 0.0))
    seeds = first_parameters(
        Hard(groups(rows, len(components), units)),
        StartRows(rows, weights),
        len(components),
        covariance_type,
        ridge,
        floor=0.0,
    )
    mixing = parameters.weights.copy()
    mixing[components] = seeds.weights * (weights.sum() / constants.total_weight)
    means = parameters.means.copy()
    means[components] = seeds.means
    covariances = family.replace(parameters.covariances, components, seeds.covariances)
    return Parameters(mixing / mixing.sum(), means, covariances), components


def groups(rows: FloatArray, n_groups: int, units: Float64Array) -> list[IntArray]:
    """Cut rows into groups of equal size, give or take one, by halving across the widest column.

    Width is in ``units`` (d,): the spread of a component in each column.
    """
    scaled = (rows - rows.mean(axis=0, dtype=np.float64)) / np.where(units > 0.0, units, 1.0)
    return _halved(scaled, np.arange(len(rows)), n_groups)


def _halved(scaled: Float64Array, indices: IntArray, n_groups: int) -> list[IntArray]:
    if n_groups == 1:
        return [np.sort(indices)]
    with np.errstate(over="ignore"):  # infinitely wide is widest
        column = int(np.argmax(scaled[indices].var(axis=0)))
    order = indices[np.argsort(scaled[indices, column], kind="stable")]
    left = n_groups // 2
    cut = len(order) * left // n_groups
    return [
        *_halved(scaled, order[:cut], left),
        *_halved(scaled, order[cut:], n_groups - left),
    ]
