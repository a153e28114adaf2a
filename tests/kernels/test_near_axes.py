"""Covariances along the axes where rows are kept: next to the textbook, and to the other form."""

import numpy as np
import pytest
from reference import as_matrices, e_step

from fastgmm import kernels
from fastgmm.covariance import FAMILIES
from fastgmm.kernels.densities.axes import AxesDensity
from fastgmm.kernels.densities.near_axes import NearAxesDensity
from fastgmm.parameters import Parameters
from fastgmm.simd import lanes
from fastgmm.sources import NO_WEIGHTS
from fastgmm.statistics import zeros

DIAG = FAMILIES["diag"]


@pytest.fixture(autouse=True)
def wide(monkeypatch):
    """Keep rows in narrow registers, too."""
    monkeypatch.setattr(kernels.near_axes, "WIDE", True)


def mixture(d, k, dtype):
    rng = np.random.default_rng(d + k)
    X = rng.normal(size=(1000, d)).astype(dtype)
    means = rng.normal(size=(k, d)).astype(dtype).astype(float)
    variances = rng.uniform(1.0, 4.0, size=(k, d))
    return X, Parameters(rng.dirichlet(np.full(k, 5.0)), means, variances)


def statistics_of(X, weights, density):
    k, d = density.means.shape
    statistics = zeros(k, d, (k, d))
    kernels.expectation.expectation(X, weights, density, statistics, len(X))
    return statistics


# blocks of components that are full, or begun inside another; shares in responsibilities, of which
# there are fewer than of columns and squares, or in these; columns that fill their vectors, or not,
# and squares of what pads them behind the last
SHAPES = [(15, 24), (16, 24), (16, 37), (16, 32), (31, 47), (32, 70), (48, 75), (70, 105)]
CASES = [(*shape, *kind) for shape in SHAPES for kind in ((np.float64, 1e-11), (np.float32, 2e-5))]
CASES += [(33, 51, np.float64, 1e-11)]


@pytest.mark.parametrize("weighted", [False, True], ids=["", "weighted"])
@pytest.mark.parametrize(("d", "k", "dtype", "rtol"), CASES)
def test_a_pass_is_the_textbooks(d, k, dtype, rtol, weighted):
    X, parameters = mixture(d, k, dtype)
    density = DIAG.prepare(parameters, np.dtype(dtype))
    assert isinstance(density, NearAxesDensity)
    weights = np.random.default_rng(1).integers(3, size=len(X)).astype(float)
    found = statistics_of(X, weights if weighted else NO_WEIGHTS, density)
    matrices = as_matrices(parameters.covariances, "diag", k, d)
    r, log_density = e_step(X.astype(float), parameters.weights, parameters.means, matrices)
    weights = weights if weighted else np.ones(len(X))
    r *= weights[:, np.newaxis]
    assert found.log_likelihood[0] == pytest.approx(log_density @ weights, rel=rtol)
    x = X - density.centre.astype(float)
    for mine, theirs in zip(found[1:], (r.sum(axis=0), r.T @ x, r.T @ x**2), strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=rtol, atol=rtol * np.abs(theirs).max())


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_rows_are_kept_where_components_are_many_and_vectors_full(dtype, monkeypatch):
    dtype, width = np.dtype(dtype), lanes(np.dtype(dtype))
    few = kernels.near_axes.FEWEST
    assert kernels.near_axes.keeps(few, 15, dtype)
    assert not kernels.near_axes.keeps(few - 1, 15, dtype)
    assert kernels.near_axes.keeps(96, 64, dtype)
    assert not kernels.near_axes.keeps(95, 64, dtype)  # less than one and a half times
    if width > 2:  # columns whose squares begin another vector
        assert not kernels.near_axes.keeps(96, width + 1, dtype)
    monkeypatch.setattr(kernels.near_axes, "WIDE", False)
    assert not kernels.near_axes.keeps(96, 64, dtype)


def test_components_far_apart_are_centred_one_by_one():
    _, parameters = mixture(16, 32, float)
    far = Parameters(parameters.weights, 1e4 * parameters.means, parameters.covariances)
    assert isinstance(DIAG.prepare(far, np.dtype(float)), AxesDensity)


def test_about_other_origins_it_is_the_other_form():
    X, parameters = mixture(16, 32, float)
    near = DIAG.prepare(parameters, np.dtype(float))
    origins = parameters.means + 0.5
    other = DIAG.about(near, origins)
    assert isinstance(other, AxesDensity)
    one, two = (statistics_of(X, NO_WEIGHTS, density) for density in (near, other))
    counts = one.counts[:, np.newaxis]
    np.testing.assert_allclose(two.counts, one.counts, rtol=1e-11)
    means = [s.first / counts + den.origins for s, den in ((one, near), (two, other))]
    np.testing.assert_allclose(*means, atol=1e-11)
    variances = [s.second / counts - (s.first / counts) ** 2 for s in (one, two)]
    np.testing.assert_allclose(*variances, rtol=1e-10)
