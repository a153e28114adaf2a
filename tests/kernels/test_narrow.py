"""Rows of few columns in whole groups: the statistics that tiles add up."""

from itertools import product

import numpy as np
import pytest

from fastgmm import kernels
from fastgmm.covariance import FAMILIES
from fastgmm.parameters import Parameters
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


def added(family, density, X, in_groups):
    k, d = density.means.shape
    statistics = zeros(k, d, FAMILIES[family].second_shape(k, d))
    if in_groups:
        assert kernels.narrow.add_whole_groups(X, density, statistics) == len(X)
    else:
        kernels.expectation.expectation(X, NO_WEIGHTS, density, statistics)
    return statistics


# an odd number of components is left over where two are taken at a time; a row so far away that
# its log density is no number that rounds
@pytest.mark.parametrize(
    ("family", "d", "k"),
    [
        *product(["full", "tied", "diag", "spherical"], [1], [2]),
        *product(["full", "tied", "diag", "spherical"], [3], [4, 5]),
        ("diag", 4, 3),
    ],
)
def test_groups_add_up_to_what_tiles_do(family, d, k):
    X = np.random.default_rng(d).normal(size=(640, d))
    density = mixture(family, d, k)
    for far in (1e3, 1e9):
        X[17] = far
        groups, tiles = (added(family, density, X, in_groups) for in_groups in (True, False))
        for one, other in zip(groups, tiles, strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-12, atol=1e-12 * np.abs(other).max())


@pytest.mark.parametrize("family", ["full", "diag"])
def test_single_precision_is_as_good_in_groups(family):
    X = np.random.default_rng(0).normal(size=(4096, 2))
    exact = added(family, mixture(family, 2, 4), X, in_groups=False)
    X, density = X.astype(np.float32), mixture(family, 2, 4, np.float32)
    for in_groups in (True, False):
        for one, other in zip(added(family, density, X, in_groups), exact, strict=True):
            np.testing.assert_allclose(one, other, atol=2e-6 * np.abs(other).max())


def test_what_is_too_large_for_the_cache_or_one_component_is_left_to_tiles():
    for d, k in ((3, 33), (2, 54), (1, 65), (4, 2), (1, 1)):
        density = mixture("full", d, k)
        statistics = zeros(k, d, FAMILIES["full"].second_shape(k, d))
        assert kernels.narrow.add_whole_groups(np.zeros((640, d)), density, statistics) == 0
