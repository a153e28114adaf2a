"""Rows of few columns in whole groups: the statistics that tiles add up."""

from itertools import product

import numpy as np
import pytest

from fastgmm import expectation, kernels
from fastgmm.covariance import FAMILIES
from fastgmm.expectation import ExpectationStep
from fastgmm.parameters import Parameters
from fastgmm.simd import lanes
from fastgmm.sources import NO_WEIGHTS
from fastgmm.statistics import zeros


def mixture(family, d, k, dtype=float):
    """k components about the origin, their columns correlated where the family can say so."""
    rng = np.random.default_rng(d)
    A = rng.normal(size=(k, d, d + 2))
    matrices = A @ A.transpose(0, 2, 1) / d + np.eye(d)
    covariances = {
        "full": matrices,
        "tied": matrices[0],
        "diag": np.diagonal(matrices, axis1=1, axis2=2).copy(),
        "spherical": np.geomspace(0.5, 2.0, k),
    }[family]
    parameters = Parameters(rng.dirichlet(np.full(k, 5.0)), rng.normal(size=(k, d)), covariances)
    return FAMILIES[family].prepare(parameters, np.dtype(dtype))


def nothing(family, density):
    k, d = density.means.shape
    return zeros(k, d, FAMILIES[family].second_shape(k, d))


def by_tiles(family, density, X):
    statistics = nothing(family, density)
    kernels.expectation.expectation(X, NO_WEIGHTS, density, statistics, len(X))
    return statistics


def in_groups(family, density, X):
    """Statistics by groups, what they leave by tiles; and what that is."""
    statistics = nothing(family, density)
    left = kernels.narrow.add_whole_groups(X, density, statistics, len(X))
    for rows in left:
        kernels.expectation.expectation(X[rows], NO_WEIGHTS, density, statistics, len(X[rows]))
    return statistics, left


def assert_equal(statistics, expected, rtol=1e-12):
    for one, other in zip(statistics, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=rtol, atol=rtol * np.abs(other).max())


# an odd number of components is left over where two are taken at a time
@pytest.mark.parametrize(
    ("family", "d", "k"),
    [
        *product(["full", "tied", "diag", "spherical"], [1, 2, 3], [2, 3]),
        *product(["full", "tied", "diag", "spherical"], [3], [4, 5]),
        ("full", 2, 15),
        *product(["diag"], [4], [2, 3]),
        *product(["tied", "spherical"], [4, 7, 8], [2, 5]),
        *product(["tied", "spherical"], [13, 16], [12]),
        ("full", 3, 75),
        ("tied", 11, 75),
        ("spherical", 16, 75),
    ],
)
def test_groups_add_up_to_what_tiles_do(family, d, k):
    X = np.random.default_rng(d).normal(size=(640, d))
    density = mixture(family, d, k)
    statistics, left = in_groups(family, density, X)
    assert left == []
    assert_equal(statistics, by_tiles(family, density, X))


# relative to the reference in few columns, to each row's highest density in more
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize(
    ("family", "d"),
    [*product(["full", "tied", "diag", "spherical"], [2]), ("tied", 7), ("spherical", 7)],
)
@pytest.mark.parametrize("k", [2, 3, 4])
def test_rows_at_any_distance_count_as_in_tiles(family, d, k, dtype):
    density = mixture(family, d, k, dtype)
    exact = mixture(family, d, k)
    directions = np.random.default_rng(0).normal(size=(2048, d))
    for distance in (0, 3, 6, 9, 12, 15, 20, 40, 1e3, 1e9):
        X = (directions * distance).astype(dtype)
        statistics, _ = in_groups(family, density, X)
        expected = by_tiles(family, exact, X.astype(float))
        assert_equal(statistics, expected, rtol=1e-11 if dtype is np.float64 else 1e-4)


@pytest.mark.parametrize("k", [2, 3, 4])
def test_rows_between_clusters_count_beside_rows_beyond_them(k):
    # in one product of sums: log densities from -450 to 450 about those at the means
    for apart in (5.0, 15.0, 30.0):
        means = np.array([[-apart, 0.0], [apart, 0.0], [apart, 1.0], [-apart, 1.0]])[:k]
        parameters = Parameters(np.full(k, 1 / k), means, np.eye(2))
        density = FAMILIES["tied"].prepare(parameters, np.dtype(float))
        X = np.random.default_rng(0).normal(size=(1024, 2))
        X[::2, 0] += 2 * apart
        statistics, _ = in_groups("tied", density, X)
        assert_equal(statistics, by_tiles("tied", density, X))


