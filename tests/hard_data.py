"""Data on which mixtures break: one function a data set, with the number of components to try.

Rows come in float64 and keep 2 or 3 columns where that is enough: every width compiles kernels of
its own. Shared by ``tests/test_hard_data.py`` and ``scripts/hard-data``.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

Rows = NDArray[np.float64]


class Hard(NamedTuple):
    """A data set and how many components are asked of it."""

    make: Callable[[Generator], Rows]
    n_components: int

    def rows(self, dtype: str = "float64") -> NDArray[np.floating]:
        """Return the rows, the same every time."""
        return np.ascontiguousarray(self.make(np.random.default_rng(0)), dtype=dtype)


def _clouds(rng: Generator, n: int = 300, apart: float = 6.0) -> Rows:
    """Three round clouds in three columns: what is easy before it is made hard."""
    centres = apart * np.array([[0.0, 0.0, 0.0], [1.0, 0.0, 1.0], [0.0, 1.0, -1.0]])
    return centres[np.arange(n) % 3] + rng.normal(size=(n, 3))


def _beside(rows: Rows, *more: Rows) -> Rows:
    return np.vstack([rows, *more])


def _column(rows: Rows, j: int, values: Rows | float) -> Rows:
    rows[:, j] = values
    return rows


HARD_DATA: dict[str, Hard] = {
    "duplicated rows": Hard(lambda rng: np.repeat(rng.normal(size=(5, 3)), 60, axis=0), 8),
    "all rows alike": Hard(lambda rng: np.ones((200, 3)), 3),
    "all rows zero": Hard(lambda rng: np.zeros((200, 3)), 3),
    "rows rounded to integers": Hard(lambda rng: np.round(_clouds(rng)), 10),
    "one constant column": Hard(lambda rng: _column(_clouds(rng), 1, 7.25), 3),
    "one constant column at 1e8": Hard(lambda rng: _column(_clouds(rng), 1, 1e8 / 3), 3),
    "one column but for one row": Hard(
        lambda rng: _column(_clouds(rng), 1, (np.arange(300) == 17) * 1.0), 3
    ),
    "columns alike": Hard(lambda rng: (x := _clouds(rng))[:, [0, 1, 1]] + 0 * x, 3),
    "columns that add up": Hard(lambda rng: _clouds(rng) @ [[1, 0, 1], [0, 1, 1], [0, 0, 0]], 3),
    "columns that add up, 1e6": Hard(
        lambda rng: 1e6 * _clouds(rng) @ [[1, 0, 1], [0, 1, 1], [0, 0, 0]], 3
    ),
    "rows on a line": Hard(lambda rng: rng.normal(size=(300, 1)) * [[1.0, -2.0, 1e3]], 4),
    "rows on a sphere": Hard(
        lambda rng: (x := rng.normal(size=(300, 3))) / np.linalg.norm(x, axis=1)[:, None], 6
    ),
    "a component of three rows": Hard(
        lambda rng: _beside(_clouds(rng), 50.0 + 1e-9 * rng.normal(size=(3, 3))), 4
    ),
    "far more components than clouds": Hard(lambda rng: _clouds(rng), 40),
    "as many components as rows": Hard(lambda rng: rng.normal(size=(30, 3)), 30),
    "one component fewer than rows": Hard(lambda rng: rng.normal(size=(30, 3)), 29),
    "two rows": Hard(lambda rng: rng.normal(size=(2, 3)), 2),
    "units of 1e-9": Hard(lambda rng: 1e-9 * _clouds(rng), 3),
    "units of 1e9": Hard(lambda rng: 1e9 * _clouds(rng), 3),
    "units of 1e-9, 1 and 1e9": Hard(lambda rng: _clouds(rng) * [1e-9, 1.0, 1e9], 3),
    "units of 1e-30": Hard(lambda rng: 1e-30 * _clouds(rng), 3),
    "units of 1e15": Hard(lambda rng: 1e15 * _clouds(rng), 3),
    "1e8 away": Hard(lambda rng: 1e8 + _clouds(rng), 3),
    "1e12 away": Hard(lambda rng: 1e12 + _clouds(rng), 3),
    "1e8 away, units of 1e-3": Hard(lambda rng: 1e8 + 1e-3 * _clouds(rng), 3),
    "time stamps beside units": Hard(
        lambda rng: _column(_clouds(rng), 0, 1.7e18 + 1e9 * np.arange(300)), 3
    ),
    "clouds 1e9 apart": Hard(lambda rng: _clouds(rng, apart=1e9), 3),
    "clouds 1e9 apart, 8 components": Hard(lambda rng: _clouds(rng, apart=1e9), 8),
    "one outlier at 1e6": Hard(lambda rng: _beside(_clouds(rng), np.full((1, 3), 1e6)), 3),
    "one outlier at 1e12": Hard(lambda rng: _beside(_clouds(rng), np.full((1, 3), 1e12)), 3),
    "one outlier at 1e18": Hard(lambda rng: _beside(_clouds(rng), np.full((1, 3), 1e18)), 1),
    "Cauchy": Hard(lambda rng: rng.standard_cauchy(size=(300, 3)), 4),
    "log-normal, sigma 6": Hard(lambda rng: np.exp(6.0 * rng.normal(size=(300, 3))), 4),
    "Pareto, index 1/3": Hard(lambda rng: rng.pareto(1 / 3, size=(300, 3)), 4),
    "binary columns": Hard(lambda rng: rng.integers(2, size=(300, 3)).astype(float), 6),
    "one-hot columns": Hard(lambda rng: np.eye(3)[rng.integers(3, size=300)], 4),
    "counts, mostly zero": Hard(lambda rng: rng.poisson(0.1, size=(300, 3)).astype(float), 5),
    "more columns than rows": Hard(lambda rng: rng.normal(size=(20, 41)), 2),
    "more columns than rows, many components": Hard(lambda rng: rng.normal(size=(20, 41)), 10),
    "more columns than rows, units of 1e9": Hard(lambda rng: 1e9 * rng.normal(size=(20, 41)), 2),
}
"""Name -> data set."""


def finite_numbers(model: Any, rows: NDArray[np.floating]) -> bool:
    """Whether a fitted model's parameters, and what it says about rows, are all finite."""
    numbers = (
        model.weights_, model.means_, model.covariances_, model.precisions_,
        model.precisions_cholesky_, model.lower_bound_, model.score_samples(rows),
        model.predict_proba(rows),
    )  # fmt: skip
    return all(bool(np.isfinite(part).all()) for part in numbers)
