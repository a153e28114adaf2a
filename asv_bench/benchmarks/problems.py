"""The problems that every benchmark is run on, defined once.

``FASTGMM_BENCH_ROWS`` replaces the number of rows: the tests run every benchmark once, tiny.
"""

import os
from typing import NamedTuple

import numpy as np

ROWS_AT_ONCE = 2**20
"""Drawn in float64: 2e8 numbers would take four times their own memory besides."""


class Problem(NamedTuple):
    """Rows drawn from k overlapping clouds in d dimensions."""

    d: int
    k: int
    n: int
    covariance_type: str = "full"
    dtype: str = "float64"
    seed: int = 0

    def means(self) -> np.ndarray:
        """Return (k, d) means, about two standard deviations apart along each axis."""
        return np.random.default_rng(self.seed).normal(scale=2.0, size=(self.k, self.d))

    def rows(self) -> np.ndarray:
        """Return (n, d) rows."""
        n = int(os.environ.get("FASTGMM_BENCH_ROWS", self.n))
        generator, means = np.random.default_rng(self.seed + 1), self.means()
        rows = np.empty((n, self.d), self.dtype)
        for part in np.split(rows, range(ROWS_AT_ONCE, n, ROWS_AT_ONCE)):
            drawn = generator.normal(size=part.shape)
            part[:] = drawn + means[generator.integers(self.k, size=len(part))]
        return rows


# From the classic two components to the widths where matrix products rule; n so that an iteration
# takes between a few and some hundred milliseconds. The first is as small as textbooks' tables are:
# the interpreter's work and hardly any arithmetic.
PROBLEMS = {
    "d4-k3-150-rows": Problem(4, 3, 150),
    "d1-k2": Problem(1, 2, 2_000_000),
    "d2-k4": Problem(2, 4, 1_000_000),
    "d3-k8": Problem(3, 8, 500_000),
    "d8-k16": Problem(8, 16, 200_000),
    "d8-k16-float32": Problem(8, 16, 200_000, dtype="float32"),
    "d8-k16-tied": Problem(8, 16, 200_000, "tied"),
    "d8-k16-diag": Problem(8, 16, 200_000, "diag"),
    "d8-k16-spherical": Problem(8, 16, 200_000, "spherical"),
    "d16-k32": Problem(16, 32, 50_000),
    "d64-k16": Problem(64, 16, 20_000),
}


def _sized(d: int, k: int, covariance_type: str) -> Problem:
    """Return a problem of about 0.1 s an iteration on one core, but of 2e8 numbers at most.

    To begin and end a pass on two threads takes 0.7 ms: of 16 ms, which it was with a quarter of
    the rows in float32, that is a twentieth, and shows as 1.83 times one thread instead of 1.91.
    """
    flops = k * (2 * d * (d + 1) if covariance_type == "full" else 8 * d) + 40 * k
    return Problem(d, k, int(min(2e10 / flops, 2e8 / d)) // 1000 * 1000, covariance_type)


_NARROW_FIRST = (
    *((2, 4), (3, 8), (2, 16), (8, 16), (16, 32)),
    *((41, 110), (64, 64), (39, 512), (128, 32)),
)

ROOFLINE = {
    "full": [
        _sized(d, k, "full")
        for d, k in (
            *((1, 2), (1, 3), (2, 4), (2, 16), (3, 8)),
            *((8, 16), (16, 32), (41, 110), (64, 64), (128, 32)),
        )
    ],
    "diag": [_sized(d, k, "diag") for d, k in _NARROW_FIRST if (d, k) != (2, 16)],
    "tied": [_sized(d, k, "tied") for d, k in _NARROW_FIRST],
    "spherical": [_sized(d, k, "spherical") for d, k in _NARROW_FIRST],
}
"""The grid on which kernels are held against the machine's roofs (scripts/roofline)."""
