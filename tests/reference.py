"""A textbook EM, n x k arrays and all: the judge of everything else (Bishop 2006, 9.2.2).

It shares no line with the package. Covariances are handled as full matrices throughout; a
covariance type only says what the M-step does with them.
"""

import numpy as np
from scipy.special import logsumexp


def as_matrices(covariances, covariance_type, k, d):
    """Matrices (k, d, d) of covariances in the shape of their type."""
    c = np.asarray(covariances)
    each = {
        "full": lambda: c,
        "tied": lambda: [c] * k,
        "diag": lambda: [np.diag(row) for row in c],
        "spherical": lambda: [np.eye(d) * value for value in c],
        "tied_diag": lambda: [np.diag(c)] * k,
        "tied_spherical": lambda: [np.eye(d) * c[0]] * k,
    }
    return np.array(each[covariance_type]())


def from_matrices(matrices, covariance_type):
    """The way back; what components or columns share is the first one's."""
    diagonals = np.diagonal(matrices, axis1=1, axis2=2).copy()
    return {
        "full": matrices,
        "tied": matrices[0],
        "diag": diagonals,
        "spherical": diagonals[:, 0],
        "tied_diag": diagonals[0],
        "tied_spherical": diagonals[0, :1],
    }[covariance_type].copy()


def log_densities(X, means, matrices):
    """(n, k) log N(x | mean, matrix), by solving with the Cholesky factor."""
    n, d = X.shape
    out = np.empty((n, len(means)))
    for k, (mean, matrix) in enumerate(zip(means, matrices, strict=True)):
        factor = np.linalg.cholesky(matrix)
        y = np.linalg.solve(factor, (X - mean).T)
        log_det = 2 * np.log(np.diag(factor)).sum()
        out[:, k] = -0.5 * ((y**2).sum(axis=0) + log_det + d * np.log(2 * np.pi))
    return out


def e_step(X, weights, means, matrices):
    """Responsibilities (n, k) and log densities (n,)."""
    joint = np.log(weights) + log_densities(X, means, matrices)
    log_density = logsumexp(joint, axis=1)
    return np.exp(joint - log_density[:, None]), log_density


def m_step(X, responsibilities, sample_weight, covariance_type, reg_covar, means=None):
    """The next parameters; scatter is about ``means`` where these are given."""
    d = X.shape[1]
    r = responsibilities * sample_weight[:, None]
    counts = r.sum(axis=0) + 10 * np.finfo(float).eps * sample_weight.mean()
    means = (r.T @ X) / counts[:, None] if means is None else means
    scatter = np.array(
        [(r[:, k, None] * (X - means[k])).T @ (X - means[k]) for k in range(len(counts))]
    )
    matrices = scatter / counts[:, None, None]
    if covariance_type.startswith("tied"):
        matrices[:] = scatter.sum(axis=0) / counts.sum()
    matrices += reg_covar * np.eye(d)
    if covariance_type.endswith("spherical"):
        matrices = np.array([np.eye(d) * np.trace(matrix) / d for matrix in matrices])
    covariances = from_matrices(matrices, covariance_type)
    return counts / counts.sum(), means, covariances


def em(
    X,
    weights,
    means,
    covariances,
    covariance_type,
    n_iter,
    *,
    reg_covar=1e-6,
    sample_weight=None,
    fixed=(),
):
    """Parameters after ``n_iter`` iterations and the mean log likelihood before each."""
    start = {"weights": weights, "means": means, "covariances": covariances}
    sample_weight = np.ones(len(X)) if sample_weight is None else np.asarray(sample_weight, float)
    k, d = means.shape
    bounds = []
    for _ in range(n_iter):
        matrices = as_matrices(covariances, covariance_type, k, d)
        responsibilities, log_density = e_step(X, weights, means, matrices)
        bounds.append(sample_weight @ log_density / sample_weight.sum())
        kept = means if "means" in fixed else None
        new = m_step(X, responsibilities, sample_weight, covariance_type, reg_covar, kept)
        weights, means, covariances = (
            start[name] if name in fixed else part for name, part in zip(start, new, strict=True)
        )
    return weights, means, covariances, bounds
