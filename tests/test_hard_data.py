"""Hard data end with finite parameters and finite densities, default settings, every shape."""

import re
import warnings

import numpy as np
import pytest
from hard_data import HARD_DATA, finite_numbers
from problems import COVARIANCE_TYPES

from fastgmm import GaussianMixture
from fastgmm.exceptions import ConvergenceWarning


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", HARD_DATA)
def test_everything_is_finite(name, dtype):
    rows = HARD_DATA[name].rows(dtype)
    for covariance_type in COVARIANCE_TYPES:
        model = GaussianMixture(
            HARD_DATA[name].n_components, covariance_type=covariance_type, random_state=0
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            warnings.filterwarnings("ignore", "reg_covar=1e-06 is lost in the rounding")
            model.fit(rows)
        assert finite_numbers(model, rows), covariance_type
        assert model.weights_.sum() == pytest.approx(1.0, abs=1e-5)


@pytest.mark.parametrize("covariance_type", ["full", "tied"])
def test_columns_that_follow_from_others_warn_once(covariance_type):
    rows = HARD_DATA["columns that add up, 1e6"].rows()
    model = GaussianMixture(3, covariance_type=covariance_type, random_state=0)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model.fit(rows)
    (message,) = [str(w.message) for w in caught if not issubclass(w.category, ConvergenceWarning)]
    assert re.match("reg_covar=1e-06 is lost in .* set regularization='relative'", message)
    with pytest.raises(ValueError, match="ill-defined empirical covariance"):
        model.set_params(reg_covar=0).fit(rows)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.set_params(reg_covar=1e-6, regularization="relative").fit(rows)
    assert np.isfinite(model.score(rows))


@pytest.mark.parametrize("largest", [1e160, 1e300])
def test_squares_that_overflow_are_the_same_error_without_other_noise(largest):
    rows = HARD_DATA["units of 1e15"].rows() * (largest / 1e17)
    with pytest.raises(ValueError, match="ill-defined empirical covariance"):
        GaussianMixture(3, random_state=0).fit(rows)
