"""Where a fit runs: a Dask cluster that is there already, or one made for it."""

from collections.abc import Iterator
from contextlib import contextmanager
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
def client_of(place: Place) -> Iterator[Any]:
    """Yield a client of the cluster, and close what was opened for it."""
    import distributed

    if place.workers is not None:
        from fastgmm.executors.threads import available_threads

        threads = max(1, available_threads() // place.workers)
        with (
            distributed.LocalCluster(
                n_workers=place.workers, threads_per_worker=threads, dashboard_address=None
            ) as cluster,
            distributed.Client(cluster) as client,
        ):
            yield client
        return
    with _connect(place) as client:
        yield client


def _connect(place: Place) -> Any:
    import distributed

    if place.scheduler_file is not None:
        # Client would wait for ever for a file that never comes
        if not place.scheduler_file.is_file():
            raise click.ClickException(f"{place.scheduler_file}: no such scheduler file")
        where = str(place.scheduler_file)
    else:
        where = str(place.scheduler)
    try:
        return distributed.Client(address=place.scheduler, scheduler_file=place.scheduler_file)
    except (OSError, ValueError) as error:
        raise click.ClickException(
            f"no Dask scheduler answers at {where}: check the address and that it runs"
        ) from error
