"""Recipes for clusters: what can run here runs, the rest is rendered, parsed and played through."""

import inspect
import os
import runpy
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import yaml
import zarr
from distributed import SSHCluster
from distributed.deploy.ssh import Scheduler, Worker
from hanging import LONG

from fastgmm import GaussianMixture
from fastgmm._jit import kernel_cache_folder

RECIPES = Path(__file__).parents[2] / "scripts" / "cluster"
BASH = ["local-workers", "scheduler-address", "scheduler-file", "slurm.sbatch"]
ENVIRONMENT = [
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "FASTGMM_CACHE",
]
CONNECT_TIMEOUT = "DASK_DISTRIBUTED__COMM__TIMEOUTS__CONNECT"


def environment(**more: str) -> dict[str, str]:
    """The interpreter of this test first in the path, and this checkout."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    return {**os.environ, "PATH": path, "PYTHONPATH": str(RECIPES.parents[1]), **more}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.mark.parametrize(
    "recipe",
    [
        "local-workers",
        pytest.param("scheduler-address", marks=pytest.mark.slow),
        pytest.param("scheduler-file", marks=pytest.mark.slow),
    ],
)
def test_a_recipe_runs_with_worker_processes(tmp_path: Path, recipe: str) -> None:
    """A fit by two of them has the bits of one on threads; predictions are written by one."""
    rows = np.random.default_rng(0).normal(size=(500, 2))
    rows[:100] += 8.0
    np.save(tmp_path / "rows.npy", rows)
    model = GaussianMixture(2, random_state=0, tol="statistical", max_iter=1000, chunk_size=100)
    model.fit(rows).save(tmp_path / "model.npz")
    fits = recipe == "local-workers"
    if fits:
        arguments = ["fit", "rows.npy", "-k2", "--chunk-size=100", "-q", "-o", "fitted.npz"]
    else:
        arguments = ["predict", "rows.npy", "-m", "model.npz", "-o", "labels.zarr"]
    kernels = kernel_cache_folder()
    assert kernels is not None
    (tmp_path / "scratch").mkdir()
    result = subprocess.run(
        [RECIPES / recipe, *arguments],
        cwd=tmp_path,
        env=environment(
            PORT=str(free_port()),
            WORKERS="2" if fits else "1",
            TMPDIR=str(tmp_path / "scratch"),
            FASTGMM_CACHE=str(kernels.parents[1]),  # compiled by other tests
        ),
        capture_output=True,
        text=True,
        timeout=LONG,
    )
    assert result.returncode == 0, result.stderr
    if fits:
        fitted = GaussianMixture.load(tmp_path / "fitted.npz")
        np.testing.assert_array_equal(fitted.means_, model.means_)
        np.testing.assert_array_equal(fitted.covariances_, model.covariances_)
    else:
        labels = zarr.open_array(tmp_path / "labels.zarr", mode="r")[:]
        np.testing.assert_array_equal(labels, model.predict(rows))
    left = {path.name.partition("-")[0] for path in (tmp_path / "scratch").iterdir()}
    assert left <= {"fastgmm", "dask"}  # what is kept between runs


@pytest.mark.parametrize("recipe", BASH)
def test_bash_recipes_are_sound(recipe: str) -> None:
    subprocess.run(["bash", "-n", RECIPES / recipe], check=True)
    found = subprocess.run(
        [Path(sys.executable).parent / "shellcheck", RECIPES / recipe],
        capture_output=True,
        text=True,
    )
    assert found.returncode == 0, found.stdout
    text = (RECIPES / recipe).read_text()
    assert all(name in text for name in (*ENVIRONMENT, CONNECT_TIMEOUT))
    assert os.access(RECIPES / recipe, os.X_OK)


STUBS = {
    "dask": """
        [ "$1" = scheduler ] && echo "{}" > "$3"
        echo "dask $*" >> "$LOG"
        exec sleep 60
    """,
    "srun": """
        echo "srun $*" >> "$LOG"
        exec sleep 60
    """,
    "scontrol": 'echo "scontrol $*" >> "$LOG"',
    "fastgmm": """
        echo "fastgmm $*" >> "$LOG"
        while [ "$1" != --checkpoint ]; do shift; done
        touch "$2"
        [ "$CODE" != TERM ] && exit "$CODE"
        trap 'exit 143' TERM
        echo ready >> "$LOG"
        while :; do sleep 0.1; done
    """,
}
"""What SLURM's commands and ours are to the job script, which leave a note."""


@pytest.mark.parametrize("code", [0, 3, 4, 143])
def test_the_slurm_job_requeues_itself_when_time_is_up(tmp_path: Path, code: int) -> None:
    """With a model or an error it is over; stopped by --max-seconds or SIGTERM it goes on."""
    log = tmp_path / "log"
    for name, text in STUBS.items():
        (tmp_path / name).write_text("#!/usr/bin/env bash\n" + text)
        (tmp_path / name).chmod(0o755)
    slurm = {
        "SLURM_SUBMIT_DIR": str(tmp_path),
        "SLURM_JOB_ID": "17",
        "SLURM_JOB_NUM_NODES": "4",
        "SLURM_CPUS_PER_TASK": "16",
        "SLURM_JOB_END_TIME": str(int(time.time()) + 7200),
        "LOG": str(log),
        "CODE": "TERM" if code == 143 else str(code),
    }
    path = os.pathsep.join([str(tmp_path), os.environ["PATH"]])
    job = subprocess.Popen(
        [RECIPES / "slurm.sbatch", "rows.zarr", "-k", "8", "-o", "model.npz"],
        env={**os.environ, "PATH": path, **slurm},
    )
    if code == 143:
        while not log.exists() or "ready" not in log.read_text():
            assert job.poll() is None
            time.sleep(0.05)
        job.send_signal(signal.SIGTERM)  # what --signal=B:TERM@120 sends
    assert job.wait(timeout=LONG) == code
    calls = log.read_text().splitlines()
    (fit,) = [call for call in calls if call.startswith("fastgmm ")]
    assert fit.startswith("fastgmm fit rows.zarr -k 8 -o model.npz --scheduler-file ")
    assert "--resume --max-seconds 6" in fit  # 7200 s less five minutes and a little
    assert ("scontrol requeue 17" in calls) == (code in (3, 143))
    assert (tmp_path / "fastgmm-17.checkpoint").exists() == (code != 0)
    assert not (tmp_path / ".fastgmm-17").exists()
    (workers,) = [call for call in calls if call.startswith("srun ")]
    for words in ("--ntasks=4", "--nthreads 16", "--lifetime 7", "--lifetime-stagger 30s"):
        assert words in workers


