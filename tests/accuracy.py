"""One EM step on hard cases, in extended precision, next to fastgmm and to scikit-learn.

Errors are absolute for the log likelihood of a row (relative where that is above 1), and in units
of standard deviations for means and covariances: |L^-1 (m - m')| and |L^-1 (C - C') L^-T|, where
L L^T = C' is the reference's covariance.
"""

import warnings
from typing import NamedTuple

import numpy as np
from reference import from_matrices
from scipy.linalg import solve_triangular
from sklearn.mixture import GaussianMixture as Reference

from fastgmm.covariance import FAMILIES
from fastgmm.em import Settings, Start, run
from fastgmm.exceptions import IllDefinedCovarianceError
from fastgmm.executors import ThreadExecutor
from fastgmm.initialization import survey
from fastgmm.parameters import Parameters
from fastgmm.scoring import Scoring
from fastgmm.sources import NO_NAMES, ArraySource

K = 4
N = 1200
WIDE = np.longdouble
assert np.finfo(WIDE).eps < 1e-18, "long doubles are no wider than doubles here"


THEIRS = {"tied_diag": "diag", "tied_spherical": "spherical"}
"""What scikit-learn has in the place of what it lacks: the same shape, not tied."""


class Case(NamedTuple):
    """Where the difficulty lies; distances are in standard deviations."""

    condition: float = 1.0
    """Of every covariance."""
    away: float = 0.0
    """Of the cloud from the origin."""
    apart: float = 2.0
    """Of the components' means from each other."""
    smallest: bool = False
    """Whether they are apart in units of the smallest standard deviation, in all directions."""
    pairs: bool = False
    """Whether the components are apart by twos, the two of a pair as near as a standard deviation:
    then the digits that distances lose show in responsibilities and means."""


CASES = {
    "condition 1": Case(),
    "condition 1e6": Case(condition=1e6),
    "condition 1e9": Case(condition=1e9),
    "condition 1e12": Case(condition=1e12),
    "cloud 1e3 sigma away": Case(away=1e3),
    "cloud 1e6 sigma away": Case(away=1e6),
    "components 1e3 sigma apart": Case(apart=1e3),
    "components 1e6 sigma apart": Case(apart=1e6),
    "pairs 1e3 sigma apart": Case(apart=1e3, pairs=True),
    "pairs 1e6 sigma apart": Case(apart=1e6, pairs=True),
    "condition 1e6, components 1e3": Case(condition=1e6, apart=1e3, smallest=True),
}


def cases_of(covariance_type):
    """The cases that a family can have: a sphere has condition 1."""
    return {
        name: case
        for name, case in CASES.items()
        if case.condition == 1.0 or not covariance_type.endswith("spherical")
    }


class Problem(NamedTuple):
    """Rows in the compute dtype and the parameters that a step starts from, in float64."""

    rows: np.ndarray
    parameters: Parameters


class Step(NamedTuple):
    """What one EM step finds: mean log likelihood of a row, means (k, d), covariances (k, d, d)."""

    log_likelihood: float
    means: np.ndarray
    covariances: np.ndarray
    scored: float | None = None
    """The mean log likelihood of a row as predictions find it, where that is another kernel."""


class Errors(NamedTuple):
    """How far a step is from the reference."""

    log_likelihood: float
    means: float
    covariances: float


