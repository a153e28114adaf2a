"""k-means' kernels against NumPy: nearest centres with ties, sums, seeding distances."""

import numpy as np
import pytest

from fastgmm.kernels import assignment, seeding
from fastgmm.kernels import sketch as sketches

NOTHING = np.empty(0), np.empty((0, 0))
NO_WEIGHTS = np.empty(0)

# fewer rows than lanes, tails of chunks, one column and few (by differences), one centre and as
# many as rows
SIZES = [(3, 1, 1), (7, 2, 7), (1065, 3, 5), (130, 5, 65), (1333, 11, 4), (500, 39, 50)]

every_size = pytest.mark.parametrize(("n", "d", "k"), SIZES)
every_dtype = pytest.mark.parametrize("dtype", [np.float64, np.float32])


def rows_and_centres(n, d, k, dtype, offset=0.0):
    rng = np.random.default_rng(n)
    rows = rng.normal(size=(n, d)) + offset
    return rows.astype(dtype), rows[rng.choice(n, k, replace=False)].astype(dtype)


def distances(rows, centres):
    """(n, k), in the way of the textbook."""
    return ((rows[:, None].astype(float) - centres.astype(float)) ** 2).sum(axis=2)


BLOCK = 512


def blocks_of(n):
    return -(-n // BLOCK)


def targets_of(centres, shift, drift=0.0):
    drifts = np.full(len(centres), drift)
    return assignment.centres_of((centres - shift).astype(shift.dtype), shift, drifts)


def assigned(rows, centres, shift=None, weights=NO_WEIGHTS):
    shift = rows.mean(axis=0) if shift is None else shift
    found = assignment.unassigned(len(rows), len(centres), blocks_of(len(rows)), rows.shape[1])
    arguments = rows, weights, targets_of(centres, shift), found, BLOCK, 0, len(found.changed)
    assignment.assign(*arguments)
    assert found.changed.sum() == len(rows)
    assignment.assign(*arguments)
    assert found.changed.sum() == 0
    return found


def labels_of(rows, centres, shift=None):
    return assigned(rows, centres, shift).labels


@every_size
@every_dtype
def test_rows_go_to_the_nearest_centre(n, d, k, dtype):
    rows, centres = rows_and_centres(n, d, k, dtype)
    exact = distances(rows, centres)
    labels = labels_of(rows, centres)
    lost = exact[np.arange(n), labels] - exact.min(axis=1)
    # what rounding the rows about their mean may cost, not what the products would
    assert (lost <= 4 * d * np.finfo(dtype).eps * exact.min(axis=1)).all()


@every_dtype
@pytest.mark.parametrize("d", [2, 9])
def test_ties_go_to_the_lower_index(d, dtype):
    rows = np.random.default_rng(0).integers(-3, 4, size=(1000, d)).astype(dtype)
    centres = np.concatenate([rows[:20], rows[:20], rows[5:40]])
    labels = labels_of(rows, centres, np.zeros(d, dtype))
    assert np.array_equal(labels, distances(rows, centres).argmin(axis=1))


@every_dtype
def test_products_do_not_lose_near_ties_to_rounding(dtype):
    # two centres a rounding apart: |c|^2 / 2 - x c cannot tell them
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(400, 8)).astype(dtype)
    centres = np.repeat(rng.normal(size=(6, 8)), 2, axis=0).astype(dtype)
    centres[1::2, 3] *= 1 + 4 * np.finfo(dtype).eps
    labels = labels_of(rows, centres, np.zeros(8, dtype))
    exact = distances(rows, centres)
    # the same differences in the same dtype, in any order of the sum
    lost = exact[np.arange(len(rows)), labels] - exact.min(axis=1)
    assert (lost <= 16 * np.finfo(dtype).eps * exact.min(axis=1)).all()
    assert len(np.unique(labels)) > 6


def test_rows_without_squares_are_labelled_all_the_same():
    rows = np.array([[1e200, 0, 0, 0], [0, 0, 0, 1.0]])
    labels = labels_of(rows, rows[1:] * np.ones((3, 1)), np.zeros(4))
    assert np.array_equal(labels, [0, 0])


@every_size
@every_dtype
@pytest.mark.parametrize("weighted", [False, True])
def test_sums_are_those_of_the_labels(n, d, k, dtype, weighted):
    rows, centres = rows_and_centres(n, d, k, dtype, offset=1e3)
    shift = rows.mean(axis=0)
    weights = np.random.default_rng(1).gamma(2.0, size=n) if weighted else NO_WEIGHTS
    counted = weights if weighted else np.ones(n)
    found = assigned(rows, centres, shift, weights)
    tolerance = 1e-12 if dtype == np.float64 else 1e-5
    for moved in (centres, centres[::-1], rows[:k]):  # each from where the last has left the rows
        targets = targets_of(moved, shift, drift=np.inf)
        assignment.assign(rows, weights, targets, found, BLOCK, 0, blocks_of(n))
        assert np.array_equal(found.labels, labels_of(rows, moved, shift))
        belongs = counted * (found.labels == np.arange(k)[:, None])
        expected = belongs.sum(axis=1), belongs @ (rows - shift).astype(float)
        for mine, textbook in zip((found.counts, found.sums), expected, strict=True):
            np.testing.assert_allclose(
                mine.sum(axis=0), textbook, rtol=tolerance, atol=50 * tolerance
            )
        assert (found.counts.sum(axis=0)[expected[0] == 0] == 0).all()