@pytest.mark.parametrize(
    ("dtype", "apart", "beyond"), [(np.float64, 19.0, 10.0), (np.float32, 5.0, 6.0)]
)
@pytest.mark.parametrize("k", [4, 7, 16])
def test_batches_relative_to_one_component_and_to_a_number_add_up(k, dtype, apart, beyond):
    """Rows so far behind another mean that the widest component's density cannot be their unit."""
    means = np.zeros((k, 2))
    means[1] = apart, 0.0
    parameters = Parameters(np.full(k, 1 / k), means, np.ones(k))
    density = FAMILIES["spherical"].prepare(parameters, np.dtype(dtype))
    exact = FAMILIES["spherical"].prepare(parameters, np.dtype(float))
    batch = kernels.narrow.VECTORS_TOGETHER * lanes(np.dtype(dtype))
    X = np.random.default_rng(0).normal(size=(12 * batch, 2)).astype(dtype)
    for behind in ([], [5], [0, 7], range(1, 12), range(12)):
        Y = X.copy()
        for which in behind:
            Y[which * batch + 3] = apart + beyond, 0.0
        statistics, left = in_groups("spherical", density, Y)
        assert left == []
        expected = by_tiles("spherical", exact, Y.astype(float))
        assert_equal(statistics, expected, 1e-11 if dtype is np.float64 else 1e-5)


@pytest.mark.parametrize(("family", "k"), [("full", 16), ("diag", 16), ("tied", 9), ("tied", 17)])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_the_widest_of_many_components_changes_no_places(family, k, dtype):
    """One is the unit of the others' densities: in its place is what tiles have there."""
    X = np.random.default_rng(1).normal(size=(4096, 2))
    exact = by_tiles(family, mixture(family, 2, k), X)
    statistics, left = in_groups(family, mixture(family, 2, k, dtype), X.astype(dtype))
    assert left == []
    assert_equal(statistics, exact, 1e-11 if dtype is np.float64 else 1e-5)


@pytest.mark.parametrize("k", [2, 3, 4])
def test_a_batch_with_a_row_far_away_is_left_to_tiles(k):
    density = mixture("full", 2, k)
    batch = kernels.narrow.VECTORS_TOGETHER * lanes(np.dtype(float))
    X = np.random.default_rng(0).normal(size=(12 * batch + 3, 2))  # fewer than any group
    rest = slice(12 * batch, 12 * batch + 3)
    assert in_groups("full", density, X)[1] == [rest]
    for where, left in (
        ([0], [slice(0, batch), rest]),
        ([3 * batch, 5 * batch - 1], [slice(3 * batch, 5 * batch), rest]),
        ([12 * batch - 1], [slice(11 * batch, 12 * batch + 3)]),
        # three of four: no more is tried
        ([batch, 2 * batch, 3 * batch], [slice(batch, 12 * batch + 3)]),
    ):
        Y = X.copy()
        Y[where] = 1e10
        statistics, found = in_groups("full", density, Y)
        assert found == left
        assert_equal(statistics, by_tiles("full", density, Y))


@pytest.mark.parametrize(("family", "d"), [("full", 2), ("tied", 7), ("spherical", 7)])
@pytest.mark.parametrize("k", [2, 3, 4])
def test_what_is_no_number_is_left_to_tiles(family, d, k):
    X = np.zeros((64, d))
    density = mixture(family, d, k)
    for number in (np.nan, np.inf, -np.inf):
        X[17, 1] = number
        statistics = nothing(family, density)
        left = kernels.narrow.add_whole_groups(X, density, statistics, len(X))
        assert left == [slice(0, 64)]
        assert not any(part.any() for part in statistics)


