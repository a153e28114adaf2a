"""Whole matrices and the triangles that kernels read and write: one into the other."""

from collections.abc import Callable
from typing import NamedTuple, TypeVar

import numpy as np

from fastgmm import kernels
from fastgmm._typing import Float64Array, FloatArray
from fastgmm.covariance.protocol import Share, alone
from fastgmm.exceptions import IllDefinedCovarianceError

R = TypeVar("R")

WORTH_SHARING = 2_000_000
"""k d^3 from which the parameter update is shared among threads: about 0.1 ms on one, a few times
what handing a part to another thread takes."""


ASYMMETRY = 1e-5
"""Entries that face each other may differ by so many times the geometric mean of their variances:
float32 leaves 1e-7."""


def packed_size(n_features: int) -> int:
    """Return how many numbers a packed lower triangle holds."""
    return n_features * (n_features + 1) // 2


def packed_triangle(matrix: Float64Array) -> Float64Array:
    """Return the rows of the lower triangle of a matrix (d, d), up to the diagonal.

    By a mask: tril_indices took a sixth of an iteration of three tied components on 150 rows.
    """
    return matrix[np.tri(len(matrix), dtype=bool)]


def estimate(
    second: Float64Array,
    counts: Float64Array,
    delta: Float64Array,
    share: Share = alone,
) -> Float64Array:
    """Return covariances (g, d, d) from packed triangles of scatter (g, p)."""
    d = delta.shape[1]
    covariances = np.empty((len(second), d, d))
    members = len(counts) // len(second)

    def part(first: int, last: int) -> None:
        mine, components = slice(first, last), slice(first * members, last * members)
        kernels.factorisation.estimate(
            second[mine], counts[components], delta[components], covariances[mine]
        )

    _shared(share, part, covariances)
    return covariances


class Whitening(NamedTuple):
    """What is made of covariances L L^T, scaled."""

    factors: FloatArray
    """(g, ...) W = scale L^-1 in bands of rows; of height 1 these are packed rows."""
    biases: Float64Array
    """(g, d) W away."""
    sharpness: Float64Array
    """(g,) bounds of the spectral norm of W D, D the columns' standard deviations: scale over the
    least standard deviation in units of the columns' own, or more."""
    log_determinants: Float64Array
    """(g,) log |L^-1|."""


def whiten(
    covariances: Float64Array,
    scale: float,
    height: int,
    dtype: np.dtype[np.floating],
    share: Share = alone,
    away: Float64Array | None = None,
) -> Whitening:
    """Factorise covariances (g, d, d); the factors come in the dtype.

    Raises IllDefinedCovarianceError, with the indices that are to blame.
    """
    g, d, _ = covariances.shape
    size = kernels.bands.size_of_bands(d, height)
    matrices = np.ascontiguousarray(covariances)
    result = Whitening(np.empty((g, size), dtype), np.empty((g, d)), np.empty(g), np.empty(g))
    away = np.zeros((g, d)) if away is None else away

    def part(first: int, last: int) -> None:
        range_ = slice(first, last)
        factors, biases = result.factors[range_], result.biases[range_]
        sharpness, log_determinants = result.sharpness[range_], result.log_determinants[range_]
        # one signature for all dtypes: a fit in float32 needs float64 factors as well, and the
        # kernel takes 3 s to compile; rounding 64 triangles of d = 64 takes 0.1 ms
        exact = factors if dtype == np.float64 else np.empty((last - first, size))
        kernels.factorisation.whiten(
            matrices[range_], scale, height, away[range_],
            exact, biases, sharpness, log_determinants,
        )  # fmt: skip
        if dtype != np.float64:
            factors[:] = exact

    _shared(share, part, matrices)
    failed = np.flatnonzero(np.isnan(result.log_determinants))
    if failed.size > 0:
        raise IllDefinedCovarianceError(tuple(failed.tolist()))
    return result


def _shared(share: Share, part: Callable[[int, int], R], matrices: Float64Array) -> list[R]:
    g, d, _ = matrices.shape
    return (share if g * d**3 >= WORTH_SHARING else alone)(part, g)


def in_bands(packed: FloatArray, d: int, height: int) -> FloatArray:
    """Return packed rows of a triangle as bands of rows (see kernels/bands.py)."""
    matrix = np.zeros((d, d), packed.dtype)
    matrix[np.tri(d, dtype=bool)] = packed
    bands = kernels.bands.bands(d, height)
    return np.concatenate(
        [matrix[first : first + rows, : first + rows].T.ravel() for first, rows in bands]
    )


def upper_factors(covariances: Float64Array) -> Float64Array:
    """Return U = L^-T (g, d, d) of L L^T = covariances (g, d, d)."""
    g, d, _ = covariances.shape
    factors = whiten(covariances, 1.0, 1, np.dtype(np.float64)).factors
    upper = np.zeros((g, d, d))
    i, j = np.tril_indices(d)
    upper[:, j, i] = factors
    return upper


def inverses(matrices: Float64Array, name: str, *, shared: bool = False) -> Float64Array:
    """Return the inverses of matrices (g, d, d); ValueError as in :func:`check_matrices`."""
    check_matrices(matrices, name, shared=shared)
    inverted = np.empty(matrices.shape)
    failed = kernels.factorisation.invert_positive_definite(
        np.ascontiguousarray(matrices), inverted
    )
    if failed >= 0:
        raise _refused(matrices, failed, name, shared)
    return inverted


def check_matrices(matrices: Float64Array, name: str, *, shared: bool = False) -> None:
    """Raise ValueError unless matrices (g, d, d) are symmetric and positive definite.

    ``name`` is what they are called, "full covariance"; ``shared``: the one belongs to all
    components.
    """
    scales = np.sqrt(np.abs(np.diagonal(matrices, axis1=1, axis2=2)))
    allowed = ASYMMETRY * scales[:, :, np.newaxis] * scales[:, np.newaxis, :]
    askew = np.abs(matrices - matrices.transpose(0, 2, 1)) > allowed
    if askew.any():
        k, i, j = np.argwhere(askew)[0]
        raise ValueError(
            f"'{name}' should be symmetric, positive-definite, but{_whose(k, shared)} entry "
            f"({i}, {j}) is {matrices[k, i, j]:.6g} and ({j}, {i}) {matrices[k, j, i]:.6g}: give "
            "whole matrices, the same above and below the diagonal"
        )
    try:
        whiten(matrices, 1.0, 1, np.dtype(np.float64))
    except IllDefinedCovarianceError as error:
        raise _refused(matrices, error.component or 0, name, shared) from None


def _refused(matrices: Float64Array, k: int, name: str, shared: bool) -> ValueError:
    least = float(np.linalg.eigvalsh(matrices[k])[0])
    scale = float(np.abs(np.diagonal(matrices[k])).max()) or 1.0
    enough = max(-2.0 * least, 1e-6 * scale)
    return ValueError(
        f"'{name}' should be symmetric, positive-definite, but{_whose(k, shared)} least eigenvalue "
        f"is {least:.3g}: correct the matrix, or add {enough:.1g} to its diagonal"
    )


def _whose(k: int, shared: bool) -> str:
    return " its" if shared else f" component {k}'s"
