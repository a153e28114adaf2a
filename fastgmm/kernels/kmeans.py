"""k-means on a block of rows: seeding distances, assignment and sums."""

from typing import Any

import numpy as np

from fastgmm._jit import kernel, part


@part
def squared_distance(rows: Any, n: int, centre: Any) -> float:
    """Return |x_n - centre|^2."""
    total = 0.0
    for i in range(rows.shape[1]):
        away = rows[n, i] - centre[i]
        total += away * away
    return total


@kernel
def candidate_potentials(
    rows: Any, weights: Any, candidates: Any, closest: Any, potentials: Any
) -> None:
    """Add to ``potentials`` (c,) the weighted inertia if each candidate (c, d) became a centre."""
    for n in range(rows.shape[0]):
        weight = 1.0 if weights.size == 0 else weights[n]
        for c in range(candidates.shape[0]):
            distance = squared_distance(rows, n, candidates[c])
            potentials[c] += weight * min(closest[n], distance)


@kernel
def update_closest(rows: Any, centre: Any, closest: Any) -> None:
    """Lower ``closest`` (n,), squared distances to the nearest centre, by one more centre."""
    for n in range(rows.shape[0]):
        closest[n] = min(closest[n], squared_distance(rows, n, centre))


@kernel
def assign(
    rows: Any, weights: Any, centres: Any, labels: Any, distances: Any, counts: Any, sums: Any
) -> int:
    """Assign each row to its nearest centre and add the rows up; how many labels changed.

    ``labels`` (n,) and ``distances`` (n,) are overwritten, ``counts`` (k,) and ``sums`` (k, d) are
    added to. Ties go to the lower index.
    """
    changed = 0
    for n in range(rows.shape[0]):
        best = 0
        nearest = np.inf
        for k in range(centres.shape[0]):
            distance = squared_distance(rows, n, centres[k])
            if distance < nearest:
                nearest = distance
                best = k
        changed += best != labels[n]
        labels[n] = best
        distances[n] = nearest
        weight = 1.0 if weights.size == 0 else weights[n]
        counts[best] += weight
        for i in range(rows.shape[1]):
            sums[best, i] += weight * rows[n, i]
    return changed