@pytest.mark.parametrize("family", ["full", "diag", "spherical"])
@pytest.mark.parametrize("k", [2, 3, 4])
def test_components_of_very_different_width(family, k):
    for dtype, rtol in ((np.float64, 1e-11), (np.float32, 1e-5)):
        wide = np.geomspace(1e-2, 10, k)[:, np.newaxis] ** 2
        covariances = {
            "full": wide[:, :, np.newaxis] * np.eye(2),
            "diag": wide * np.ones(2),
            "spherical": wide[:, 0],
        }[family]
        parameters = Parameters(np.full(k, 1 / k), np.zeros((k, 2)), covariances)
        rng = np.random.default_rng(0)
        X = rng.normal(size=(4096, 2)) * np.sqrt(wide)[rng.integers(k, size=4096)]
        X = X.astype(dtype)
        density = FAMILIES[family].prepare(parameters, np.dtype(dtype))
        exact = FAMILIES[family].prepare(parameters, np.dtype(float))
        statistics, left = in_groups(family, density, X)
        assert left == []
        assert_equal(statistics, by_tiles(family, exact, X.astype(float)), rtol)


@pytest.mark.parametrize("k", [2, 3, 4])
def test_components_that_are_narrow_in_different_columns(k):
    """None is the widest in all of them."""
    for dtype, rtol in ((np.float64, 1e-11), (np.float32, 1e-5)):
        variances = np.where(np.arange(k)[:, np.newaxis] % 2 == np.arange(2), 1.0, 64.0)
        parameters = Parameters(np.full(k, 1 / k), np.eye(k)[:, :2], variances)
        rng = np.random.default_rng(0)
        X = rng.normal(size=(4096, 2)) * np.sqrt(variances)[rng.integers(k, size=4096)]
        X = X.astype(dtype)
        exact = FAMILIES["diag"].prepare(parameters, np.dtype(float))
        density = FAMILIES["diag"].prepare(parameters, np.dtype(dtype))
        statistics, left = in_groups("diag", density, X)
        assert left == []
        assert_equal(statistics, by_tiles("diag", exact, X.astype(float)), rtol)


@pytest.mark.parametrize("apart", [0.0, 3.0, 5.0, 8.0, 12.0])
@pytest.mark.parametrize("correlation", [0.0, 0.8, 0.99])
def test_rows_near_their_means_are_left_by_no_densities_relative_to_one(apart, correlation):
    signs = np.array([1.0, -1.0, 1.0, -1.0])
    covariances = np.tile(np.eye(2), (4, 1, 1))
    covariances[:, 0, 1] = covariances[:, 1, 0] = signs * correlation
    means = apart * np.array([[0.0, 0.0], [1.0, 0.0], [0.0, -1.0], [1.0, 1.0]])
    parameters = Parameters(np.full(4, 0.25), means, covariances)
    rng = np.random.default_rng(0)
    roots = np.linalg.cholesky(covariances)
    which = rng.integers(4, size=8192)
    X = means[which] + (roots[which] @ rng.normal(size=(8192, 2, 1)))[:, :, 0]
    for dtype, rtol in ((np.float64, 1e-11), (np.float32, 2e-5)):
        Y = X.astype(dtype)
        exact = FAMILIES["full"].prepare(parameters, np.dtype(float))
        density = FAMILIES["full"].prepare(parameters, np.dtype(dtype))
        if kernels.narrow.takes(density):  # it does not in float32 where they are too far apart
            statistics, left = in_groups("full", density, Y)
            assert left == []
            assert_equal(statistics, by_tiles("full", exact, Y.astype(float)), rtol)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("family", ["full", "tied", "diag", "spherical"])
@pytest.mark.parametrize("k", [2, 3, 4, 6])
def test_one_row_far_away_counts_as_in_tiles(family, k, dtype):
    """Densities out of range wrap around, and a sum with such a one may look like any other."""
    density, exact = mixture(family, 2, k, dtype), mixture(family, 2, k)
    X = np.random.default_rng(0).normal(size=(512, 2)).astype(dtype)
    for distance in np.geomspace(10.0, 3e4, 25):
        for direction in np.eye(2)[[0, 1]] @ np.array([[1.0, 0.3], [-0.7, 1.0]]):
            X[5] = distance * direction
            statistics, _ = in_groups(family, density, X)
            expected = by_tiles(family, exact, X.astype(float))
            # of log densities of 3e8: what is lost of those of float32 shows in no sum
            assert_equal(statistics, expected, rtol=1e-11 if dtype is np.float64 else 1e-4)


