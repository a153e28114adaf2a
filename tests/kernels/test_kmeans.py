"""k-means' kernels against NumPy: nearest centres with ties, sums, seeding distances."""

import numpy as np
import pytest

from fastgmm.kernels import kmeans

NOTHING = np.empty(0), np.empty((0, 0))
NO_WEIGHTS = np.empty(0)

# fewer rows than lanes, tails of chunks, one column and few (by differences), one centre and as
# many as rows
SIZES = [(3, 1, 1), (7, 2, 7), (65, 3, 5), (130, 5, 65), (333, 11, 4), (500, 39, 50)]

every_size = pytest.mark.parametrize(("n", "d", "k"), SIZES)
every_dtype = pytest.mark.parametrize("dtype", [np.float64, np.float32])


def rows_and_centres(n, d, k, dtype, offset=0.0):
    rng = np.random.default_rng(n)
    rows = rng.normal(size=(n, d)) + offset
    return rows.astype(dtype), rows[rng.choice(n, k, replace=False)].astype(dtype)


def distances(rows, centres):
    """(n, k), in the way of the textbook."""
    return ((rows[:, None].astype(float) - centres.astype(float)) ** 2).sum(axis=2)


def labels_of(rows, centres, shift=None):
    shift = rows.mean(axis=0) if shift is None else shift
    labels = np.full(len(rows), -1, np.int32)
    searched = kmeans.searched((centres - shift).astype(rows.dtype))
    changed = kmeans.label_rows(rows, shift, *searched, labels, *NOTHING)
    assert changed == len(rows)
    assert kmeans.label_rows(rows, shift, *searched, labels, *NOTHING) == 0
    return labels


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
    labels = labels_of(rows, centres)
    counted = weights if weighted else np.ones(n)
    belongs = counted * (labels == np.arange(k)[:, None])
    expected = belongs.sum(axis=1), belongs @ (rows - shift).astype(float)
    found = [np.ones(k), np.ones((k, d))]  # they are added to
    kmeans.add_up(rows, weights, shift, labels, *found)
    at_once = [np.ones(k), np.ones((k, d))]
    if kmeans.adds_up_at_once(k, d, weights):
        searched = kmeans.searched((centres - shift).astype(dtype))
        kmeans.label_rows(rows, shift, *searched, labels.copy(), *at_once)
    else:
        at_once = found
    tolerance = 1e-12 if dtype == np.float64 else 1e-5
    for sums in (found, at_once):
        for mine, textbook in zip(sums, expected, strict=True):
            np.testing.assert_allclose(mine - 1, textbook, rtol=tolerance, atol=50 * tolerance)


@every_size
@every_dtype
@pytest.mark.parametrize("weighted", [False, True])
def test_candidates_are_judged_by_what_they_would_leave(n, d, k, dtype, weighted):
    rows, centres = rows_and_centres(n, d, k, dtype)
    weights = np.random.default_rng(1).gamma(2.0, size=n) if weighted else NO_WEIGHTS
    counted = weights if weighted else np.ones(n)
    candidates = centres[: min(k, 5)]
    closest = distances(rows, centres[-1:])[:, 0].astype(dtype)
    nearer = kmeans.nearer_bits(len(candidates), n, dtype)
    potentials = np.zeros(len(candidates))
    kmeans.candidate_potentials(rows, weights, candidates, closest, nearer, 0, potentials)
    lowered = np.minimum(closest[:, None], distances(rows, candidates))
    tolerance = 1e-12 if dtype == np.float64 else 1e-5
    np.testing.assert_allclose(potentials, counted @ lowered, rtol=tolerance, atol=tolerance)
    for c, candidate in enumerate(candidates):
        after = closest.copy()
        kmeans.lower_closest(rows, candidate, nearer[c], 0, kmeans.chunks_of(n, dtype), after)
        np.testing.assert_allclose(after, lowered[:, c], rtol=tolerance, atol=tolerance)
