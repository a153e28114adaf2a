"""Did an iteration become slower?"""

import warnings

from fastgmm import GaussianMixture

from .problems import PROBLEMS

ITERATIONS = 5


class Iteration:
    """Five EM iterations from given means, on one thread and on all."""

    params = (list(PROBLEMS), ["one thread", "all threads"])
    param_names = ("problem", "threads")

    def setup(self, name, threads):
        """Draw the rows and compile what is needed."""
        problem = PROBLEMS[name]
        self.rows = problem.rows()
        self.model = GaussianMixture(
            problem.k,
            covariance_type=problem.covariance_type,
            means_init=problem.means(),
            init_params="random_from_data",
            random_state=0,
            tol=0.0,
            max_iter=ITERATIONS,
            n_threads=1 if threads == "one thread" else None,
        )
        self.time_five_iterations(name, threads)

    def time_five_iterations(self, name, threads):
        """Fit with five iterations."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # five iterations do not converge
            self.model.fit(self.rows)
