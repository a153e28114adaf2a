"""Kernels on workers: ready before a pass is timed, on those that come later, too."""

import asyncio
import logging
import sys
import uuid
from collections.abc import Sequence
from typing import Any

from distributed import Worker, WorkerPlugin

from fastgmm.executors.base import Work, warm_up

SCARCE_BYTES = 2**30
"""A worker with less memory leaves compiling, 100 to 200 MB, to a process beside it, which takes a
second more for each kernel, and changes Arrow's memory pool."""

log = logging.getLogger("fastgmm")


def live_within_limit(worker: Worker) -> None:
    """Have kernels compiled and files read with little memory if a worker has little."""
    limit = worker.memory_manager.memory_limit
    if limit is None or limit >= SCARCE_BYTES:
        return
    from fastgmm import _jit

    _jit.spare_memory()
    parquet = sys.modules.get("fastgmm.sources.parquet")  # not for other files' sake: 25 MB
    if parquet is not None:
        parquet.spare_memory()


class WarmUp(WorkerPlugin):
    """Has a worker compile or load the kernels of works before it takes tasks."""

    idempotent = True

    def __init__(self, works: Sequence[Work[Any]], weighted: bool) -> None:
        self.name = f"fastgmm-warm-up-{uuid.uuid4().hex}"
        self._works = works
        self._weighted = weighted

    async def setup(self, worker: Worker) -> None:
        """Warm up on another thread: a worker that is silent for seconds is taken for dead."""
        live_within_limit(worker)
        try:
            await asyncio.to_thread(warm_up, self._works, self._weighted)
        except Exception as error:  # the pass will meet it and say where
            log.debug("kernels are not warmed up on %s: %s", worker.address, error)


async def without_plugin(name: str, dask_worker: Worker) -> None:
    """Take a plugin from a worker that has it."""
    if name in dask_worker.plugins:
        await dask_worker.plugin_remove(name=name)
