"""A rehearsal: kernels of the iterations are compiled by another process while a start is made.

Of the seconds that a first fit waits for the compiler, about half are for kernels that the start
uses and half for those of the iterations, and the compiler runs on one processor.
"""

import json
import sys
from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext

import numpy as np

from fastgmm import kernels
from fastgmm._jit import compiling_ahead
from fastgmm.covariance import FAMILIES
from fastgmm.executors import Placement
from fastgmm.expectation import ExpectationStep
from fastgmm.maximization import maximum_likelihood, prepared
from fastgmm.statistics import zeros

MOST_COLUMNS = max(kernels.unrolled.MOST_COLUMNS, kernels.narrow.MOST_COLUMNS) + 1
MOST_COMPONENTS = 2 * kernels.near_axes.FEWEST
"""More run the same code, and take time and memory."""


def rehearsed(
    placement: Placement, covariance_types: Iterable[str], n_components: int
) -> AbstractContextManager[None]:
    """Have the iterations rehearsed meanwhile, if a kernel turns out not to be on disk.

    Whoever has been told to use one thread only keeps to it.
    """
    if placement.n_threads == 1:
        return nullcontext()
    source = placement.source
    what = (list(covariance_types), int(n_components), source.n_features, source.dtype.name)
    code = "from fastgmm.em.rehearsal import rehearse_asked; rehearse_asked()"
    return compiling_ahead(code, json.dumps(what).encode())


def rehearse_asked() -> None:
    """Rehearse what standard input names."""
    covariance_types, n_components, n_features, dtype = json.load(sys.stdin)
    for covariance_type in covariance_types:
        rehearse(covariance_type, n_components, n_features, np.dtype(dtype))


def rehearse(
    covariance_type: str, n_components: int, n_features: int, dtype: np.dtype[np.floating]
) -> None:
    """Make an iteration of a mixture of unit matrices, no larger than its code asks for."""
    family = FAMILIES[covariance_type]
    k, d = min(n_components, MOST_COMPONENTS), min(n_features, MOST_COLUMNS)
    statistics = zeros(k, d, family.second_shape(k, d))
    statistics.counts[:] = 1.0
    origins, ridge = np.random.default_rng(0).normal(size=(k, d)), np.ones(d)
    parameters = maximum_likelihood(family, statistics, origins, ridge, 0.0)
    _, density, _ = prepared(family, parameters, ridge, dtype)
    ExpectationStep(covariance_type, density, 0).warm_up(weighted=False)
