"""Kernels on workers: ready before a pass is timed, on those that come later, too."""

import asyncio
import logging
import uuid
from collections.abc import Sequence
from typing import Any

from distributed import Worker, WorkerPlugin

from fastgmm.executors.base import Work, warm_up

log = logging.getLogger("fastgmm")


class WarmUp(WorkerPlugin):
    """Has a worker compile or load the kernels of works before it takes tasks."""

    idempotent = True

    def __init__(self, works: Sequence[Work[Any]], weighted: bool) -> None:
        self.name = f"fastgmm-warm-up-{uuid.uuid4().hex}"
        self._works = works
        self._weighted = weighted

    async def setup(self, worker: Worker) -> None:
        """Warm up on another thread: a worker that is silent for seconds is taken for dead."""
        try:
            await asyncio.to_thread(warm_up, self._works, self._weighted)
        except Exception as error:  # the pass will meet it and say where
            log.debug("kernels are not warmed up on %s: %s", worker.address, error)
