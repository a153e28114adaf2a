"""Where a command runs: threads, worker processes made for it, or a Dask cluster that is there."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
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


def place_of(options: dict[str, Any]) -> Place:
    """Take the options that say where to compute out of a command's."""
    return Place(**{name: options.pop(name) for name in Place._fields})


def one_place(
    place: Place, performance_report: Path | None = None, persist: bool | str = "auto"
) -> Place:
    """Return the place; a usage error if several are named, or what only a cluster can do."""
    names = [
        "--" + name.replace("_", "-")
        for name, value in place._asdict().items()
        if value is not None
    ]
    if len(names) > 1:
        raise click.UsageError(f"{' and '.join(names)} exclude each other: choose one")
    asked = {"--performance-report": performance_report is not None, "--persist": persist is True}
    for option, is_asked in asked.items():
        if is_asked and not place.is_cluster:
            raise click.UsageError(
                f"{option} is Dask's: name --workers, --scheduler or --scheduler-file too"
            )
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


@contextmanager
def client_of(place: Place) -> Iterator[Any]:
    """Yield a client of the cluster, None on threads; leaving it closes what was opened for it."""
    if not place.is_cluster:
        yield None
        return
    from fastgmm.executors.dask import connected, local_workers

    if place.workers is not None:
        cluster = local_workers(place.workers)
    else:
        cluster = connected(place.scheduler, place.scheduler_file)
    with cluster as client:
        yield client


@contextmanager
def placed(model: "GaussianMixture", place: Place) -> Iterator["GaussianMixture"]:
    """Yield a model whose passes run at a place; leaving it closes what was opened for it."""
    with client_of(place) as client:
        yield model.set_client(client)