@pytest.mark.parametrize("family", ["full", "tied", "diag", "spherical"])
@pytest.mark.parametrize("k", [2, 3, 4])
def test_components_of_weight_zero_take_nothing(family, k):
    X = np.random.default_rng(0).normal(size=(640, 2))
    for empty in ([0], [k - 1], [*range(1, k)]):
        density = mixture(family, 2, k)
        density.log_scale[empty] = -np.inf
        statistics, left = in_groups(family, density, X)
        assert left == []
        assert (statistics.counts[empty] == 0).all()
        assert_equal(statistics, by_tiles(family, density, X))


@pytest.mark.parametrize("family", ["full", "diag"])
@pytest.mark.parametrize("k", [2, 3, 4])
def test_single_precision_is_as_good_in_groups(family, k):
    X = np.random.default_rng(0).normal(size=(4096, 2))
    exact = by_tiles(family, mixture(family, 2, k), X)
    X, density = X.astype(np.float32), mixture(family, 2, k, np.float32)
    for statistics in (in_groups(family, density, X)[0], by_tiles(family, density, X)):
        for one, other in zip(statistics, exact, strict=True):
            np.testing.assert_allclose(one, other, atol=2e-6 * np.abs(other).max())


def test_many_columns_or_one_component_are_left_to_tiles():
    for family, d, k in (
        ("full", 4, 2),
        ("full", 1, 1),
        ("tied", 17, 20),
        ("tied", 9, 11),
        ("tied", 5, 1),
    ):
        assert not kernels.narrow.takes(mixture(family, d, k))


@pytest.mark.parametrize("k", [2, 3, 4])
def test_columns_of_any_unit_leave_room_for_shares(k):
    # rows nine deviations away: shares of nearly 2^60
    for unit in (1e-6, 1.0, 1e6, 1e11):
        deviations = unit * np.linspace(0.9, 1.0, k)
        covariances = deviations[:, np.newaxis, np.newaxis] ** 2 * np.eye(3)
        parameters = Parameters(np.full(k, 1 / k), np.zeros((k, 3)), covariances)
        X = np.random.default_rng(0).normal(size=(2048, 3))
        X = (8.8 * unit * X / np.linalg.norm(X, axis=1, keepdims=True)).astype(np.float32)
        density = FAMILIES["full"].prepare(parameters, np.dtype(np.float32))
        exact = FAMILIES["full"].prepare(parameters, np.dtype(float))
        statistics, _ = in_groups("full", density, X)
        assert_equal(statistics, by_tiles("full", exact, X.astype(float)), rtol=1e-4)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("k", [2, 3, 4])
@pytest.mark.parametrize("which", [0, 1, -1])
def test_a_density_that_is_no_number_is_left_to_tiles(k, dtype, which):
    density = mixture("full", 2, k, dtype)
    density.log_scale[which] = np.nan
    statistics = nothing("full", density)
    X = np.zeros((256, 2), dtype)
    assert kernels.narrow.add_whole_groups(X, density, statistics, len(X)) == [slice(0, 256)]
    assert not any(part.any() for part in statistics)
    assert np.isnan(by_tiles("full", density, X).log_likelihood[0])


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("k", [2, 3, 4])
def test_warming_up_uses_what_groups_of_rows_use(k, dtype, monkeypatch):
    density = mixture("full", 2, k, dtype)
    used, add_rows = [], kernels.narrow.add_rows

    def recorded(rows, *rest):
        used.append((rows.dtype, rest[-1]))
        return add_rows(rows, *rest)

    monkeypatch.setattr(kernels.narrow, "add_rows", recorded)
    monkeypatch.setattr(expectation, "_WARM", set())
    for components in (1, *{2, 3, 4} - {k}, k):  # others do not stand for these
        ExpectationStep("full", mixture("full", 2, components, dtype), 0).warm_up(weighted=False)
    warmed, used[:] = set(used), []
    X = np.zeros((256, 2), dtype)
    kernels.narrow.add_whole_groups(X, density, nothing("full", density), len(X))
    assert set(used) <= warmed
    assert used
