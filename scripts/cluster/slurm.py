"""SLURM by dask-jobqueue: workers are jobs of their own, started and replaced from Python.

The program runs where it may run long (a login node that allows it, a small job, a notebook); the
jobs come and go. Each worker leaves shortly before its job ends (`--lifetime`), hands its work on,
and `adapt` queues another job for it. With `--checkpoint` the program may be stopped, too: started
again it goes on where it was. `--print` shows the job script instead of submitting it.

    python scripts/cluster/slurm.py rows.zarr model.npz --components 64 --jobs 20 --queue batch
"""

import argparse

from dask_jobqueue import SLURMCluster
from distributed import Client

from fastgmm import GaussianMixture, open_dataset

ENVIRONMENT = [
    # parallel are the workers' threads, not libraries within them
    "export OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 MKL_NUM_THREADS=1",
    # kernels are kept on each node
    'export FASTGMM_CACHE="$(dirname "$(mktemp -u)")/fastgmm-$(id -u)"',
    # a worker that is gone is given up after seconds
    "export DASK_DISTRIBUTED__COMM__TIMEOUTS__CONNECT=5s",
]


def slurm_cluster(queue: str, cores: int = 16, memory: str = "32 GiB") -> SLURMCluster:
    """Return a cluster without workers yet; its jobs last two hours, their workers a bit less."""
    return SLURMCluster(
        queue=queue,
        cores=cores,
        processes=1,
        memory=memory,
        walltime="02:00:00",
        job_script_prologue=ENVIRONMENT,
        job_extra_directives=["--requeue"],
        worker_extra_args=["--lifetime", "110m", "--lifetime-stagger", "5m"],
        local_directory="$(mktemp -d)",
    )


def main() -> None:
    """Fit on SLURM's nodes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", nargs="?")
    parser.add_argument("model", nargs="?")
    parser.add_argument("--components", type=int, default=8)
    parser.add_argument("--jobs", type=int, default=4)
    parser.add_argument("--queue", default="batch")
    parser.add_argument("--checkpoint", help="file to keep the fit in, and to go on from")
    parser.add_argument("--print", action="store_true", help="show the job script and stop")
    arguments = parser.parse_args()
    with slurm_cluster(arguments.queue) as cluster:
        if arguments.print:
            print(cluster.job_script())
            return
        if arguments.model is None:
            parser.error("name the data and the model file")
        cluster.adapt(minimum_jobs=1, maximum_jobs=arguments.jobs)
        with Client(cluster) as client:
            mixture = GaussianMixture(
                arguments.components,
                tol="statistical",
                max_iter=1000,
                checkpoint=arguments.checkpoint,
                resume=arguments.checkpoint is not None,
            )
            mixture.set_client(client).fit(open_dataset(arguments.data))
            mixture.save(arguments.model)


if __name__ == "__main__":
    main()
