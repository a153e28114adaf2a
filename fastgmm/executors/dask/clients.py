"""Clients: the one in use, one of worker processes made for a fit, one of a cluster elsewhere."""

import json
import logging
import signal
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from importlib.util import find_spec
from multiprocessing import resource_tracker
from pathlib import Path
from typing import Any, TypeAlias

import dask
import distributed

from fastgmm.atomic_file import atomic_file
from fastgmm.exceptions import ClusterError
from fastgmm.executors.limits import available_threads

Client: TypeAlias = Any

log = logging.getLogger("fastgmm")

SETTINGS = {"distributed.comm.timeouts.connect": "5s"}
"""Dask's own 30 s are what a worker waits for another that is gone, and a user to be told that the
address is wrong."""

QUIET = {
    "distributed.nanny.pre-spawn-environ.DASK_DISTRIBUTED__LOGGING__DISTRIBUTED": "critical",
}
"""What workers log themselves: their tasks' errors are the fit's, and connections that end with it
are no news (Ctrl-C left a traceback of a heartbeat above the last line, now and then)."""


def active_client() -> Client | None:
    """Return the client in use, or None; inside a task its worker's."""
    with suppress(ValueError):
        return distributed.get_client() if inside_task() else distributed.Client.current()
    return None


def is_client(value: Any) -> bool:
    """Return whether this is a client."""
    return isinstance(value, distributed.Client)


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
    with dask.config.set(SETTINGS), ExitStack() as opened:
        with _deaf_children(), dask.config.set(QUIET):
            cluster = _started(n_workers, threads)
            # before a Ctrl-C that has waited is heard
            opened.enter_context(closing_in_the_end(cluster))
        yield opened.enter_context(distributed.Client(cluster))


def _started(n_workers: int, n_threads: int) -> Any:
    """Return a new local cluster, made on a thread of its own, which no signal interrupts.

    One that is half made cannot be closed: it ends with tracebacks when the process does.
    """
    with ThreadPoolExecutor(1, thread_name_prefix="fastgmm") as pool:
        cluster = pool.submit(
            distributed.LocalCluster,
            n_workers=n_workers,
            threads_per_worker=n_threads,
            dashboard_address=":0",
        )
        try:
            return cluster.result()
        except BaseException:
            if cluster.exception() is None:  # there is one, but nobody who waits for it any more
                cluster.result().close()
            raise


@contextmanager
def closing_in_the_end(cluster: Any) -> Iterator[None]:
    """Close a local cluster afterwards, however long its workers take to end.

    On a busy machine they take longer than the 5 s that Dask waits before and after it kills them;
    all work is done, and nothing that this process has started outlives it.
    """
    try:
        yield
    finally:
        try:
            cluster.close()
        except TimeoutError as error:
            log.debug("a worker process has not ended in time: %s", error)
            cluster.status = distributed.Status.closed


@contextmanager
def _deaf_children() -> Iterator[None]:
    """Let processes started meanwhile not hear Ctrl-C, which a terminal sends to all of them.

    Whoever started them stops them; by themselves they would die with a traceback each. They
    inherit what this thread, and those that it starts, hold up; here it is heard afterwards.
    (Ignored meanwhile, it was lost: a fit that should have ended went on.)
    """
    resource_tracker.ensure_running()  # or it is started meanwhile, and lets the signal through
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def connected(scheduler: str | None = None, scheduler_file: Path | None = None) -> Iterator[Client]:
    """Yield a client of the cluster at an address, or of the one that wrote a file.

    Raises
    ------
    ClusterError
        No scheduler answers within seconds, or there is no such file.
    """
    address = scheduler if scheduler_file is None else _address_in(scheduler_file)
    with dask.config.set(SETTINGS):
        try:
            client = distributed.Client(address)
        except (OSError, ValueError) as error:
            where = "" if scheduler_file is None else f" (from {scheduler_file})"
            raise ClusterError(
                f"no Dask scheduler answers at {address}{where}: check the address and that it runs"
            ) from error
        with client:
            yield client


@contextmanager
def performance_report(file: Path) -> Iterator[None]:
    """Write Dask's report of what the active client does meanwhile to an HTML file.

    Raises
    ------
    ClusterError
        Bokeh, which draws it, is not installed.

    Warns
    -----
    UserWarning
        The report cannot be written: no reason to lose what it reports of.
    """
    if find_spec("bokeh") is None:
        raise ClusterError("a performance report needs Bokeh: pip install fastgmm[dashboard]")
    is_done = False
    try:
        with atomic_file(file) as temporary, distributed.performance_report(filename=temporary):
            yield
            is_done = True
    except OSError as error:
        if not is_done:
            raise
        warnings.warn(f"{file} is not written: {error.strerror or error}", stacklevel=3)


def _address_in(scheduler_file: Path) -> str:
    # Client would wait for ever for a file that never comes, and fail an assertion at a damaged one
    try:
        address: str = json.loads(scheduler_file.read_text())["address"]
    except OSError as error:
        raise ClusterError(
            f"{scheduler_file} cannot be read ({error.strerror}): start a scheduler with "
            "--scheduler-file, or wait until it has written the file"
        ) from error
    except (ValueError, KeyError, TypeError) as error:
        raise ClusterError(
            f"{scheduler_file} is not the file of a Dask scheduler: name the one given to "
            "dask scheduler --scheduler-file"
        ) from error
    return address
