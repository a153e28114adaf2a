"""Where EM begins: starts by name, made from the rows that the first pass gathered.

A new start is one function and one line in ``STARTS``.
"""

from typing import Any, Protocol

import numpy as np

from fastgmm.initialization.constants import DataConstants
from fastgmm.initialization.first_pass import StartRows, Survey, survey
from fastgmm.initialization.given import GivenStart, given_start
from fastgmm.initialization.kmeans import kmeans, kmeans_plus_plus
from fastgmm.initialization.partition import Hard, Partition, Soft, first_parameters
from fastgmm.initialization.random import random_responsibilities, random_rows
from fastgmm.initialization.reseeding import reseeded

__all__ = [
    "STARTS",
    "DataConstants",
    "Hard",
    "Partition",
    "Soft",
    "Start",
    "StartRows",
    "Survey",
    "first_parameters",
    "reseeded",
    "start_by",
    "survey",
]


class Start(Protocol):
    """Decide which rows each component begins with."""

    def __call__(
        self,
        start: StartRows,
        n_components: int,
        random_state: np.random.RandomState,
        n_threads: int,
        /,
    ) -> Partition:
        """Return the partition; ``random_state`` is left where the next start goes on."""


STARTS: dict[str, Start] = {
    "kmeans": kmeans,
    "k-means++": kmeans_plus_plus,
    "random": random_responsibilities,
    "random_from_data": random_rows,
}
"""``init_params`` -> function."""


def start_by(init_params: Any, covariance_shape: tuple[int, ...]) -> GivenStart:
    """Return the start of that name, or the one that takes what the user hands over."""
    if isinstance(init_params, str):
        return STARTS[init_params]
    return given_start(init_params, covariance_shape)
