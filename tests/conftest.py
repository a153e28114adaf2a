"""Clusters of real worker processes, started once for all tests."""

from collections.abc import Iterator

import pytest
from distributed import Client, LocalCluster


def cluster(n_workers: int) -> LocalCluster:
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
