"""One column: the curves add up to the density, and the histogram has the rows' mass."""

import numpy as np
import pytest
from matplotlib.figure import Figure
from scipy.stats import norm

from fastgmm import GaussianMixture
from fastgmm.exceptions import DataError
from fastgmm.plotting import component_densities, histogram_1d, palette, plot_density_1d

VARIANCES = {
    "full": [[[0.04]], [[4.0]]],
    "tied": [[0.5]],
    "diag": [[0.04], [4.0]],
    "spherical": [0.04, 4.0],
}


def model_of(covariance_type):
    covariances = VARIANCES[covariance_type]
    return GaussianMixture.from_parameters(
        [0.3, 0.7], [[-1.0], [2.0]], covariances, covariance_type=covariance_type
    )


@pytest.mark.parametrize("covariance_type", VARIANCES)
def test_components_add_up_to_the_density(covariance_type):
    model, x = model_of(covariance_type), np.linspace(-6.0, 9.0, 301)
    deviations = np.sqrt({"tied": [0.5, 0.5]}.get(covariance_type, [0.04, 4.0]))
    expected = norm.pdf(x[:, None], model.means_[:, 0], deviations) @ model.weights_
    np.testing.assert_allclose(component_densities(model, x).sum(axis=1), expected, rtol=1e-12)
    if covariance_type == "full":
        densities = np.exp(model.score_samples(x[:, None]))
        np.testing.assert_allclose(densities, expected, rtol=1e-12)


def test_the_picture_holds_data_components_and_mixture():
    rows = model_of("full").set_params(random_state=0).sample(500)[0]
    histogram = histogram_1d(rows, bins=20)
    assert np.sum(histogram.densities * np.diff(histogram.edges)) == pytest.approx(1.0)
    ax = plot_density_1d(model_of("full"), histogram, Figure().subplots())
    *parts, mixture = ax.lines
    np.testing.assert_allclose(mixture.get_ydata(), sum(part.get_ydata() for part in parts))
    assert ax.get_xlim() == (rows.min(), rows.max())
    labels = [text.get_text() for text in ax.get_legend().texts]
    assert labels == ["data", "component 0", "component 1", "mixture"]
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("x", "density")


def test_many_components_are_one_line_of_the_legend():
    k = 16
    many = GaussianMixture.from_parameters(
        np.full(k, 1 / k), np.arange(k)[:, None], np.ones((k, 1)), covariance_type="diag"
    )
    ax = plot_density_1d(many, ax=Figure().subplots())
    assert [text.get_text() for text in ax.get_legend().texts] == ["16 components", "mixture"]


@pytest.mark.parametrize("n_components", [1, 6, 7, 40])
def test_colours_differ(n_components):
    colours = palette(n_components)
    assert colours.shape == (n_components, 3)
    assert len(np.unique(colours.round(6), axis=0)) == n_components
    assert ((colours >= 0) & (colours <= 1)).all()


def test_two_columns_are_refused():
    plane = GaussianMixture.from_parameters([1.0], [[0.0, 0.0]], [np.eye(2)])
    with pytest.raises(DataError, match="the model has 2 features, the picture has one axis"):
        plot_density_1d(plane, ax=Figure().subplots())
    with pytest.raises(DataError, match="a histogram has one column, the data have 2"):
        histogram_1d(np.zeros((3, 2)))
    for value, message in ((np.inf, "infinity.*: row 2, column 0"), (np.nan, "NaN: row 2")):
        with pytest.raises(DataError, match=message):
            histogram_1d([[0.0], [1.0], [value]])
    with pytest.raises(DataError, match="at least one row"):
        histogram_1d(np.zeros((0, 1)))


def test_rows_in_the_place_of_a_histogram_are_told_from_one():
    model = GaussianMixture.from_parameters([1.0], [[0.0]], [[[1.0]]])
    with pytest.raises(DataError, match="is of type ndarray: pass fastgmm"):
        plot_density_1d(model, np.zeros((3, 1)), Figure().subplots())
