"""Moments where rows of a tile count for few components, or for many: the same sums either way."""

import numpy as np
import pytest
import reference

from fastgmm import kernels
from fastgmm._jit import kernel
from fastgmm.covariance import FAMILIES
from fastgmm.kernels.columns import pitch_of
from fastgmm.kernels.densities import chosen
from fastgmm.kernels.densities.axes import AxesDensity
from fastgmm.kernels.densities.linear import LinearDensity
from fastgmm.kernels.densities.near_axes import NearAxesDensity
from fastgmm.kernels.densities.triangles import TriangleDensity
from fastgmm.kernels.expectation import joint_of
from fastgmm.kernels.memory import aligned, fill, flattened
from fastgmm.kernels.steps import (
    MOST_ROWS,
    Tile,
    accumulate,
    log_density,
    shape_of_tile,
    work,
)
from fastgmm.parameters import Parameters
from fastgmm.sources import NO_WEIGHTS
from fastgmm.statistics import zeros

LINEAR = ["tied", "spherical"]
COUNTS = {np.float64: chosen.COUNTS_DOUBLE, np.float32: chosen.COUNTS_SINGLE}
UNTIL = 1000


@pytest.fixture(autouse=True)
def wide(monkeypatch):
    """Keep rows in narrow registers, too."""
    monkeypatch.setattr(kernels.near_axes, "WIDE", True)


@kernel
def few_chosen(joint, n_components, d, pairs, given):
    stride = joint.size // n_components
    return chosen.few_chosen(joint, 0, stride, n_components, d, stride, pairs, given, UNTIL)


@kernel
def scratch_of(rows, responsibilities, density, statistics):
    """Add the moments of whole tiles for given responsibilities; return what they worked in."""
    n_components = density.origins.shape[0]
    flat = flattened(rows)
    tile_rows, chunk_rows, stride = shape_of_tile(density, rows.shape[0])
    scratch = work(density, tile_rows)
    joint, shares = joint_of(n_components, tile_rows, flat), aligned(tile_rows, flat)
    fill(shares, 0, shares.size, 1)
    for start in range(0, rows.shape[0], tile_rows):
        tile = Tile(flat, start, tile_rows, joint, stride)
        log_density(tile, density, scratch)
        fill(joint, 0, joint.size, 0)
        for t in range(tile_rows):
            at = t // chunk_rows * pitch_of(n_components, stride, flat) + t % chunk_rows
            for k in range(n_components):
                joint[at + k * stride] = responsibilities[start + t, k]
        accumulate(tile, density, scratch, shares, statistics)
    return scratch


def mixture(k, d, apart, family):
    """Components so far apart that their rows are nobody else's."""
    rng = np.random.default_rng(d)
    means = 2.2 * apart * rng.normal(size=(k, d))
    variances = rng.uniform(0.8, 1.2, size=k) if family != "tied" else np.ones(k)
    matrices = variances[:, np.newaxis, np.newaxis] * np.eye(d)
    covariances = reference.from_matrices(matrices, family)
    return Parameters(rng.dirichlet(np.full(k, 9.0)), means, covariances), matrices


def kind_of(family, k, d, apart, dtype):
    if family == "full":
        return TriangleDensity
    if family in LINEAR:
        return LinearDensity if apart == 1 else AxesDensity
    kept = apart == 1 and kernels.near_axes.keeps(k, d, np.dtype(dtype))
    return NearAxesDensity if kept else AxesDensity


def rows_of(means, kinds, rng):
    """Return a tile of each kind: near the components' means, or between all of them."""
    k, d = means.shape
    tiles = {
        "few": lambda: means[rng.integers(k, size=MOST_ROWS)],
        "sorted": lambda: means[np.sort(rng.integers(k, size=MOST_ROWS))],
        "many": lambda: np.zeros((MOST_ROWS, d)),
    }
    X = np.concatenate([tiles[kind]() for kind in kinds])
    return (X + rng.normal(size=X.shape))[:-5]


