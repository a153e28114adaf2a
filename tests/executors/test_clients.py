"""Clients: made, connected, or refused in one sentence."""

import socket
from pathlib import Path

import numpy as np
import pytest
from distributed import Client

from fastgmm import GaussianMixture
from fastgmm.exceptions import ClusterError
from fastgmm.executors.dask import active_client, clients, connected, local_workers


def test_worker_processes_end_with_their_client() -> None:
    with local_workers(1) as client:
        assert active_client() is client
        assert len(client.scheduler_info()["workers"]) == 1
    assert client.status == client.cluster.status.name == "closed"
    assert active_client() is None


def test_a_cluster_stays_when_its_client_goes(one_worker: Client, tmp_path: Path) -> None:
    file = tmp_path / "scheduler.json"
    one_worker.write_scheduler_file(str(file))
    with connected(scheduler_file=file) as client:
        assert client.submit(sum, [1, 2]).result() == 3
    with connected(one_worker.scheduler.address) as client:
        assert client.submit(sum, [1, 2, 3]).result() == 6
    assert one_worker.submit(sum, [4, 5]).result() == 9


def test_a_dead_address_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # it will not answer later either
    monkeypatch.setitem(clients.SETTINGS, "distributed.comm.timeouts.connect", "500ms")
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))  # taken, but nobody listens
        address = f"tcp://127.0.0.1:{closed.getsockname()[1]}"
        file = tmp_path / "scheduler.json"
        file.write_text(f'{{"address": "{address}"}}')
        with pytest.raises(ClusterError, match=f"answers at {address}: check"), connected(address):
            pass
        with (
            pytest.raises(ClusterError, match=r"scheduler\.json.*: check the address"),
            connected(scheduler_file=file),
        ):
            pass


@pytest.mark.parametrize("content", ["", "{", "{}", "[]", '"text"'])
def test_a_damaged_scheduler_file_is_named(tmp_path: Path, content: str) -> None:
    file = tmp_path / "scheduler.json"
    file.write_text(content)
    with (
        pytest.raises(ClusterError, match=r"scheduler\.json is not the file"),
        connected(scheduler_file=file),
    ):
        pass


def test_a_missing_scheduler_file_is_named(tmp_path: Path) -> None:
    with (
        pytest.raises(ClusterError, match=r"none\.json cannot be read"),
        connected(scheduler_file=tmp_path / "none.json"),
    ):
        pass


def test_a_client_that_is_closed_already_is_refused_at_once(two_workers, tmp_path):
    client = Client(two_workers.scheduler.address, set_as_default=False)
    model = GaussianMixture(2).set_client(client)
    client.close()
    np.save(tmp_path / "rows.npy", np.arange(20.0).reshape(10, 2))
    with pytest.raises(ClusterError, match="client is closed"):
        model.fit(tmp_path / "rows.npy")
