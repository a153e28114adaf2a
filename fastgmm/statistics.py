"""Sufficient statistics of a chunk of rows: what an E-step returns and what is merged."""

import math
from typing import NamedTuple

import numpy as np

from fastgmm._typing import Float64Array


class Statistics(NamedTuple):
    """Weighted moments of the rows about fixed origins, one origin a component; a monoid.

    Moments are taken about the *origins* of the density that produced them (its means, as a
    rule), so nothing cancels far from zero and the statistics of different chunks of one pass add
    up by plain addition. ``second`` has the shape that its covariance family declares; matrices
    are kept as lower triangles, packed or in bands of rows, as the family's kernels add them up.
    """

    log_likelihood: Float64Array
    """(1,) total natural log likelihood of the rows, weighted."""
    counts: Float64Array
    """(k,) sums of weighted responsibilities."""
    first: Float64Array
    """(k, d) weighted sums of r (x - origin)."""
    second: Float64Array
    """Weighted sums of r (x - origin)(x - origin)^T, or of the part that the family needs."""


class Scatter(NamedTuple):
    """Weight, means and total scatter of all rows: a constant of the data."""

    weight: float
    origin: Float64Array
    """(d,) somewhere among the rows."""
    means: Float64Array
    """(d,) less the origin: far from zero their sum would lose the digits that matter."""
    matrix: Float64Array
    """(d, d) weighted sum of (x - mean)(x - mean)^T."""

    def about(self, centre: Float64Array) -> Float64Array:
        """Return the scatter (d, d) about another centre (d,)."""
        away = (self.origin - centre) + self.means
        return self.matrix + self.weight * np.multiply.outer(away, away)


def zeros(
    n_components: int, n_features: int, second_shape: tuple[int, ...], n_blocks: int = 1
) -> Statistics:
    """The neutral element: statistics of no rows; of several blocks they lie one behind the other.

    Each array then has the first axis of one so many times.
    """
    n_seconds, *size = second_shape
    return Statistics(
        np.zeros(n_blocks),
        np.zeros(n_blocks * n_components),
        np.zeros((n_blocks * n_components, n_features)),
        _aligned_zeros((n_blocks * n_seconds, *size)),
    )


def of_block(statistics: Statistics, block: int, n_blocks: int) -> Statistics:
    """Return the part that belongs to one of several blocks, a view."""
    if n_blocks == 1:
        return statistics
    sizes = [len(part) // n_blocks for part in statistics]
    return Statistics(
        *(
            part[block * size : (block + 1) * size]
            for part, size in zip(statistics, sizes, strict=True)
        )
    )


def first_block(statistics: Statistics, n_blocks: int) -> Statistics:
    """Return the part of the first of several blocks, without the memory of the others."""
    if n_blocks == 1:
        return statistics
    return Statistics(*(part.copy() for part in of_block(statistics, 0, n_blocks)))


def _aligned_zeros(shape: tuple[int, ...]) -> Float64Array:
    """Return zeros that begin with a cache line: kernels add whole vectors to them."""
    size = math.prod(shape)
    memory = np.zeros(size + 8)
    first = -(memory.__array_interface__["data"][0] // 8) % 8
    return memory[first : first + size].reshape(shape)


def merge(left: Statistics, right: Statistics) -> Statistics:
    """Add ``right`` into ``left``, in place, and return ``left``; both about the same origins."""
    for into, part in zip(left, right, strict=True):
        into += part
    return left
