"""Did a kernel become slower: the fused pass, the scores, the parameter update?"""

import numpy as np

from fastgmm import kernels
from fastgmm._jit import kernel
from fastgmm.covariance import FAMILIES
from fastgmm.executors import ThreadExecutor
from fastgmm.kernels.columns import chunk_rows, load_about
from fastgmm.maximization import maximum_likelihood
from fastgmm.parameters import Parameters
from fastgmm.sources import NO_WEIGHTS, ArraySource
from fastgmm.statistics import zeros

from .problems import PROBLEMS, Problem

BLOCK = 20_000
"""Rows of a call: a block of a pass, or nearly."""


def parameters_of(problem):
    """Return the truth that a problem's rows were drawn from."""
    family, k, d = FAMILIES[problem.covariance_type], problem.k, problem.d
    second = np.zeros(family.second_shape(k, d))
    unit = family.estimate(second, np.ones(k), np.zeros((k, d)))
    family.regularise(unit, np.ones((k, d)))
    return Parameters(np.full(k, 1 / k), problem.means(), unit)


class Pass:
    """A block of rows, one thread."""

    params = (list(PROBLEMS),)
    param_names = ("problem",)

    def setup(self, name):
        """Draw the rows and compile what is needed."""
        problem = PROBLEMS[name]
        family = FAMILIES[problem.covariance_type]
        self.rows = problem._replace(n=BLOCK).rows()
        self.weights = np.ones(len(self.rows))
        self.density = family.prepare(parameters_of(problem), self.rows.dtype)
        shape = family.second_shape(problem.k, problem.d)
        self.statistics = zeros(problem.k, problem.d, shape)
        self.time_expectation(name)

    def add(self, rows, weights):
        """Add rows to the statistics."""
        kernels.expectation.expectation(rows, weights, self.density, self.statistics, len(rows))

    def time_expectation(self, name):
        """Log densities, responsibilities and moments."""
        self.add(self.rows, NO_WEIGHTS)

    def time_expectation_of_weighted_rows(self, name):
        """The same with a weight a row."""
        self.add(self.rows, self.weights)


@kernel
def turn_rows(rows, d, shift, columns, n_chunks, times):
    """Turn chunks of rows into columns, again and again."""
    run = chunk_rows(rows)
    for _ in range(times):
        for chunk in range(n_chunks):
            load_about(rows, d, chunk * run, run, run, shift, columns, 0, run)


class Turning:
    """Rows into columns, from L1 to L1: it shows in passes over few components."""

    params = ([2, 5, 8, 9, 16, 20, 39], ["float64", "float32"])
    param_names = ("columns", "dtype")

    def setup(self, d, dtype):
        """Make rows of four chunks."""
        most = 64
        self.rows = np.zeros(4 * most * d, dtype)
        self.shift = np.zeros(d, dtype)
        self.columns = np.zeros(most * (d + most), dtype)
        self.times = 1
        self.time_a_thousand_rounds_of_four_chunks(d, dtype)
        self.times = 1000

    def time_a_thousand_rounds_of_four_chunks(self, d, dtype):
        """A chunk is four vectors of rows."""
        turn_rows(self.rows, d, self.shift, self.columns, 4, self.times)


class PassFromMemory:
    """A million rows, more than caches hold, block by block; so few components that it shows."""

    params = (["full", "diag", "tied", "spherical"],)
    param_names = ("covariance_type",)

    def setup(self, covariance_type):
        """Draw the rows and compile what is needed."""
        problem = Problem(8, 4, 1_000_000, covariance_type)
        family = FAMILIES[covariance_type]
        self.rows = problem.rows()
        self.density = family.prepare(parameters_of(problem), self.rows.dtype)
        self.statistics = zeros(problem.k, problem.d, family.second_shape(problem.k, problem.d))
        self.time_expectation(covariance_type)

    def time_expectation(self, covariance_type):
        """Log densities, responsibilities and moments."""
        for first in range(0, len(self.rows), BLOCK):
            rows = self.rows[first : first + BLOCK]
            kernels.expectation.expectation(
                rows, NO_WEIGHTS, self.density, self.statistics, len(rows)
            )


class GroupsFromMemory:
    """Two million rows in few columns, more than caches hold, block by block: in groups."""

    params = (["float64", "float32"], ["2,4", "8,16", "16,32"])
    param_names = ("dtype", "d,k")

    def setup(self, dtype, shape):
        """Draw the rows and compile what is needed."""
        d, k = map(int, shape.split(","))
        problem = Problem(d, k, 2_000_000, "spherical", dtype=dtype)
        family = FAMILIES["spherical"]
        self.rows = problem.rows()
        self.density = family.prepare(parameters_of(problem), self.rows.dtype)
        self.statistics = zeros(k, d, family.second_shape(k, d))
        self.time_expectation(dtype, shape)

    def time_expectation(self, dtype, shape):
        """Log densities, responsibilities and moments."""
        for first in range(0, len(self.rows), BLOCK):
            rows = self.rows[first : first + BLOCK]
            kernels.narrow.add_whole_groups(rows, self.density, self.statistics, len(rows))


class Score:
    """Log density, label and responsibilities of a block of rows, one thread."""

    params = (["d3-k8", "d8-k16-tied", "d8-k16-diag"],)
    param_names = ("problem",)

    def setup(self, name):
        """Draw the rows and compile what is needed."""
        problem = PROBLEMS[name]
        self.rows = problem._replace(n=BLOCK).rows()
        family = FAMILIES[problem.covariance_type]
        self.density = family.prepare(parameters_of(problem), self.rows.dtype)
        n = len(self.rows)
        self.out = np.empty(n), np.empty(n, np.int64), np.empty((n, problem.k))
        self.time_score(name)

    def time_score(self, name):
        """Write all three."""
        kernels.expectation.score(self.rows, self.density, *self.out)


UPDATES = {
    "d3-k8": Problem(3, 8, 0),
    "d16-k32": Problem(16, 32, 0),
    "d41-k110": Problem(41, 110, 0),
    "d64-k64": Problem(64, 64, 0),
    "d128-k32": Problem(128, 32, 0),
    "d39-k512-tied": Problem(39, 512, 0, "tied"),
    "d39-k512-diag": Problem(39, 512, 0, "diag"),
}


class Update:
    """What an iteration does besides its pass, whatever the number of rows."""

    params = (list(UPDATES), ["one thread", "all threads"])
    param_names = ("problem", "threads")

    def setup(self, name, threads):
        """Make statistics and compile what is needed."""
        problem = UPDATES[name]
        self.family = FAMILIES[problem.covariance_type]
        self.parameters = parameters_of(problem)
        shape = self.family.second_shape(problem.k, problem.d)
        self.statistics = zeros(problem.k, problem.d, shape)
        self.statistics.counts[:] = 10.0
        executor = ThreadExecutor(1 if threads == "one thread" else None)
        self.placement = executor.place(ArraySource(np.zeros((1, 1))))
        self.time_prepare(name, threads)
        self.time_estimate(name, threads)

    def time_prepare(self, name, threads):
        """From covariances to factors."""
        self.family.prepare(self.parameters, np.dtype(float), self.placement.share)

    def time_estimate(self, name, threads):
        """From statistics to parameters."""
        origins = self.parameters.means
        ridge = np.ones(origins.shape[1])
        maximum_likelihood(
            self.family, self.statistics, origins, ridge, 1e-15, self.placement.share
        )

    def teardown(self, name, threads):
        """End the threads."""
        self.placement.close()
