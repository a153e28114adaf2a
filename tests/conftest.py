"""Clusters of real worker processes, started once for all tests."""

from collections.abc import Iterator

import dask
import pytest
from distributed import Client, LocalCluster

from fastgmm.executors.dask.clients import SETTINGS


def cluster(n_workers: int) -> LocalCluster:
    with dask.config.set(SETTINGS):  # how long a worker waits for one that was killed
        return LocalCluster(
            n_workers=n_workers, threads_per_worker=1, dashboard_address=":0", memory_limit="1GiB"
        )


@pytest.fixture(scope="session")
def two_workers() -> Iterator[Client]:
    with cluster(2) as workers, Client(workers, set_as_default=False) as client:
        yield client


@pytest.fixture(scope="session")
def one_worker() -> Iterator[Client]:
    with cluster(1) as workers, Client(workers, set_as_default=False) as client:
        yield client
