"""Mixtures that are known: data written from them piece by piece, and how well they can be known.

The demonstration compares a fit with the mixture its data were drawn from, in units of the
standard errors that no estimator can beat.
"""

from collections.abc import Iterator
from itertools import permutations
from pathlib import Path
from typing import NamedTuple

import numpy as np

from fastgmm._typing import Float64Array

PIECE = 2**19
"""Rows drawn and written at once."""

INFORMATION_ROWS = 200_000
"""Rows that estimate the Fisher information: 0.5 % on a standard error is plenty."""


class Truth(NamedTuple):
    """A mixture of k components in d features."""

    weights: Float64Array
    """(k,)."""
    means: Float64Array
    """(k, d)."""
    covariances: Float64Array
    """(k, d, d)."""

    def draw(self, n_samples: int, generator: np.random.Generator) -> Float64Array:
        """Return (n, d) rows."""
        components = generator.choice(len(self.weights), n_samples, p=self.weights)
        noise = generator.standard_normal((n_samples, self.means.shape[1]))
        roots = np.linalg.cholesky(self.covariances)
        rows: Float64Array = self.means[components]
        rows += np.einsum("nij,nj->ni", roots[components], noise)
        return rows

    def pieces(self, n_samples: int, seed: int) -> Iterator[Float64Array]:
        """Draw rows piece by piece."""
        generator = np.random.default_rng(seed)
        for start in range(0, n_samples, PIECE):
            yield self.draw(min(PIECE, n_samples - start), generator)


TWO_NORMALS = Truth(np.array([0.25, 0.75]), np.array([[0.0], [3.0]]), np.array([[[1.0]], [[1.0]]]))
"""Two overlapping normals three standard deviations apart: EM needs some hundred iterations (and
fourteen times as many when they are two apart)."""

THREE_CLOUDS = Truth(
    np.array([0.2, 0.3, 0.5]),
    np.array([[0.0, 0.0, 0.0, 0.0], [4.0, 1.0, -1.0, 0.0], [1.0, 5.0, 2.0, 1.0]]),
    np.array(
        [
            np.diag([1.0, 2.0, 0.5, 1.0]),
            0.5 * np.eye(4) + 0.5,
            [
                [2.0, -0.8, 0.0, 0.3],
                [-0.8, 1.0, 0.2, 0.0],
                [0.0, 0.2, 1.5, 0.4],
                [0.3, 0.0, 0.4, 1.0],
            ],
        ]
    ),
)
"""Three clouds in four dimensions, their axes tilted."""


def write_npy(path: Path, truth: Truth, n_samples: int, seed: int) -> None:
    """Write an (n, d) .npy file, a piece at a time."""
    header = {"descr": "<f8", "fortran_order": False, "shape": (n_samples, truth.means.shape[1])}
    with open(path, "wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        for piece in truth.pieces(n_samples, seed):
            file.write(piece.data)


def write_parquet(folder: Path, truth: Truth, n_samples: int, seed: int) -> float:
    """Write five Parquet files with weights (column "w": 1 or 2) and some nulls.

    Returns Kish's effective number of complete rows, (sum w)^2 / sum w^2: what the standard
    errors of a weighted fit are to be computed with.
    """
    import pyarrow
    import pyarrow.parquet

    folder.mkdir(exist_ok=True)
    generator = np.random.default_rng(seed)
    names = ["a", "b", "c", "d"]
    total = squares = 0.0
    cuts = np.linspace(0, n_samples, 6, dtype=int)
    for part, n_rows in enumerate(np.diff(cuts)):
        rows = truth.draw(int(n_rows), generator)
        weights = generator.integers(1, 3, n_rows).astype(np.float64)
        missing = generator.random(rows.shape) < 2.5e-4  # about one row in a thousand
        columns = {
            name: pyarrow.array(rows[:, j], mask=missing[:, j]) for j, name in enumerate(names)
        }
        pyarrow.parquet.write_table(
            pyarrow.table({**columns, "w": weights}),
            folder / f"part-{part}.parquet",
            row_group_size=10_000 * (2 * part + 1),
        )
        complete = weights[~missing.any(axis=1)]
        total += complete.sum()
        squares += (complete**2).sum()
    return float(total**2 / squares)


def match(truth: Truth, means: Float64Array) -> list[int]:
    """Return the order of a fit's components that is nearest to the truth's."""
    orders = permutations(range(len(truth.weights)))
    return list(min(orders, key=lambda order: ((means[list(order)] - truth.means) ** 2).sum()))


def parameter_vector(truth: Truth) -> Float64Array:
    """Return weights, means, and lower triangles of the covariances as one vector."""
    lower = np.tril_indices(truth.means.shape[1])
    triangles = truth.covariances[:, lower[0], lower[1]]
    return np.concatenate([truth.weights, truth.means.ravel(), triangles.ravel()])


def standard_errors(truth: Truth, n_samples: float, seed: int = 0) -> Float64Array:
    """Return the standard error of each number of :func:`parameter_vector` in a fit of n rows.

    From the mean outer product of the scores (McLachlan & Peel 2000, section 2.15), with the last
    weight as one minus the others.
    """
    rows = truth.draw(INFORMATION_ROWS, np.random.default_rng(seed))
    scores = _scores(truth, rows)
    k = len(truth.weights)
    scores[:, : k - 1] -= scores[:, k - 1 : k]
    free = np.delete(scores, k - 1, axis=1)
    covariance = np.linalg.inv(free.T @ free / len(rows)) / n_samples
    variances = np.insert(np.diag(covariance), k - 1, covariance[: k - 1, : k - 1].sum())
    return np.asarray(np.sqrt(variances))


def _scores(truth: Truth, rows: Float64Array) -> Float64Array:
    """Return (n, p): the gradient of every row's log density."""
    n, d = rows.shape
    precisions = np.linalg.inv(truth.covariances)
    centred = rows[:, np.newaxis] - truth.means
    whitened = np.einsum("kij,nkj->nki", precisions, centred)
    squares = np.einsum("nki,nki->nk", centred, whitened)
    densities = np.exp(-0.5 * squares) * np.sqrt(np.linalg.det(precisions) / (2 * np.pi) ** d)
    mixture = densities @ truth.weights
    responsibilities = truth.weights * densities / mixture[:, np.newaxis]
    i, j = np.tril_indices(d)
    quadratic = whitened[:, :, i] * whitened[:, :, j] - precisions[:, i, j]
    quadratic *= np.where(i == j, 0.5, 1.0)  # an entry off the diagonal stands there twice
    by_mean = responsibilities[:, :, np.newaxis] * whitened
    by_covariance = responsibilities[:, :, np.newaxis] * quadratic
    return np.concatenate(
        [densities / mixture[:, np.newaxis], by_mean.reshape(n, -1), by_covariance.reshape(n, -1)],
        axis=1,
    )
