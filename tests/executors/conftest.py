"""Clusters of real worker processes, started once."""

import gc
import time
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


@pytest.fixture
def client(two_workers: Client) -> Iterator[Client]:
    """Two workers, on which a test must leave nothing behind."""
    yield two_workers
    assert left(two_workers) == []


def left(client: Client, prefix: str = "") -> list[str]:
    """Return the futures that stay alive; the client lets go of them a little later."""
    for attempt in range(100):
        keys = [key for key in map(str, list(client.futures)) if key.startswith(prefix)]
        if not keys:
            break
        time.sleep(0.02)
        if attempt % 20 == 10:
            gc.collect()
    return keys
