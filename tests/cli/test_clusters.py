"""The command on a cluster: the bits of a fit on threads. More in ``tests/scripts``."""

import numpy as np
import pytest
from distributed import Client, LocalCluster

from fastgmm import GaussianMixture


@pytest.fixture
def on_threads(run, data, tmp_path):
    output = tmp_path / "threads.npz"
    run("fit", data, "-k", 2, "-o", output, "--chunk-size", 16, "--threads", 2)
    return GaussianMixture.load(output)


def test_a_cluster_that_is_there(run, data, model_file, on_threads, tmp_path):
    output, file = tmp_path / "cluster.npz", tmp_path / "scheduler.json"
    cluster = LocalCluster(
        n_workers=1, threads_per_worker=1, processes=False, protocol="tcp", dashboard_address=":0"
    )
    with cluster, Client(cluster) as client:
        client.write_scheduler_file(str(file))
        for option in (("--scheduler-file", file), ("--scheduler", cluster.scheduler_address)):
            arguments = ("fit", data, "-k", 2, "-o", output, "--chunk-size", 16, *option)
            assert run(*arguments, "--quiet").output == ""
            model = GaussianMixture.load(output)
            np.testing.assert_array_equal(model.means_, on_threads.means_)
            output.unlink()
            for command in (["predict", "--proba"], ["score", "--per-row"]):
                written = tmp_path / f"{command[0]}{option[0]}.zarr"
                run(*command, data, "-m", model_file, "-o", written, *option)
                assert len(list(written.iterdir())) == 2
        assert client.scheduler_info()["workers"]  # the cluster is left as it was
