"""Clients: the one in use, one of worker processes made for a fit, one of a cluster elsewhere."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeAlias

import dask
import distributed

from fastgmm.exceptions import ClusterError
from fastgmm.executors.threads import available_threads

Client: TypeAlias = Any

SETTINGS = {"distributed.comm.timeouts.connect": "5s"}
"""Dask's own 30 s are what a worker waits for another that is gone, and a user to be told that the
address is wrong."""


def active_client() -> Client | None:
    """Return the client in use, or None; inside a task its worker's."""
    with suppress(ValueError):
        return distributed.get_client() if inside_task() else distributed.Client.current()
    return None


def inside_task() -> bool:
    """Return whether this is a task on a worker."""
    try:
        distributed.get_worker()
    except ValueError:
        return False
    return True


@contextmanager
def local_workers(n_workers: int) -> Iterator[Client]:
    """Yield a client of so many new worker processes, which share the CPUs; stop them after."""
    threads = max(1, available_threads() // n_workers)
    with (
        dask.config.set(SETTINGS),
        distributed.LocalCluster(
            n_workers=n_workers, threads_per_worker=threads, dashboard_address=None
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        yield client


@contextmanager
def connected(scheduler: str | None = None, scheduler_file: Path | None = None) -> Iterator[Client]:
    """Yield a client of the cluster at an address, or of the one that wrote a file.

    Raises
    ------
    ClusterError
        No scheduler answers within seconds, or there is no such file.
    """
    # Client would wait for ever for a file that never comes
    if scheduler_file is not None and not scheduler_file.is_file():
        raise ClusterError(
            f"{scheduler_file}: no such scheduler file: start dask scheduler --scheduler-file first"
        )
    with dask.config.set(SETTINGS):
        try:
            client = distributed.Client(
                address=scheduler,
                scheduler_file=None if scheduler_file is None else str(scheduler_file),
            )
        except (OSError, ValueError) as error:
            raise ClusterError(
                f"no Dask scheduler answers at {scheduler_file or scheduler}: check the address "
                "and that it runs"
            ) from error
        with client:
            yield client
