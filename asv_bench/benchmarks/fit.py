"""How long does a whole fit take, next to scikit-learn's?"""

import warnings

from sklearn.mixture import GaussianMixture as Reference

from fastgmm import GaussianMixture

from .problems import PROBLEMS

LIBRARIES = {"fastgmm": GaussianMixture, "scikit-learn": Reference}


class Fit:
    """A fit with its k-means start and thirty iterations, through both libraries."""

    params = (
        ["d4-k3-150-rows", "d1-k2", "d3-k8", "d8-k16", "d8-k16-tied"],
        list(LIBRARIES),
    )
    param_names = ("problem", "library")
    timeout = 600

    def setup(self, name, library):
        """Draw the rows and compile what is needed."""
        problem = PROBLEMS[name]
        self.rows = problem.rows()
        self.model = LIBRARIES[library](
            problem.k,
            covariance_type=problem.covariance_type,
            random_state=0,
            tol=0.0,
            max_iter=30,
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self.model.fit(self.rows[:1000])

    def time_fit(self, name, library):
        """Fit."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # thirty iterations do not converge
            self.model.fit(self.rows)
