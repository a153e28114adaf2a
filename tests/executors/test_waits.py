"""Workers that hang: nobody waits for ever for those that get ready, or that let go."""

import os
import signal
import time
from collections.abc import Iterator

import pytest
from distributed import Client
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
