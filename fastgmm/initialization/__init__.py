"""Where EM begins: starts by name, made from the rows that the first pass gathered.

A new start is one function and one line in ``STARTS``, or in ``STREAMED_STARTS`` if it reads all
rows, however many there are.
"""

from typing import Any, Protocol

import numpy as np

from fastgmm._typing import Float64Array
from fastgmm.executors import Placement
from fastgmm.initialization.constants import DataConstants
from fastgmm.initialization.first_pass import StartRows, Survey, check_counting, survey
from fastgmm.initialization.given import GivenStart, given_start
from fastgmm.initialization.kmeans import kmeans, kmeans_plus_plus
from fastgmm.initialization.kmeans_parallel import Read, kmeans_parallel
from fastgmm.initialization.partition import Hard, Partition, Soft, first_parameters
from fastgmm.initialization.random import random_responsibilities, random_rows
from fastgmm.initialization.reseeding import reseeded
from fastgmm.parameters import Parameters

__all__ = [
    "STARTS",
    "START_NAMES",
    "STREAMED_STARTS",
    "DataConstants",
    "Hard",
    "Partition",
    "Soft",
    "Start",
    "StartRows",
    "StreamedStart",
    "Survey",
    "check_counting",
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
"""``init_params`` -> function of the rows that the first pass gathered."""


class StreamedStart(Protocol):
    """Make starts in passes over all rows."""

    def __call__(
        self,
        placement: Placement,
        read: Read,
        n_components: int,
        random_state: np.random.RandomState,
        n_init: int,
        covariance_type: str,
        ridge: Float64Array,
        floor: float,
        /,
    ) -> list[Parameters]:
        """Return the parameters of ``n_init`` starts; ``read`` runs works over the rows."""


STREAMED_STARTS: dict[str, StreamedStart] = {"k-means||": kmeans_parallel}
"""``init_params`` -> function of the placement."""

START_NAMES = (*STARTS, *STREAMED_STARTS)


def start_by(init_params: Any, covariance_shape: tuple[int, ...]) -> GivenStart:
    """Return the start of that name, or the one that takes what the user hands over."""
    if isinstance(init_params, str):
        return STARTS[init_params]
    return given_start(init_params, covariance_shape)
