"""Clusters of real worker processes, started once for all tests."""

from collections.abc import Iterator

import pytest
from clusters import cluster
from distributed import Client


@pytest.fixture(scope="session")
def two_workers() -> Iterator[Client]:
    with cluster(2) as client:
        yield client


@pytest.fixture(scope="session")
def one_worker() -> Iterator[Client]:
    with cluster(1) as client:
        yield client
