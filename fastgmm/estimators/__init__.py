"""What a user touches: estimators with scikit-learn's interface."""

from fastgmm.estimators.background import BackgroundMixtures
from fastgmm.estimators.gaussian_mixture import GaussianMixture

__all__ = ["BackgroundMixtures", "GaussianMixture"]
