"""Two columns: what ellipses and contours enclose is the mass they are named by."""

import numpy as np
import pytest
from matplotlib.figure import Figure
from problems import COVARIANCE_TYPES, covariances_of, start_of

from fastgmm import GaussianMixture
from fastgmm.covariance import FAMILIES
from fastgmm.exceptions import DataError, NotFittedError
from fastgmm.plotting import palette, plot_density_2d, plot_ellipses, plot_responsibilities
from fastgmm.plotting.two_columns import density_levels

MEANS = np.array([[0.0, 0.0], [5.0, 1.0]])
TILTED = np.array([[2.0, 1.2], [1.2, 1.0]])
TILTED_TWO = GaussianMixture.from_parameters([0.3, 0.7], MEANS, [TILTED, np.diag([0.3, 3.0])])


def model_of(covariance_type):
    """A model that nobody fitted: no kernel is compiled for it."""
    covariances = covariances_of(start_of(None, MEANS, covariance_type), covariance_type)
    return GaussianMixture.from_parameters(
        [0.3, 0.7], MEANS, covariances, covariance_type=covariance_type
    )


@pytest.mark.parametrize(
    "model", [TILTED_TWO, *map(model_of, COVARIANCE_TYPES)], ids=["tilted", *COVARIANCE_TYPES]
)
def test_ellipses_run_where_their_mass_is_reached(model):
    ax = plot_ellipses(model, masses=(0.5, 0.9), ax=Figure().subplots())
    outer_first = [(mass, k) for mass in (0.9, 0.5) for k in range(2)]
    dense = FAMILIES[model.covariance_type].dense(model.covariances_, 2, 2)
    assert len(ax.patches) == 4
    for (mass, k), ellipse in zip(outer_first, ax.patches, strict=True):
        ends = [*ellipse.get_vertices(), *ellipse.get_co_vertices()]
        centred = np.array(ends) - model.means_[k]
        squares = np.einsum("ni,ij,nj->n", centred, np.linalg.inv(dense[k]), centred)
        np.testing.assert_allclose(1 - np.exp(-squares / 2), mass, rtol=1e-9)
    (left, right), widest = ax.get_xlim(), np.sqrt(-2 * np.log(0.1) * dense[:, 0, 0])
    assert left < (model.means_[:, 0] - widest).min()
    assert right > (model.means_[:, 0] + widest).max()


def test_contours_run_where_their_mass_is_reached():
    model = GaussianMixture.from_parameters([1.0], [[1.0, -1.0]], [TILTED])
    masses = (0.25, 0.5, 0.95)
    ax = plot_density_2d(model, masses, ax=Figure().subplots())
    _, lines = ax.collections
    peak = 1 / (2 * np.pi * np.sqrt(np.linalg.det(TILTED)))
    # of one normal in two columns: P(density > c) = 1 - c / peak
    np.testing.assert_allclose(np.sort(1 - lines.levels / peak), masses, atol=2e-3)
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("x0", "x1")


def test_mass_beyond_the_grid_has_no_level():
    densities = np.array([[0.1, 0.2], [0.3, 0.2]])  # 0.8 of the mass
    assert density_levels(densities, 1.0, [0.25, 0.5, 0.75, 0.9]).tolist() == [0.1, 0.2, 0.3]
    assert len(density_levels(densities, 1.0, [0.9])) == 0


def test_rows_are_coloured_by_what_they_belong_to():
    shares = [[1.0, 0.0, 0.0], [0.0, 0.5, 0.5]]
    (points,) = plot_responsibilities(MEANS, shares, Figure().subplots(), size=8.0).collections
    colours = palette(3)
    np.testing.assert_allclose(
        points.get_facecolors()[:, :3], [colours[0], (colours[1] + colours[2]) / 2]
    )
    np.testing.assert_allclose(points.get_sizes(), [8.0, 2.0])


def test_what_does_not_fit_two_axes_is_refused():
    line = GaussianMixture.from_parameters([1.0], [[0.0]], [[[1.0]]])
    for plot in (plot_ellipses, plot_density_2d):
        with pytest.raises(DataError, match="the model has 1 features, the picture has two axes"):
            plot(line, ax=Figure().subplots())
        with pytest.raises(ValueError, match=r"mass 1\.0 is not between 0 and 1"):
            plot(TILTED_TWO, masses=[1.0], ax=Figure().subplots())
        with pytest.raises(NotFittedError):
            plot(GaussianMixture(2), ax=Figure().subplots())
        with pytest.raises(ValueError, match="pass no rows"):
            plot(TILTED_TWO, np.zeros((5, 2)), ax=Figure().subplots())
        with pytest.raises(ValueError, match="there is no mass to draw"):
            plot(TILTED_TWO, masses=[], ax=Figure().subplots())
    with pytest.raises(DataError, match=r"rows of shape \(2, 2\) with .* \(3, 1\)"):
        plot_responsibilities(MEANS, np.ones((3, 1)), Figure().subplots())
    with pytest.raises(DataError, match="there is no row to be drawn"):
        plot_responsibilities(np.empty((0, 2)), np.empty((0, 3)), Figure().subplots())
    with pytest.raises(DataError, match="row 1 has no responsibilities"):
        plot_responsibilities(MEANS, [[1.0, 0.0], [np.nan] * 2], Figure().subplots())
