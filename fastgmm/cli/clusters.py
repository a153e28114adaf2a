"""Where a command runs: threads, worker processes made for it, or a Dask cluster that is there."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import click

from fastgmm.cli.options import threads_option

if TYPE_CHECKING:
    from fastgmm.estimators import GaussianMixture

F = TypeVar("F", bound=Callable[..., Any])


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


def place_options(command: F) -> F:
    """Add the options that say where a command runs."""
    for option in (
        click.option(
            "--scheduler-file",
            type=click.Path(path_type=Path),
            help="Run on the Dask cluster that wrote this file.",
        ),
        click.option(
            "--scheduler", metavar="ADDRESS", help="Run on the Dask cluster at this address."
        ),
        click.option(
            "--workers", type=click.IntRange(min=1), help="Run on that many worker processes."
        ),
        threads_option,
    ):
        command = option(command)
    return command


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


@contextmanager
def placed(model: "GaussianMixture", place: Place) -> Iterator["GaussianMixture"]:
    """Yield a model whose passes run at a place; leaving it closes what was opened for it."""
    if not place.is_cluster:
        yield model
        return
    with client_of(place) as client:
        yield model.set_client(client)
