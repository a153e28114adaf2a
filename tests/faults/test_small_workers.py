"""Workers whose memory is less than their shards: they read these block by block."""

import os
from pathlib import Path

import numpy as np
import pytest
from clusters import cluster
from problems import fingerprint

from fastgmm import GaussianMixture, open_dataset
from fastgmm.executors.dask import placing

pytestmark = [
    pytest.mark.faults,
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:Best performing"),
]


def test_a_shard_larger_than_its_worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(placing, "SHARDS_PER_THREAD", 1)
    monkeypatch.setattr(placing, "SHARD_BYTES", 2**40)
    # 1 GB in one shard of one worker that may have half of it, 0.2 GB of that for its libraries
    piece = np.random.default_rng(0).normal(size=(2**20, 2))
    piece[::2] += 4.0
    with (tmp_path / "rows.npy").open("wb") as file:
        np.lib.format.write_array_header_1_0(
            file, {"descr": "<f8", "fortran_order": False, "shape": (64 * len(piece), 2)}
        )
        for _ in range(64):
            file.write(piece.tobytes())
    settings = {"n_components": 2, "max_iter": 2, "tol": 0, "random_state": 0}
    rows = open_dataset(tmp_path / "rows.npy")
    expected = fingerprint(GaussianMixture(**settings).fit(rows))
    with cluster(1, memory_limit="512MiB") as client:
        before = client.run(os.getpid)
        model = GaussianMixture(**settings).set_client(client).fit(rows)
        assert client.run(os.getpid) == before, "the worker was killed for its memory"
    assert fingerprint(model) == expected
