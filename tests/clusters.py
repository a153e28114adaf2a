"""Clusters of real worker processes for tests."""

from collections.abc import Iterator
from contextlib import contextmanager

import dask
from distributed import Client, LocalCluster

from fastgmm.executors.dask.clients import SETTINGS


@contextmanager
def cluster(n_workers: int) -> Iterator[Client]:
    """Workers of one thread; nobody waits for long for one that was killed."""
    with (
        dask.config.set(SETTINGS),
        LocalCluster(
            n_workers=n_workers, threads_per_worker=1, dashboard_address=":0", memory_limit="1GiB"
        ) as workers,
        Client(workers, set_as_default=False) as client,
    ):
        yield client
