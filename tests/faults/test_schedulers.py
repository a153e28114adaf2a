"""A scheduler that dies takes its cluster with it: a fit goes on with the next one, or is kept."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import dask
import numpy as np
import pytest
from distributed import Client
from faults.scenarios import rows
from hanging import LONG, ends_within
from problems import fingerprint

from fastgmm import GaussianMixture, open_dataset
from fastgmm.exceptions import ClusterError
from fastgmm.executors.dask import holding, placement
from fastgmm.executors.dask.clients import SETTINGS
from fastgmm.progress import IterationDone, PassBegan, RowsDone

pytestmark = [
    pytest.mark.faults,
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:Best performing"),
]

SETTINGS_OF_FIT = {"n_components": 2, "max_iter": 6, "tol": 0, "random_state": 0, "chunk_size": 100}


class Cluster:
    """A scheduler and a worker, each a process of its own, on one port for all its lives."""

    def __init__(self) -> None:
        with socket.socket() as one:
            one.bind(("127.0.0.1", 0))
            self.port = one.getsockname()[1]
        self.address = f"tcp://127.0.0.1:{self.port}"
        self._running: list[subprocess.Popen[bytes]] = []

    def start(self) -> None:
        """Start both; the worker waits for its scheduler."""
        quiet = ["--no-dashboard"]
        self._run("distributed.cli.dask_scheduler", "--port", str(self.port), *quiet)
        self._run("distributed.cli.dask_worker", self.address, "--nthreads", "1", *quiet)

    def _run(self, module: str, *arguments: str) -> None:
        self._running.append(
            subprocess.Popen(
                [sys.executable, "-m", module, "--host", "127.0.0.1", *arguments],
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
            )
        )

    def kill_scheduler(self) -> None:
        """Kill -9 it; the worker notices."""
        self._running[0].kill()
        self._running[0].wait()

    def stop(self) -> None:
        """Kill all that is left, nannies' children too."""
        for process in self._running:
            try:
                os.killpg(process.pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
            process.wait()
        self._running.clear()


@pytest.fixture
def lone() -> Iterator[Cluster]:
    cluster = Cluster()
    cluster.start()
    with Client(cluster.address, timeout=240, set_as_default=False) as client:
        client.wait_for_workers(1, timeout=240)
    with dask.config.set(SETTINGS):
        yield cluster
    cluster.stop()


@pytest.fixture
def data(tmp_path: Path) -> Path:
    np.save(tmp_path / "rows.npy", rows())
    return tmp_path / "rows.npy"


def once_in_pass(n: int, act: object) -> object:
    """Return an observer that does something in the midst of the n-th pass of EM."""
    passes: list[int] = []

    def watch(event: object) -> None:
        if isinstance(event, PassBegan) and event.name == "iteration":
            passes.append(0)
        if isinstance(event, RowsDone) and len(passes) == n:
            passes.append(0)
            act()

    return watch


@pytest.fixture(autouse=True)
def _many_tasks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Passes of several tasks, so that there is a midst of them."""
    monkeypatch.setattr(placement, "RANGE_SECONDS", 1e-9)


@pytest.fixture(autouse=True)
def _ends() -> Iterator[None]:
    """A fit that hangs is an error."""
    with ends_within():
        yield


def test_a_fit_goes_on_with_a_scheduler_that_is_started_again(
    lone: Cluster, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # a busy machine takes its time to start processes
    monkeypatch.setattr(holding, "RECOVERY", float(LONG))
    expected = fingerprint(GaussianMixture(**SETTINGS_OF_FIT, n_threads=1).fit(data))

    def replace() -> None:
        lone.kill_scheduler()
        lone.stop()
        lone.start()

    with Client(lone.address, timeout=LONG, set_as_default=False) as client:
        model = GaussianMixture(**SETTINGS_OF_FIT).set_client(client)
        model.set_callbacks(once_in_pass(3, replace)).fit(data)
        assert fingerprint(model) == expected


@pytest.mark.parametrize("when", ["midst", "end"])
def test_a_fit_outlives_a_client_that_gives_its_scheduler_up(
    lone: Cluster, data: Path, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    if when == "end":  # of a pass of one task
        monkeypatch.setattr(placement, "RANGE_SECONDS", 1e9)
    monkeypatch.setattr(holding, "RECOVERY", 240.0)
    expected = fingerprint(GaussianMixture(**SETTINGS_OF_FIT, n_threads=1).fit(data))

    with Client(lone.address, timeout=5, set_as_default=False) as client:

        def replace() -> None:
            lone.kill_scheduler()
            while client.status != "closed":
                time.sleep(0.1)
            lone.stop()
            lone.start()

        model = GaussianMixture(**SETTINGS_OF_FIT).set_client(client)
        model.set_callbacks(once_in_pass(3, replace)).fit(data)
        assert fingerprint(model) == expected


def test_a_fit_that_lost_its_cluster_is_resumed_on_another(
    lone: Cluster, data: Path, two_workers: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = {**SETTINGS_OF_FIT, "checkpoint": data.with_suffix(".ckpt"), "resume": True}
    expected = fingerprint(GaussianMixture(**SETTINGS_OF_FIT, n_threads=1).fit(data))
    done: list[int] = []

    def count(event: object) -> None:
        if isinstance(event, IterationDone):
            done.append(event.iteration)

    with Client(lone.address, timeout=LONG, set_as_default=False) as client:

        def kill_for_good() -> None:
            monkeypatch.setattr(holding, "RECOVERY", 2.0)
            lone.kill_scheduler()

        model = GaussianMixture(**kept, checkpoint_interval=1e9).set_client(client)
        client.wait_for_workers(1)
        model.set_callbacks(once_in_pass(3, kill_for_good), count)
        with pytest.raises(ClusterError, match="cannot be reached") as lost:
            model.fit(data)
        assert "rows.ckpt: fit again with resume=True" in lost.value.__notes__[0]
        monkeypatch.undo()
        again = GaussianMixture(**kept).set_client(two_workers).set_callbacks(count)
        assert fingerprint(again.fit(open_dataset(data))) == expected
        assert done == [1, 2, 3, 4, 5, 6], "what was done before is done again"