@every_size
@every_dtype
def test_rows_that_are_passed_over_would_keep_their_labels(n, d, k, dtype):
    rows, centres = rows_and_centres(n, d, k, dtype)
    shift = rows.mean(axis=0)
    found = assigned(rows, centres, shift)
    drift, skipped = np.zeros(k), 0
    rng = np.random.default_rng(2)
    for _ in range(6):
        moved = (centres + rng.normal(scale=0.05, size=(k, d))).astype(dtype)
        ways = np.sqrt(((moved.astype(float) - centres) ** 2).sum(axis=1))
        drift += ways + ways.max()
        centres = moved
        targets = assignment.centres_of((centres - shift).astype(dtype), shift, drift)
        skipped += (found.slack > targets.limits[found.labels]).sum()
        assignment.assign(rows, NO_WEIGHTS, targets, found, BLOCK, 0, blocks_of(n))
        assert np.array_equal(found.labels, labels_of(rows, centres, shift))
    assert k == 1 or skipped > 0


@every_size
@every_dtype
@pytest.mark.parametrize("weighted", [False, True])
def test_candidates_are_judged_by_what_they_would_save(n, d, k, dtype, weighted):
    rows, centres = rows_and_centres(n, d, k, dtype)
    weights = np.random.default_rng(1).gamma(2.0, size=n) if weighted else NO_WEIGHTS
    counted = weights if weighted else np.ones(n)
    n_blocks, candidates = blocks_of(n), centres[: min(k, 5)]
    state = seeding.unseeded(n, BLOCK, len(candidates), dtype)
    sketch = sketches.sketch_of(n, BLOCK, rows[0])
    sketches.draw_sketch(rows, sketch, BLOCK, 0, n_blocks)
    tolerance = 1e-12 if dtype == np.float64 else 1e-5
    closest = np.full(n, np.inf)
    # the first is nearer to all; then many rows are concerned, then few
    for seed in (rows[-1], *rows[: min(n, 40)]):
        if np.isfinite(closest).all():
            seeding.judge(rows, weights, seed[None], sketch, state, BLOCK, 0, n_blocks)
        seeding.settle(rows, weights, seed, 0, state, BLOCK, 0, n_blocks)
        closest = np.minimum(closest, distances(rows, seed[None])[:, 0])
        np.testing.assert_allclose(state.closest[:n], closest, rtol=tolerance, atol=tolerance)
        np.testing.assert_allclose(state.masses.sum(), counted @ closest, rtol=tolerance)
        seeding.judge(rows, weights, candidates, sketch, state, BLOCK, 0, n_blocks)
        lowered = np.minimum(closest[:, None], distances(rows, candidates))
        saved = counted @ (closest[:, None] - lowered)
        np.testing.assert_allclose(
            state.gains.sum(axis=0), saved, rtol=tolerance, atol=n * tolerance
        )


def test_rows_are_drawn_where_the_masses_reach_the_marks():
    closest = np.random.default_rng(0).gamma(0.1, size=2048)
    closest[1300:] = 0
    ends = np.cumsum(np.add.reduceat(closest, range(0, 2048, 512)))
    marks = np.random.default_rng(1).uniform(size=50) * ends[-1]
    drawn = np.empty(50, np.int64)
    seeding.draw(marks, ends, closest, 1300, NO_WEIGHTS, drawn)
    assert np.array_equal(drawn, np.searchsorted(np.cumsum(closest), marks))


@every_size
@every_dtype
def test_a_sketch_has_sums_and_squares_about_a_row(n, d, k, dtype):
    rows, _ = rows_and_centres(n, d, k, dtype)
    sketch = sketches.sketch_of(n, BLOCK, rows[0])
    sketches.draw_sketch(rows, sketch, BLOCK, 0, blocks_of(n))
    away = rows.astype(float) - rows[0]
    expected = away.sum(axis=0), (away**2).sum(axis=0)
    tolerance = 1e-12 if dtype == np.float64 else 1e-5
    for found, textbook in zip((sketch.sums, sketch.squares), expected, strict=True):
        np.testing.assert_allclose(found.sum(axis=0), textbook, rtol=tolerance, atol=n * tolerance)
