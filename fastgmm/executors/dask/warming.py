"""Kernels on workers: ready before a pass is timed, on those that come later, too."""

import asyncio
import logging
import uuid
from collections.abc import Sequence
from typing import Any

from distributed import Worker, WorkerPlugin

from fastgmm.executors.base import Work, warm_up

SCARCE_BYTES = 2**30
"""A worker with less memory leaves compiling, 100 to 200 MB, to a process beside it, which takes a
second more for each kernel."""

log = logging.getLogger("fastgmm")


def compile_within_limit(worker: Worker) -> None:
    """Have kernels compiled by another process if that may take more memory than a worker has."""
    limit = worker.memory_manager.memory_limit
    if limit is not None and limit < SCARCE_BYTES:
        from fastgmm._jit import spare_memory

        spare_memory()


class WarmUp(WorkerPlugin):
    """Has a worker compile or load the kernels of works before it takes tasks."""

    idempotent = True

    def __init__(self, works: Sequence[Work[Any]], weighted: bool) -> None:
        self.name = f"fastgmm-warm-up-{uuid.uuid4().hex}"
        self._works = works
        self._weighted = weighted

    async def setup(self, worker: Worker) -> None:
        """Warm up on another thread: a worker that is silent for seconds is taken for dead."""
        compile_within_limit(worker)
        try:
            await asyncio.to_thread(warm_up, self._works, self._weighted)
        except Exception as error:  # the pass will meet it and say where
            log.debug("kernels are not warmed up on %s: %s", worker.address, error)
