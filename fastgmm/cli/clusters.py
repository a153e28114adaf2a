"""Where a fit runs: threads, worker processes made for it, or a Dask cluster that is there."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import click


class Place(NamedTuple):
    """Where to compute; at most one of these is given."""

    threads: int | None = None
    workers: int | None = None
    scheduler: str | None = None
    scheduler_file: Path | None = None

    @property
    def is_cluster(self) -> bool:
        """Whether a Dask client is needed."""
        return self.threads is None and any(self)


def one_place(place: Place) -> Place:
    """Return the place, or raise a usage error if several are named."""
    names = [
        "--" + name.replace("_", "-")
        for name, value in place._asdict().items()
        if value is not None
    ]
    if len(names) > 1:
        raise click.UsageError(f"{' and '.join(names)} exclude each other: choose one")
    return place


@contextmanager
def reporting(file: Path | None) -> Iterator[None]:
    """Have Dask write its report of what happens meanwhile, if there is a file for it."""
    if file is None:
        yield
        return
    from fastgmm.executors.dask import performance_report

    with performance_report(file):
        yield


def client_of(place: Place) -> AbstractContextManager[Any]:
    """Return a client of the cluster; leaving it closes what was opened for it."""
    from fastgmm.executors.dask import connected, local_workers

    if place.workers is not None:
        return local_workers(place.workers)
    return connected(place.scheduler, place.scheduler_file)
