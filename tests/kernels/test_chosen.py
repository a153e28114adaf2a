"""Moments where rows of a tile count for few components, or for many: the same sums either way."""

import numpy as np
import pytest
import reference

from fastgmm import kernels
from fastgmm._jit import kernel
from fastgmm.covariance import FAMILIES
from fastgmm.kernels.densities import chosen
from fastgmm.kernels.densities.axes import AxesDensity
from fastgmm.kernels.densities.linear import LinearDensity
from fastgmm.kernels.densities.triangles import TriangleDensity
from fastgmm.kernels.steps import MOST_ROWS
from fastgmm.parameters import Parameters
from fastgmm.sources import NO_WEIGHTS
from fastgmm.statistics import zeros

K = 40
LINEAR = ["tied", "spherical"]


@kernel
def few_count(joint, n_components, d, pairs):
    stride = joint.size // n_components
    return chosen.few_count(joint, 0, stride, n_components, d, stride, pairs)


def mixture(d, apart, family):
    """Components so far apart that their rows are nobody else's."""
    rng = np.random.default_rng(d)
    means = 2.2 * apart * rng.normal(size=(K, d))
    variances = rng.uniform(0.8, 1.2, size=K) if family != "tied" else np.ones(K)
    matrices = variances[:, np.newaxis, np.newaxis] * np.eye(d)
    covariances = reference.from_matrices(matrices, family)
    return Parameters(rng.dirichlet(np.full(K, 9.0)), means, covariances), matrices


def kind_of(family, apart):
    if family == "full":
        return TriangleDensity
    return LinearDensity if family in LINEAR and apart == 1 else AxesDensity


def rows_of(means, kinds, rng):
    """Return a tile of each kind: near the components' means, or between all of them."""
    d = means.shape[1]
    tiles = {
        "few": lambda: means[rng.integers(K, size=MOST_ROWS)],
        "many": lambda: np.zeros((MOST_ROWS, d)),
    }
    X = np.concatenate([tiles[kind]() for kind in kinds])
    return (X + rng.normal(size=X.shape))[:-5]


def second_moments(r, X, origins, family):
    if family != "full":
        squares = np.stack([r[:, k] @ (X - origins[k]) ** 2 for k in range(K)])
        return squares if family == "diag" else squares.sum(axis=1, keepdims=True)
    i, j = np.tril_indices(X.shape[1])
    x = X - origins[0]  # all the same
    return r.T @ (x[:, i] * x[:, j])


KINDS = [("few",), ("few", "many"), ("many", "few"), ("many",)]
CASES = [
    *((family, d, 1.0, kinds) for family, d in [("full", 16), ("full", 23)] for kinds in KINDS),
    *(("diag", d, 1.0, kinds) for d in (33, 48) for kinds in KINDS),
    *((family, d, 1.0, kinds) for family in LINEAR for d in (92, 96) for kinds in KINDS),
    # no row is between components so far apart
    ("diag", 33, 1e4, ("few", "few")),
    ("spherical", 33, 1e4, ("few", "few")),
]


@pytest.mark.parametrize("weighted", [False, True], ids=["", "weighted"])
@pytest.mark.parametrize(("dtype", "rtol"), [(np.float64, 1e-11), (np.float32, 2e-4)])
@pytest.mark.parametrize(("family", "d", "apart", "kinds"), CASES)
def test_either_way_moments_are_sums_over_the_rows(family, d, apart, kinds, dtype, rtol, weighted):
    parameters, matrices = mixture(d, apart, family)
    parameters = Parameters(*(part.astype(dtype).astype(float) for part in parameters))
    density = FAMILIES[family].prepare(parameters, np.dtype(dtype))
    assert isinstance(density, kind_of(family, apart))
    rng = np.random.default_rng(3)
    X = rows_of(parameters.means, kinds, rng).astype(dtype)
    weights = rng.integers(3, size=len(X)).astype(float) if weighted else np.ones(len(X))
    found = zeros(K, d, FAMILIES[family].second_shape(K, d))
    given = weights if weighted else NO_WEIGHTS
    kernels.expectation.expectation(X, given, density, found)

    r, _ = reference.e_step(X.astype(float), parameters.weights, parameters.means, matrices)
    r *= weights[:, np.newaxis]
    origins = density.origins.astype(float)
    first = r.T @ X - r.sum(axis=0)[:, np.newaxis] * origins
    second = found.second  # of tied components they are a constant of the data
    if family != "tied":
        second = second_moments(r, X.astype(float), origins, family)
    away = np.abs(parameters.means).max()
    for mine, theirs, size in (
        (found.counts, r.sum(axis=0), 1.0),
        (found.first, first, away),
        (found.second, second, 1.0),
    ):
        atol = rtol * max(np.abs(theirs).max(), size)
        np.testing.assert_allclose(mine, theirs, rtol=rtol, atol=atol)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_a_tile_goes_the_way_that_its_rows_ask_for(dtype):
    d, n = 23, 128
    joint = np.zeros((K, n), dtype)
    joint[np.arange(n) % K, np.arange(n)] = 1
    assert few_count(joint.ravel(), K, d, 0.9 * K)
    assert not few_count(joint.ravel(), K, d, 1.1 * K)
    assert not few_count(joint.ravel(), K, chosen.FEWEST_COLUMNS - 1, 0.9 * K)
    joint += joint.dtype.type(chosen.COUNTS / 100)
    assert few_count(joint.ravel(), K, d, 0.9 * K)
    joint[: K // 2] = 1e-3
    assert not few_count(joint.ravel(), K, d, 0.9 * K)
