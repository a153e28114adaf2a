"""A driver that is killed leaves its cluster as it was, and a checkpoint that is whole."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from distributed import Client
from faults.scenarios import rows
from hanging import ends_within
from problems import fingerprint

from fastgmm import GaussianMixture

pytestmark = [
    pytest.mark.faults,
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:Best performing"),
]

SETTINGS = {"n_components": 2, "max_iter": 40, "tol": 0, "random_state": 0, "chunk_size": 100}

DRIVER = """
import sys
from distributed import Client
from fastgmm import GaussianMixture, checkpoint

checkpoint.TIME_SHARE = 1e9  # written at every step, however slow the disk
address, data, path = sys.argv[1:]
with Client(address) as client:
    model = GaussianMixture({settings}, checkpoint=path, checkpoint_interval=0, resume=True)
    model.set_callbacks(lambda event: print(type(event).__name__, flush=True)).fit(data)
""".format(settings=", ".join(f"{name}={value!r}" for name, value in SETTINGS.items()))


def tasks_of(client: Client) -> list[str]:
    """Return the scheduler's tasks that are ours."""
    keys = client.run_on_scheduler(lambda dask_scheduler: [*map(str, dask_scheduler.tasks)])
    return [key for key in keys if key.startswith("fastgmm")]


def test_killed_in_a_pass_on_a_cluster(two_workers: Client, tmp_path: Path) -> None:
    data, path = tmp_path / "rows.npy", tmp_path / "fit.ckpt"
    np.save(data, rows())
    command = [sys.executable, "-c", DRIVER, two_workers.scheduler.address, str(data), str(path)]
    for n_events in (40, 70, 101):  # of about 20 a pass
        with subprocess.Popen(command, stdout=subprocess.PIPE) as driver:
            assert driver.stdout is not None
            told = [driver.stdout.readline() for _ in range(n_events)]
            driver.send_signal(signal.SIGKILL)
        assert all(told), "the fit has ended before it could be killed"
    with ends_within():  # the scheduler notices that its client has gone
        while tasks_of(two_workers):
            time.sleep(0.05)
    resumed: list[int] = []

    def watch(event: object) -> None:
        if type(event).__name__ == "ModelResumed":
            resumed.append(len(event.lower_bounds))

    kept = GaussianMixture(**SETTINGS, checkpoint=path, resume=True).set_callbacks(watch)
    kept.set_client(two_workers).fit(data)
    assert resumed[0] > 0
    expected = GaussianMixture(**SETTINGS, n_threads=1).fit(data)
    assert fingerprint(kept) == fingerprint(expected)
    assert {file.name for file in tmp_path.iterdir()} == {"rows.npy", "fit.ckpt"}
