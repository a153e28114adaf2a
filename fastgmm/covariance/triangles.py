"""Packed lower triangles and square matrices, one into the other."""

from functools import lru_cache

import numpy as np

from fastgmm import kernels
from fastgmm._typing import Float64Array, IntArray


def packed_size(n_features: int) -> int:
    """Return how many numbers a packed lower triangle holds."""
    return n_features * (n_features + 1) // 2


@lru_cache(maxsize=16)
def indices(n_features: int) -> tuple[IntArray, IntArray]:
    """Row and column of each number of a packed lower triangle."""
    return np.tril_indices(n_features)


def unpack(triangles: Float64Array, n_features: int) -> Float64Array:
    """Return symmetric matrices (..., d, d) from packed triangles (..., p)."""
    i, j = indices(n_features)
    matrices = np.empty((*triangles.shape[:-1], n_features, n_features))
    matrices[..., i, j] = triangles
    matrices[..., j, i] = triangles
    return matrices


def unpack_lower(triangles: Float64Array, n_features: int) -> Float64Array:
    """Return lower triangular matrices (..., d, d) from packed triangles (..., p)."""
    i, j = indices(n_features)
    matrices = np.zeros((*triangles.shape[:-1], n_features, n_features))
    matrices[..., i, j] = triangles
    return matrices


def outer(vectors: Float64Array) -> Float64Array:
    """Return v v^T (..., d, d) for vectors (..., d)."""
    return vectors[..., :, np.newaxis] * vectors[..., np.newaxis, :]


@lru_cache(maxsize=16)
def _scatter_places(n_features: int) -> IntArray:
    """Where each number of a lower triangle lies in bands of scatter (kernels/triangles.py)."""
    i, j = indices(n_features)
    band = kernels.triangles.BAND
    across = i // band * band + band
    return across // 2 * (across - band) + i % band * across + j


def scatter_size(n_features: int) -> int:
    """Return how many numbers the bands of scatter hold."""
    return (int(_scatter_places(n_features)[-1]) // 8 + 1) * 8


def unpack_scatter(scatter: Float64Array, n_features: int) -> Float64Array:
    """Return symmetric matrices (..., d, d) from bands of scatter (..., scatter_size)."""
    return unpack(scatter[..., _scatter_places(n_features)], n_features)


def bands(whitening: Float64Array, d: int) -> Float64Array:
    """Return packed L^-1 (k, p) as the E-step reads it: sqrt(1/2) L^-1 in bands of a few rows."""
    height = kernels.blocks.WHITENING_HEIGHT
    whole = d // height
    size = height**2 * whole * (whole + 1) // 2 + sum(range(whole * height + 1, d + 1))
    arranged = np.empty((len(whitening), size))
    kernels.factorisation.in_bands(whitening, d, height, arranged)
    return arranged
