"""Workers that hang: nobody waits for ever for those that get ready, or that let go."""

import asyncio
import os
import signal
import time
from collections.abc import Iterator
from typing import Any

import pytest
from distributed import Client, Worker
from hanging import ends_within

from fastgmm.executors.dask import holding

PATIENCE = 0.2


@pytest.fixture
def hanging(client: Client) -> Iterator[int]:
    """A worker that does nothing, and goes on afterwards."""
    worker = next(iter(client.run(os.getpid).values()))
    os.kill(worker, signal.SIGSTOP)
    try:
        with ends_within():
            yield worker
    finally:
        os.kill(worker, signal.SIGCONT)


def hear_of_removal_first(dask_worker: Worker) -> None:
    """Have a worker hear of the first plugin only when it has been told to remove it."""
    add, remove = dask_worker.handlers["plugin-add"], dask_worker.handlers["plugin-remove"]
    removed = asyncio.Event()

    async def late_add(**message: Any) -> Any:
        await removed.wait()
        return await add(**message)

    async def early_remove(**message: Any) -> Any:
        dask_worker.handlers.update({"plugin-add": add, "plugin-remove": remove})
        try:
            return await remove(**message)
        finally:
            removed.set()

    dask_worker.handlers.update({"plugin-add": late_add, "plugin-remove": early_remove})


def plugins(client: Client) -> set[str]:
    """Return the plugins of ours that workers have."""
    found = client.run(lambda dask_worker: [*map(str, dask_worker.plugins)])
    return {name for names in found.values() for name in names if name.startswith("fastgmm")}


def test_a_worker_that_hangs_is_not_waited_for(
    client: Client, hanging: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(holding, "WARM_UP_PATIENCE", PATIENCE)
    monkeypatch.setattr(holding, "COOL_DOWN_PATIENCE", PATIENCE)
    cluster = holding.Cluster(client)
    cluster.warm_up([], weighted=False)
    cluster.close()
    os.kill(hanging, signal.SIGCONT)
    with ends_within():  # a worker that was asked while it hung keeps no plugin
        while plugins(client):
            time.sleep(0.02)


def test_a_worker_may_hear_of_a_plugin_after_its_removal(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(holding, "WARM_UP_PATIENCE", PATIENCE)
    client.run(hear_of_removal_first)
    cluster = holding.Cluster(client)
    with ends_within():
        cluster.warm_up([], weighted=False)
        cluster.close()
        while plugins(client):
            time.sleep(0.02)