def statistics_of(X, weights, density, family):
    k, d = density.means.shape
    statistics = zeros(k, d, FAMILIES[family].second_shape(k, d))
    kernels.expectation.expectation(X, weights, density, statistics, len(X))
    return statistics


def expected(X, weights, parameters, matrices, density, family):
    """Return counts, first and second moments about the origins."""
    X = X.astype(float)
    r, _ = reference.e_step(X, parameters.weights, parameters.means, matrices)
    r *= weights[:, np.newaxis]
    origins = density.origins.astype(float)
    first = np.stack([r_k @ (X - origin) for r_k, origin in zip(r.T, origins, strict=True)])
    if family == "tied":  # its second moments are a constant of the data
        return r.sum(axis=0), first, np.zeros((1, 1))
    if family == "full":
        i, j = np.tril_indices(X.shape[1])
        x = X - origins[0]  # all the same
        return r.sum(axis=0), first, r.T @ (x[:, i] * x[:, j])
    both = zip(r.T, origins, strict=True)
    squares = np.stack([r_k @ (X - origin) ** 2 for r_k, origin in both])
    second = squares if family == "diag" else squares.sum(axis=1, keepdims=True)
    return r.sum(axis=0), first, second


KINDS = [("few",), ("sorted",), ("few", "many"), ("many", "few"), ("many",)]
# numbers of components that are no whole blocks; more of them than columns, too
SHAPES = [
    ("full", 41, 16),
    ("full", 41, 23),
    ("diag", 53, 33),
    ("diag", 41, 48),
    ("diag", 75, 48),
    ("diag", 107, 48),
    *((family, 41, d) for family in LINEAR for d in (109, 112)),
    *((family, 151, 48) for family in LINEAR),
]
CASES = [
    *((*shape, 1.0, kinds) for shape in SHAPES for kinds in KINDS),
    # no row is between components so far apart
    ("diag", 53, 33, 1e4, ("few", "few")),
    ("spherical", 53, 33, 1e4, ("few", "few")),
]


@pytest.mark.parametrize("weighted", [False, True], ids=["", "weighted"])
@pytest.mark.parametrize(("dtype", "rtol"), [(np.float64, 1e-11), (np.float32, 2e-4)])
@pytest.mark.parametrize(("family", "k", "d", "apart", "kinds"), CASES)
def test_either_way_moments_are_sums_over_the_rows(
    family, k, d, apart, kinds, dtype, rtol, weighted
):
    parameters, matrices = mixture(k, d, apart, family)
    parameters = Parameters(*(part.astype(dtype).astype(float) for part in parameters))
    density = FAMILIES[family].prepare(parameters, np.dtype(dtype))
    assert isinstance(density, kind_of(family, k, d, apart, dtype))
    rng = np.random.default_rng(3)
    X = rows_of(parameters.means, kinds, rng).astype(dtype)
    weights = rng.integers(3, size=len(X)).astype(float) if weighted else np.ones(len(X))
    found = statistics_of(X, weights if weighted else NO_WEIGHTS, density, family)
    counts, first, second = expected(X, weights, parameters, matrices, density, family)
    away = np.abs(parameters.means).max()
    for mine, theirs, size in (
        (found.counts, counts, 1.0),
        (found.first, first, away),
        (found.second if family != "tied" else second, second, 1.0),
    ):
        atol = rtol * max(np.abs(theirs).max(), size)
        np.testing.assert_allclose(mine, theirs, rtol=rtol, atol=atol)


