"""Random problems and fits of them, shared by the tests."""

import warnings

import numpy as np
import sklearn
from reference import as_matrices, from_matrices

from fastgmm import GaussianMixture, _sklearn
from fastgmm.covariance import FAMILIES
from fastgmm.exceptions import ConvergenceWarning
from fastgmm.initialization import DataConstants
from fastgmm.statistics import Scatter

SCIKIT_LEARN = tuple(int(part) for part in sklearn.__version__.split(".")[:2])
COVARIANCE_TYPES = tuple(FAMILIES)
SCIKIT_LEARNS_TYPES = _sklearn.COVARIANCE_TYPES


def blobs(n, d, k, seed=0, spread=3.0):
    """Rows of k overlapping normals of different shapes, and a start near them."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(scale=spread, size=(k, d))
    shapes = 0.4 * rng.normal(size=(k, d, d)) / np.sqrt(d) + np.eye(d)
    labels = rng.integers(k, size=n)
    X = centres[labels] + np.einsum("nij,nj->ni", shapes[labels], rng.normal(size=(n, d)))
    return X, centres + rng.normal(scale=0.3, size=(k, d))


def start_of(X, means, covariance_type):
    """weights_init, means_init and precisions_init of a start with unit-like covariances."""
    k, d = means.shape
    rng = np.random.default_rng(1)
    scale = 1.0 + rng.random(k)
    precisions = from_matrices(np.eye(d) / scale[:, None, None], covariance_type)
    weights = rng.dirichlet(np.full(k, 5.0))
    weights /= weights.sum()
    return {"weights_init": weights, "means_init": means, "precisions_init": precisions}


def covariances_of(start, covariance_type):
    matrices = as_matrices(start["precisions_init"], covariance_type, *start["means_init"].shape)
    return from_matrices(np.linalg.inv(matrices), covariance_type)


def scatter_of(X, weights=None):
    """The total scatter of rows."""
    weights = np.ones(len(X)) if weights is None else weights
    away = X - X[0]
    mean = weights @ away / weights.sum()
    z = away - mean
    return Scatter(weights.sum(), X[0], mean, (weights * z.T) @ z)


def constants_of(X):
    """What the first pass finds in rows without weights."""
    return DataConstants(float(len(X)), 1.0, X.var(axis=0), scatter_of(X))


def fit(X, sample_weight=None, **params):
    """A fit that may stop at max_iter without a warning."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return GaussianMixture(**params).fit(X, sample_weight=sample_weight)


def distance(a, b):
    """Largest |a - b| relative to |b| + 1e-3."""
    a, b = np.asarray(a), np.asarray(b)
    assert a.shape == b.shape
    return float(np.max(np.abs(a - b) / (np.abs(b) + 1e-3)))


def parameters(model):
    return model.weights_, model.means_, model.covariances_


def fingerprint(model):
    """One hash of everything a fit has found."""
    import hashlib

    digest = hashlib.sha256()
    for part in (*parameters(model), np.array(model.lower_bounds_)):
        digest.update(np.ascontiguousarray(part).tobytes())
    return digest.hexdigest()
