"""The parameter update: Cholesky factors, triangular inverses and determinants, serial.

LAPACK's threads change the last bits with their number, so fits that must be bit-identical
everywhere do not call it.
"""

import math
from typing import Any

import numpy as np

from fastgmm._jit import kernel, part


@part
def cholesky(matrix: Any, lower: Any) -> bool:
    """Write the packed Cholesky factor of ``matrix`` (d, d); False if not positive definite.

    Only the lower triangle is read. Row-oriented, so that both operands of each dot product are
    contiguous in the packed layout.
    """
    d = matrix.shape[0]
    for i in range(d):
        row_i = i * (i + 1) // 2
        for j in range(i + 1):
            row_j = j * (j + 1) // 2
            total = 0.0
            for m in range(j):
                total += lower[row_i + m] * lower[row_j + m]
            rest = matrix[i, j] - total
            if i == j:
                if not rest > 0.0 or rest == np.inf:
                    return False
                lower[row_i + i] = math.sqrt(rest)
            else:
                lower[row_i + j] = rest / lower[row_j + j]
    return True


@part
def invert_lower(lower: Any, d: int, inverse: Any) -> None:
    """Write the packed inverse of a packed lower triangle, one row from the rows above it."""
    for i in range(d):
        row_i = i * (i + 1) // 2
        pivot = 1.0 / lower[row_i + i]
        for j in range(i):
            inverse[row_i + j] = 0.0
        for m in range(i):
            row_m = m * (m + 1) // 2
            factor = lower[row_i + m]
            for j in range(m + 1):
                inverse[row_i + j] += factor * inverse[row_m + j]
        for j in range(i):
            inverse[row_i + j] *= -pivot
        inverse[row_i + i] = pivot


@kernel
def whiten(covariances: Any, whitening: Any, log_determinants: Any) -> int:
    """Factorise each covariance (k, d, d) into packed L^-1 (k, p) and its log determinant (k,).

    Returns -1, or the first component that is not positive definite.
    """
    n_components, d, _ = covariances.shape
    lower = np.empty(d * (d + 1) // 2)
    for k in range(n_components):
        if not cholesky(covariances[k], lower):
            return k
        invert_lower(lower, d, whitening[k])
        log_determinants[k] = 0.0
        for i in range(d):
            log_determinants[k] += math.log(whitening[k, i * (i + 1) // 2 + i])
    return -1


@kernel
def invert_positive_definite(matrices: Any, inverses: Any) -> int:
    """Invert symmetric positive definite matrices (k, d, d); -1, or the first that is not."""
    n_components, d, _ = matrices.shape
    lower = np.empty(d * (d + 1) // 2)
    whitening = np.empty(d * (d + 1) // 2)
    for k in range(n_components):
        if not cholesky(matrices[k], lower):
            return k
        invert_lower(lower, d, whitening)
        for i in range(d):
            for j in range(i + 1):
                total = 0.0
                for m in range(i, d):
                    total += whitening[m * (m + 1) // 2 + i] * whitening[m * (m + 1) // 2 + j]
                inverses[k, i, j] = total
                inverses[k, j, i] = total
    return -1


@kernel
def in_bands(triangles: Any, d: int, height: int, bands: Any) -> None:
    """Rearrange packed triangles (k, p), times sqrt(1/2), into bands of ``height`` rows.

    A band holds its columns one after the other, a number for each of its rows and zeros above
    the diagonal: the order in which the E-step reads it. Rows that fill no band have one each.
    """
    half = math.sqrt(0.5)
    for k in range(triangles.shape[0]):
        at = 0
        i = 0
        while i < d:
            rows = height if i + height <= d else 1
            for j in range(i + rows):
                for r in range(rows):
                    row = i + r
                    inside = j <= row
                    value = triangles[k, row * (row + 1) // 2 + j] if inside else 0.0
                    bands[k, at] = half * value
                    at += 1
            i += rows