@pytest.mark.parametrize("light", ["rows", "component"])
@pytest.mark.parametrize(("family", "k", "d"), SHAPES)
def test_components_keep_their_rows_however_little_these_weigh(family, k, d, light):
    parameters, matrices = mixture(k, d, 1.0, family)
    if light == "component":  # so light that its rows are mostly others', and yet its only ones
        parameters.weights[k - 1] = 1e-150
    density = FAMILIES[family].prepare(parameters, np.dtype(float))
    rng = np.random.default_rng(4)
    X = rows_of(parameters.means, ("few", "few"), rng)
    weights = np.full(len(X), 1e-40 if light == "rows" else 1.0)
    found = statistics_of(X, weights, density, family)
    counts, first, second = expected(X, weights, parameters, matrices, density, family)
    pairs = [(found.counts, counts), (found.first, first), (found.second, second)]
    for mine, theirs in pairs[: 2 if family == "tied" else 3]:
        theirs = theirs.reshape(k, -1)
        size = np.abs(theirs).max(axis=1, keepdims=True)
        np.testing.assert_allclose(mine.reshape(k, -1) / size, theirs / size, atol=1e-10)


WAYS = [("full", 41, 16), ("diag", 41, 48), ("diag", 107, 48), ("tied", 41, 112)]

KEPT = [("diag", 107), ("tied", 41)]


def ways_of(family, k, d, responsibilities):
    """Return whether tiles were dense, and whether few rows counted in tiles: in the last one."""
    parameters, _ = mixture(k, d, 1.0, family)
    density = FAMILIES[family].prepare(parameters, np.dtype(float))
    X = np.random.default_rng(0).normal(size=(len(responsibilities), d))
    statistics = zeros(k, d, FAMILIES[family].second_shape(k, d))
    scratch = scratch_of(X, responsibilities, density, statistics)
    if isinstance(density, TriangleDensity):
        return scratch.begun.tolist()
    if isinstance(density, AxesDensity):  # what is dense waits for the end of the block
        return [scratch.sums.any(), statistics.counts.any()]
    return [not scratch.sums.few[0], scratch.sums.few[0]]


@pytest.mark.parametrize(("family", "k", "d"), WAYS)
def test_tiles_go_the_way_that_their_rows_ask_for(family, k, d):
    n = MOST_ROWS
    one, many = np.zeros((n, k)), np.full((n, k), 1 / k)
    one[np.arange(n), np.arange(n) % k] = 1
    assert ways_of(family, k, d, one) == [False, True]
    assert ways_of(family, k, d, many) == [True, False]


@pytest.mark.parametrize(("family", "k", "d"), WAYS)
def test_what_dense_tiles_have_given_counts_in_those_behind(family, k, d):
    n = MOST_ROWS
    many, one = np.full((n, k), 1 / k), np.full((n, k), chosen.COUNTS_DOUBLE / 1e10)
    one[:, 0] = 1  # and nobody else is given more than this
    dense = (family, k) not in KEPT  # of which the last tile tells
    assert ways_of(family, k, d, np.concatenate([many, one])) == [dense, True]
    assert ways_of(family, k, d, one) == [True, False]


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_what_counts_is_looked_at(dtype):
    k, d, n = 40, 23, 128
    joint = np.zeros((k, n), dtype)
    joint[np.arange(n) % k, np.arange(n)] = 1
    given = np.full(k, UNTIL / k)
    assert few_chosen(joint.ravel(), k, d, 0.9 * k, given)
    assert not few_chosen(joint.ravel(), k, d, 1.1 * k, given)
    assert not few_chosen(joint.ravel(), k, chosen.FEWEST_COLUMNS - 1, 0.9 * k, given)
    joint += joint.dtype.type(COUNTS[dtype] / 100)
    assert few_chosen(joint.ravel(), k, d, 0.9 * k, given)
    joint[:] = COUNTS[dtype] / 100
    joint[0] = 1
    assert few_chosen(joint.ravel(), k, d, 0.9 * k, given)
    # the others have been given next to nothing: all rows count for them
    assert not few_chosen(joint.ravel(), k, d, 0.9 * k, np.zeros(k))
    joint[: k // 2] = 1e-3
    assert not few_chosen(joint.ravel(), k, d, 0.9 * k, given)
