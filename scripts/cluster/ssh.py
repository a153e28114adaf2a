"""Machines that you can log in to by SSH: Dask starts a scheduler and workers on them.

The first host gets the scheduler, all others workers; name one twice to have both on it. All have
the same Python at the same place and see the same files. Everything ends with the program.

    python scripts/cluster/ssh.py rows.zarr model.npz --hosts node1,node1,node2,node3
"""

import argparse
import os
import sys
import tempfile
from typing import Any

import dask
from distributed import Client, SSHCluster

from fastgmm import GaussianMixture, open_dataset

ENVIRONMENT = {
    # parallel are the workers' threads, not libraries within them
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    # kernels are kept on each node
    "FASTGMM_CACHE": os.path.join(tempfile.gettempdir(), f"fastgmm-{os.getuid()}"),
}
CONNECT_TIMEOUT = "5s"
"""A worker that is gone is given up after seconds."""


def arguments_of_cluster(hosts: list[str], threads: int) -> dict[str, Any]:
    """Return what ``SSHCluster`` is called with."""
    return {
        "hosts": hosts,
        "connect_options": {},
        "worker_options": {"nthreads": threads, "n_workers": 1},
        "scheduler_options": {"port": 0, "dashboard_address": ":0"},
        "remote_python": sys.executable,
    }


def settings() -> dict[str, Any]:
    """Return Dask's settings, which SSHCluster takes along to the other machines."""
    before_start = "distributed.nanny.pre-spawn-environ"
    return {
        "distributed.comm.timeouts.connect": CONNECT_TIMEOUT,
        before_start: {**dask.config.get(before_start), **ENVIRONMENT},
    }


def main() -> None:
    """Fit on several machines."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data")
    parser.add_argument("model")
    parser.add_argument("--hosts", required=True, help="names, separated by commas")
    parser.add_argument("--threads", type=int, default=8, help="threads of each worker")
    parser.add_argument("--components", type=int, default=8)
    arguments = parser.parse_args()
    hosts = arguments.hosts.split(",")
    with (
        dask.config.set(settings()),
        SSHCluster(**arguments_of_cluster(hosts, arguments.threads)) as cluster,
        Client(cluster) as client,
    ):
        mixture = GaussianMixture(arguments.components, tol="statistical", max_iter=1000)
        mixture.set_client(client).fit(open_dataset(arguments.data))
        mixture.save(arguments.model)


if __name__ == "__main__":
    main()