def test_directives_of_the_slurm_job() -> None:
    lines = (RECIPES / "slurm.sbatch").read_text().splitlines()
    directives = dict(
        line.removeprefix("#SBATCH --").partition("=")[::2]
        for line in lines
        if line.startswith("#SBATCH")
    )
    assert directives["signal"] == "B:TERM@120"
    assert "requeue" in directives
    assert directives["open-mode"] == "append"
    first_command = next(i for i, line in enumerate(lines) if line and line[0] != "#")
    assert not any(line.startswith("#SBATCH") for line in lines[first_command:])


def test_dask_jobqueue_renders_a_job_script() -> None:
    result = subprocess.run(
        [sys.executable, RECIPES / "slurm.py", "--print", "--queue", "long"],
        env=environment(),
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr
    script = result.stdout
    subprocess.run(["bash", "-n"], input=script, text=True, check=True)
    directives = ["-p long", "--cpus-per-task=16", "--mem=32G", "-t 02:00:00", "--requeue"]
    assert all(f"#SBATCH {directive}" in script for directive in directives)
    assert all(f"{name}=" in script for name in (*ENVIRONMENT, CONNECT_TIMEOUT))
    assert "--lifetime 110m --lifetime-stagger 5m" in script


def test_ssh_clusters_take_the_arguments() -> None:
    recipe = runpy.run_path(str(RECIPES / "ssh.py"))
    arguments = recipe["arguments_of_cluster"](["a", "a", "b"], 8)
    inspect.signature(SSHCluster).bind(**arguments)
    assert {"hosts", "worker_options", "scheduler_options", "connect_options"} <= {
        name
        for name, parameter in inspect.signature(SSHCluster).parameters.items()
        if parameter.kind is not parameter.VAR_KEYWORD
    }
    options = arguments["worker_options"]
    inspect.signature(Worker.__init__).bind(
        None, scheduler="tcp://a:1", address="b", connect_options={}, kwargs=options
    )
    inspect.signature(Scheduler.__init__).bind(
        None, address="a", connect_options={}, kwargs=arguments["scheduler_options"]
    )
    from distributed import Nanny
    from distributed import Scheduler as DaskScheduler

    assert "nthreads" in inspect.signature(Nanny.__init__).parameters
    scheduler_parameters = inspect.signature(DaskScheduler.__init__).parameters
    assert arguments["scheduler_options"].keys() <= scheduler_parameters.keys()
    settings = recipe["settings"]()
    assert settings["distributed.comm.timeouts.connect"] == "5s"
    assert set(ENVIRONMENT) <= settings["distributed.nanny.pre-spawn-environ"].keys()


def test_the_kubernetes_recipe_has_what_the_operator_requires() -> None:
    """The required fields of the operator's resource definitions, and references that hold."""
    (job,) = yaml.safe_load_all((RECIPES / "kubernetes.yaml").read_text())
    assert (job["apiVersion"], job["kind"]) == ("kubernetes.dask.org/v1", "DaskJob")
    assert set(job["spec"]) == {"job", "cluster"}
    cluster = job["spec"]["cluster"]["spec"]
    assert set(cluster) == {"worker", "scheduler"}
    assert cluster["worker"]["replicas"] > 0
    pods = {
        "job": job["spec"]["job"]["spec"],
        "worker": cluster["worker"]["spec"],
        "scheduler": cluster["scheduler"]["spec"],
    }
    for name, pod in pods.items():
        (container,) = pod["containers"]
        assert container["name"] == name
        assert container["image"] == pods["job"]["containers"][0]["image"]
        variables = {variable["name"]: variable["value"] for variable in container["env"]}
        assert variables.keys() >= {*ENVIRONMENT, CONNECT_TIMEOUT}
        assert all(isinstance(value, str) for value in variables.values())
        mounted = {mount["name"] for mount in container.get("volumeMounts", [])}
        assert mounted == {volume["name"] for volume in pod.get("volumes", [])}
    service = cluster["scheduler"]["service"]
    assert service["selector"]["dask.org/cluster-name"] == job["metadata"]["name"]
    named = {port["name"]: port for port in pods["scheduler"]["containers"][0]["ports"]}
    for port in service["ports"]:
        assert named[port["targetPort"]]["containerPort"] == port["port"]
    assert {"tcp-comm", "http-dashboard"} == named.keys()  # names that the operator looks for
    command = pods["job"]["containers"][0]["args"]
    assert command[:2] == ["sh", "-c"]
    assert '--scheduler "$DASK_SCHEDULER_ADDRESS"' in command[2]
    assert "--checkpoint" in command[2]
    assert "--resume" in command[2]
