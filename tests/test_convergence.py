"""tol="statistical" stops when little of the total log likelihood is left, in spite of rounding."""

import numpy as np
import pytest

from fastgmm import GaussianMixture
from fastgmm.em.convergence import REMAINING_GAIN, has_converged

WEIGHT = 1e6
"""Of all rows; a float32's rounding moves the total by 0.2 nats then."""


def stopped_at(left, dtype):
    """Return at which of the iterations, after which so much was left to gain, a fit would stop."""
    bounds = -3.5 - np.asarray(left) / WEIGHT
    for i in range(2, len(bounds) + 1):
        if has_converged("statistical", bounds[:i].tolist(), WEIGHT, np.dtype(dtype)):
            return i - 1
    raise AssertionError("it never stops")


@pytest.mark.parametrize("ratio", [0.1, 0.7, 0.95, 0.995])
def test_a_geometric_tail_ends_where_its_rest_is_small(ratio):
    left = 1e4 * ratio ** np.arange(6000.0)
    at = stopped_at(left, np.float64)
    assert left[at] <= 1.01 * REMAINING_GAIN
    # twice in a row, and no more
    assert left[at - 2] > 0.99 * REMAINING_GAIN or at == 4


@pytest.mark.parametrize("ratio", [0.1, 0.7, 0.95, 0.995])
def test_rounding_hides_no_tail(ratio):
    left = 1e4 * ratio ** np.arange(9000.0)
    noise = 0.1 * np.random.default_rng(0).normal(size=len(left))
    at = stopped_at(left + noise, np.float32)
    assert left[at] < 5 * REMAINING_GAIN
    # it takes longer to tell, but not for ever
    assert at < 60 + 2 * np.argmax(left < REMAINING_GAIN)


def test_a_slow_part_that_begins_to_show_is_waited_for():
    n = np.arange(4000.0)
    left = 1e4 * 0.3**n + 3.0 * 0.99**n
    assert left[stopped_at(left, np.float64)] <= 1.1 * REMAINING_GAIN


@pytest.mark.parametrize(("dtype", "most"), [(np.float64, 5), (np.float32, 12)])
def test_where_nothing_is_to_gain_few_iterations_are_made(dtype, most):
    size = 1e-10 if dtype == np.float64 else 0.1
    noise = size * np.random.default_rng(1).normal(size=100)
    assert stopped_at(noise, dtype) <= most


def test_noise_beyond_expectation_is_known_by_its_drops():
    up_and_down = np.tile([0.0, -0.7, 0.1, -0.6, 0.2], 40)
    assert stopped_at(5.0 * 0.1 ** np.arange(200.0) + up_and_down, np.float32) < 40


def test_single_precision_goes_as_far_as_double():
    rng, n = np.random.default_rng(1), 200_000
    rows = rng.normal(size=n) + 2.0 * (rng.random(n) > 0.25)
    single = rows[:, np.newaxis].astype(np.float32)
    settings = {"max_iter": 5000, "random_state": 0}
    best = GaussianMixture(2, tol=1e-12, **settings).fit(single.astype(np.float64))
    stopped = GaussianMixture(2, tol="statistical", **settings).fit(single)
    assert stopped.converged_
    found = GaussianMixture.from_parameters(
        stopped.weights_ / stopped.weights_.sum(), stopped.means_, stopped.covariances_
    )
    rows = single.astype(np.float64)
    assert n * (best.score(rows) - found.score(rows)) < 0.05
