"""A textbook EM, n x k arrays and all: the judge of everything else (Bishop 2006, 9.2.2).

It shares no line with the package. Covariances are handled as full matrices throughout; a
covariance type only says what the M-step does with them.
"""

import numpy as np
from scipy.special import logsumexp


def as_matrices(covariances, covariance_type, k, d):
    if covariance_type == "full":
        return np.array(covariances)
    if covariance_type == "tied":
        return np.array([covariances] * k)
    if covariance_type == "diag":
        return np.array([np.diag(row) for row in covariances])
    return np.array([np.eye(d) * value for value in covariances])


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


def m_step(X, responsibilities, sample_weight, covariance_type, reg_covar):
    d = X.shape[1]
    r = responsibilities * sample_weight[:, None]
    counts = r.sum(axis=0) + 10 * np.finfo(float).eps * sample_weight.mean()
    means = (r.T @ X) / counts[:, None]
    scatter = np.array(
        [(r[:, k, None] * (X - means[k])).T @ (X - means[k]) for k in range(len(counts))]
    )
    if covariance_type == "full":
        covariances = scatter / counts[:, None, None] + reg_covar * np.eye(d)
    elif covariance_type == "tied":
        covariances = scatter.sum(axis=0) / counts.sum() + reg_covar * np.eye(d)
    else:
        variances = np.array([np.diag(s) / c for s, c in zip(scatter, counts, strict=True)])
        variances = variances + reg_covar
        covariances = variances if covariance_type == "diag" else variances.mean(axis=1)
    return counts / counts.sum(), means, covariances


def em(
    X, weights, means, covariances, covariance_type, n_iter, *, reg_covar=1e-6, sample_weight=None
):
    """Parameters after ``n_iter`` iterations and the mean log likelihood before each."""
    sample_weight = np.ones(len(X)) if sample_weight is None else np.asarray(sample_weight, float)
    k, d = means.shape
    bounds = []
    for _ in range(n_iter):
        matrices = as_matrices(covariances, covariance_type, k, d)
        responsibilities, log_density = e_step(X, weights, means, matrices)
        bounds.append(sample_weight @ log_density / sample_weight.sum())
        weights, means, covariances = m_step(
            X, responsibilities, sample_weight, covariance_type, reg_covar
        )
    return weights, means, covariances, bounds
