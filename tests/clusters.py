"""Clusters of real worker processes for tests."""

from collections.abc import Iterator
from contextlib import contextmanager

import dask
from distributed import Client, LocalCluster

from fastgmm.executors.dask.clients import SETTINGS, closing_in_the_end


@contextmanager
def cluster(n_workers: int, n_threads: int = 1, memory_limit: str = "1GiB") -> Iterator[Client]:
    """Workers of so many threads; nobody waits for long for one that was killed."""
    with dask.config.set(SETTINGS):
        workers = LocalCluster(
            n_workers=n_workers,
            threads_per_worker=n_threads,
            dashboard_address=":0",
            memory_limit=memory_limit,
        )
        with closing_in_the_end(workers), Client(workers, set_as_default=False) as client:
            yield client