def problem_of(case, covariance_type, dtype, d, seed=0):
    """Rows of four normals that share their axes and differ in shape."""
    rng = np.random.default_rng(seed)
    axes = np.eye(d)
    if covariance_type in ("full", "tied"):
        axes = np.linalg.qr(rng.normal(size=(d, d)))[0]
    scales = np.geomspace(1.0, case.condition**-0.5, d)
    root = axes * scales
    shapes = 0.5 + rng.random((K, d))
    if covariance_type.startswith("tied"):
        shapes[:] = shapes[0]
    if covariance_type.endswith("spherical"):
        shapes[:] = shapes[0, 0]
    directions = rng.normal(size=(K, d))
    directions *= case.apart / np.sqrt(2.0) / np.linalg.norm(directions, axis=1)[:, np.newaxis]
    if case.pairs:
        directions[1::2] = directions[::2] + rng.normal(size=(K // 2, d)) / np.sqrt(d)
    means = directions * scales[-1] if case.smallest else directions @ root.T
    means = (means + case.away).astype(dtype).astype(float)
    roots = root * np.sqrt(shapes)[:, np.newaxis]
    covariances = roots @ roots.transpose(0, 2, 1)
    labels = rng.integers(K, size=N)
    rows = means[labels] + np.einsum("nij,nj->ni", roots[labels], rng.normal(size=(N, d)))
    covariances = from_matrices(covariances, covariance_type)
    start = Parameters(np.full(K, 1 / K), means, covariances)
    return Problem(rows.astype(dtype), start)


def cholesky(matrix):
    """The lower factor of a matrix (d, d) of long doubles, for which LAPACK has no routine."""
    lower = np.zeros_like(matrix)
    for i in range(len(matrix)):
        for j in range(i):
            lower[i, j] = (matrix[i, j] - lower[i, :j] @ lower[j, :j]) / lower[j, j]
        lower[i, i] = np.sqrt(matrix[i, i] - lower[i, :i] @ lower[i, :i])
    return lower


def solve(lower, columns):
    """L^-1 times columns (d, n) of long doubles."""
    out = np.empty(columns.shape, WIDE)
    for i in range(len(lower)):
        out[i] = (columns[i] - lower[i, :i] @ out[:i]) / lower[i, i]
    return out


def reference(problem, covariance_type):
    """The step in long doubles (Bishop 2006, 9.2.2), about the means it starts from."""
    X = problem.rows.astype(WIDE)
    n, d = X.shape
    weights, means, _ = (part.astype(WIDE) for part in problem.parameters)
    matrices = dense(covariance_type, problem.parameters.covariances, d).astype(WIDE)
    joint = np.empty((n, K), WIDE)
    for k in range(K):
        lower = cholesky(matrices[k])
        y = solve(lower, (X - means[k]).T)
        log_det = np.log(np.diag(lower)).sum()
        joint[:, k] = np.log(weights[k]) - log_det - (y * y).sum(axis=0) / 2
    pi = WIDE(np.pi) + WIDE(np.sin(np.pi))  # the sine is what a double lacks
    joint -= WIDE(d) / 2 * np.log(2 * pi)
    highest = joint.max(axis=1)
    log_density = highest + np.log(np.exp(joint - highest[:, np.newaxis]).sum(axis=1))
    r = np.exp(joint - log_density[:, np.newaxis])
    counts = r.sum(axis=0)
    covariances = np.empty((K, d, d), WIDE)
    for k in range(K):
        z = X - means[k]
        delta = r[:, k] @ z / counts[k]
        means[k] += delta
        z -= delta
        covariances[k] = (z * r[:, k : k + 1]).T @ z / counts[k]
    if covariance_type.startswith("tied"):
        covariances[:] = np.einsum("k,kij->ij", counts, covariances) / counts.sum()
    if covariance_type not in ("full", "tied"):
        variances = np.diagonal(covariances, axis1=1, axis2=2).copy()
        if covariance_type.endswith("spherical"):
            variances[:] = variances.mean(axis=1, keepdims=True)
        covariances = variances[:, :, np.newaxis] * np.eye(d, dtype=WIDE)
    return Step(log_density.mean(), means, covariances)


def dense(covariance_type, covariances, d):
    return FAMILIES[covariance_type].dense(covariances, K, d)


def ours(problem, covariance_type):
    """The step as fastgmm makes it, or None where it says that a covariance is ill-defined."""
    d = problem.rows.shape[1]
    placement = ThreadExecutor(1).place(ArraySource(problem.rows))
    start, settings = Start(covariance_type, problem.parameters), Settings(0.0, 1, np.zeros(d))
    scatter = FAMILIES[covariance_type].needs_scatter
    constants = survey(placement, 1, None, scatter=scatter).constants
    try:
        (fit,) = run(placement, [start], settings, constants, lambda event: None)
        density = FAMILIES[covariance_type].prepare(problem.parameters, problem.rows.dtype)
        ((total, weight, _),) = placement.reduce([Scoring(density, NO_NAMES)])
    except IllDefinedCovarianceError:
        return None
    finally:
        placement.close()
    _, means, covariances = fit.parameters
    found = dense(covariance_type, covariances, means.shape[1])
    return Step(fit.lower_bound, means, found, total / weight)


def scikit_learns(problem, covariance_type):
    """The step as scikit-learn makes it, or None where it raises.

    It is given the Cholesky factors of the precisions in float64, rounded to its dtype.
    """
    dtype = problem.rows.dtype
    weights, means, covariances = problem.parameters
    d = means.shape[1]
    if covariance_type in ("full", "tied"):
        lower = np.linalg.cholesky(covariances)
        inverses = [
            solve_triangular(one, np.eye(d), lower=True) for one in np.atleast_3d(lower.T).T
        ]
        factors = np.array(inverses).transpose(0, 2, 1).reshape(covariances.shape)
    else:
        factors = covariances**-0.5
    model = Reference(K, covariance_type=covariance_type, reg_covar=0.0, tol=0.0, max_iter=1)
    model.set_params(warm_start=True)  # goes on from these attributes
    model.weights_, model.means_ = weights.astype(dtype), means.astype(dtype)
    model.covariances_ = covariances.astype(dtype)
    model.precisions_cholesky_ = factors.astype(dtype)
    model.converged_, model.lower_bound_ = False, -np.inf
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # one step does not converge; logarithms of zero
            model.fit(problem.rows)
    except ValueError:
        return None
    found = dense(covariance_type, model.covariances_, d)
    return Step(model.lower_bound_, model.means_, found)


def errors(step, right):
    """How far a step is from the reference."""
    found = step.log_likelihood, right.log_likelihood if step.scored is None else step.scored
    log_likelihood = max(abs(each - right.log_likelihood) for each in found)
    log_likelihood /= max(1.0, abs(right.log_likelihood))
    means, covariances = [], []
    for k in range(K):
        lower = cholesky(right.covariances[k])
        shift = solve(lower, (step.means[k] - right.means[k])[:, np.newaxis])
        means.append(np.sqrt((shift**2).sum()))
        half = solve(lower, step.covariances[k] - right.covariances[k])
        covariances.append(np.abs(solve(lower, half.T)).max())
    return Errors(float(log_likelihood), float(max(means)), float(max(covariances)))


def allowed(theirs, case, dtype):
    """What fastgmm's errors may be: twice scikit-learn's, or 10 eps times the condition."""
    floor = 10 * np.finfo(dtype).eps * case.condition
    return Errors(*(max(2 * error, floor) for error in theirs or Errors(*[np.inf] * 3)))


class Row(NamedTuple):
    """A row of the table: errors, None where a library found a covariance ill-defined."""

    ours: Errors | None
    theirs: Errors | None
    allowed: Errors

    @property
    def holds(self):
        """Whether fastgmm's errors are allowed; where scikit-learn raises, finite is enough."""
        if self.ours is None:
            return self.theirs is None
        if not np.isfinite(self.ours).all():
            return False
        return all(error <= limit for error, limit in zip(self.ours, self.allowed, strict=True))


def measure(case, covariance_type, dtype, d):
    """Make the step in all three ways; scikit-learn's in its own shape, where it lacks ours."""
    problem = problem_of(case, covariance_type, dtype, d)
    right = reference(problem, covariance_type)
    step = ours(problem, covariance_type)
    mine = None if step is None else errors(step, right)
    untied = THEIRS.get(covariance_type)
    if untied is not None:
        matrices = dense(covariance_type, problem.parameters.covariances, d)
        covariances = from_matrices(matrices, untied)
        problem = Problem(problem.rows, problem.parameters._replace(covariances=covariances))
        right = reference(problem, untied)
    step = scikit_learns(problem, untied or covariance_type)
    theirs = None if step is None else errors(step, right)
    return Row(mine, theirs, allowed(theirs, case, dtype))
