"""Which executor a source gets."""

import sys
from typing import Any

from fastgmm.executors.base import Executor
from fastgmm.executors.threads import ThreadExecutor
from fastgmm.sources import Source


def check_client(client: Any) -> None:
    """Raise TypeError unless this is a Dask client, or None."""
    if client is None:
        return
    if "distributed" in sys.modules:
        from fastgmm.executors.dask import is_client

        if is_client(client):
            return
    raise TypeError(f"client must be a distributed.Client or None, but {client!r} is neither")


def executor_for(
    source: Source, n_threads: int | None, client: Any = None, persist: bool | str = "auto"
) -> Executor:
    """Return the cluster for files and Dask collections if there is one, else threads.

    Rows in this process's memory stay in this process: sending them costs more than a pass.
    """
    if source.reads_files:
        if client is None and "distributed" in sys.modules:
            from fastgmm.executors.dask import active_client

            client = active_client()
        if client is not None:
            from fastgmm.executors.dask import DaskExecutor

            return DaskExecutor(client, persist)
    return ThreadExecutor(n_threads)
