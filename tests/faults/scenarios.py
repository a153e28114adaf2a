"""What may happen to a cluster while a fit runs on it; each must leave the bits as they are.

Used by the tests beside it and by ``scripts/fault-table``. Which test shows that a fault does no
harm (without a file's name: a scenario below):

========================================= ==========================================================
kill -9 of a worker in the load           "kill -9 in the load"
... in an E-step                          "kill -9 in an E-step", "..., kept in memory"
... in a reduction                        "kill -9 in a reduction"
... between iterations                    "kill -9 between iterations", "..., kept in memory"
... that holds the parameters             "kill -9 of who holds the parameters"
... of all workers                        "kill -9 of all workers", "... between iterations, ..."
... several in succession                 "kill -9 four times"
work lost by a kill: at most one shard    test_a_kill_costs_the_work_of_one_shard
SIGTERM to a worker                       "SIGTERM to a worker"
its nanny kills it for its memory         "a worker takes all its memory"
memory of a worker below a shard          test_a_shard_larger_than_its_worker
stopped, and going on                     "stopped for 4 s",
                                          test_a_worker_that_hangs_is_not_waited_for
retire                                    "a worker retires"
scale up and down, adaptively, late       "2, 3, then 1 worker", "Dask scales adaptively",
                                          "no worker at first"
a passing fault of the file system        "reading fails twice",
                                          test_a_file_is_read_again_before_it_is_given_up
scheduler killed and restarted            test_a_fit_goes_on_with_a_scheduler_that_is_started_again
... after the client has given it up      test_a_fit_outlives_a_client_that_gives_its_scheduler_up
... or resumed on a new cluster           test_a_fit_that_lost_its_cluster_is_resumed_on_another
... futures it has forgotten              test_lost_shards_are_computed_again,
                                          test_a_cluster_that_loses_everything_is_given_up
client killed at random points            test_killed_at_random_points (also in a checkpoint write),
                                          test_killed_in_a_pass_on_a_cluster
Ctrl-C, SIGTERM, time is up               test_ctrl_c_leaves_a_usable_cluster, test_signals,
                                          test_an_interrupted_fit_leaves_nothing,
                                          test_a_job_that_is_queued_until_it_is_done
two fits at once                          "another fit on the client", "another client's fit"
a fit inside a task                       test_a_fit_inside_a_task
empty, unknown, column-chunked inputs     test_a_collection_has_the_bits_of_its_rows,
                                          test_column_chunks_and_dropped_rows
partitions of one row                     test_five_hundred_partitions_of_a_row
disk full while checkpointing             test_a_full_disk_is_one_warning_and_the_fit_goes_on
source changed between iterations         test_a_file_that_changes_between_passes_is_noticed,
                                          test_a_changed_file_is_named
a block that crashes its worker           test_a_block_that_kills_every_worker_is_named,
                                          test_a_partition_that_kills_every_worker_is_named
no worker within a minute                 test_a_cluster_without_workers_is_an_error
... while results are on their way        test_lost_results_are_awaited_while_there_are_workers
========================================= ==========================================================
"""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias
from unittest import mock

import dask.array as da
import numpy as np
from distributed import Client, WorkerPlugin, get_worker
from hanging import LONG
from problems import fingerprint

from fastgmm import GaussianMixture
from fastgmm.executors.dask.clients import active_client
from fastgmm.progress import IterationDone, PassBegan

N_ROWS, PARTITION = 6400, 100
N_ITER = 3
BLOCK_SECONDS = 0.005


class Scene(NamedTuple):
    """A cluster, and a folder that its workers see."""

    client: Client
    folder: Path
    n_workers: int

    def pids(self) -> list[int]:
        """Return the workers' processes."""
        return list(self.client.run(os.getpid).values())


Reading: TypeAlias = Callable[[Path], None]
"""What happens when partition ``EVENTFUL`` is computed, given a folder that keeps marks."""

EVENTFUL = 7
"""The last of the second shard."""


def at_ease(folder: Path) -> None:
    """Nothing happens."""


class Trouble(NamedTuple):
    """What is to happen, and to which fit."""

    name: str
    cause: Callable[[Scene], Any]
    """A context manager that yields callbacks for the fit."""
    persist: bool = False
    quick: bool = True
    reading: Reading = at_ease
    block_seconds: float = BLOCK_SECONDS
    """What computing a partition takes."""


def rows() -> np.ndarray:
    """Two clouds."""
    random = np.random.default_rng(11)
    X = random.normal(size=(N_ROWS, 3))
    X[::2] += 3.0
    return X


def computed(folder: Path) -> int:
    """Return how many partitions were computed so far, on all workers."""
    marks = folder / "computed"
    return marks.stat().st_size if marks.exists() else 0


def marks_at(file: Path) -> int:
    """Leave a mark in a file that all workers see; return how many there are."""
    with file.open("a") as marks:
        marks.write("x")
    return file.stat().st_size


def slowly(block: np.ndarray, folder: Path, reading: Reading, seconds: float) -> np.ndarray:
    """Compute a partition: leave a mark, take a while; something may happen at one."""
    if block.shape[0] == PARTITION:
        marks_at(folder / "computed")
        if block[0, 0] == rows()[EVENTFUL * PARTITION, 0]:
            reading(folder)
        time.sleep(seconds)
    return block


def fails_twice(folder: Path) -> None:
    """Reading fails, and does not the third time."""
    if marks_at(folder / "failures") <= 2:
        raise OSError(5, "Input/output error")


def takes_all_memory(folder: Path) -> None:
    """Take more memory than the worker may, the first time: until its nanny kills it."""
    if marks_at(folder / "failures") > 1:
        return
    hoard = []
    for _ in range(20 * LONG):
        if len(hoard) < 20:
            hoard.append(np.ones(2**23))  # 64 MB, of a limit of 1 GB
        time.sleep(0.05)
    raise AssertionError("nobody has killed this worker")


def dies_alone(folder: Path) -> None:
    """Kill -9 this worker in the second pass, when all else that it has found has arrived."""
    if marks_at(folder / "failures") != 2:
        return
    tasks = get_worker().state.tasks
    while any(
        str(key).startswith("fastgmm-reduce") and task.state == "memory"
        for key, task in list(tasks.items())
    ):
        time.sleep(0.01)
    os.kill(os.getpid(), signal.SIGKILL)


def always_dies(folder: Path) -> None:
    """Kill -9 this worker."""
    os.kill(os.getpid(), signal.SIGKILL)


def waits_for_company(folder: Path) -> None:
    """Wait until there are other workers, who have enough to do meanwhile."""
    while not (folder / "company").exists():
        time.sleep(0.05)


def collection(folder: Path, reading: Reading = at_ease, seconds: float = BLOCK_SECONDS) -> Any:
    """Return the rows as a Dask array of 64 partitions."""
    X = da.from_array(rows(), chunks=(PARTITION, -1))
    compute = partial(slowly, folder=folder, reading=reading, seconds=seconds)
    return X.map_blocks(compute, meta=np.empty((0, 0)))


def fit(X: Any, client: Client | None, persist: bool, *callbacks: Any) -> str:
    """Fit; return the hash of all parameters and bounds."""
    model = GaussianMixture(2, max_iter=N_ITER, tol=0, random_state=0, persist=persist, n_threads=1)
    model.set_client(client).set_callbacks(*callbacks).fit(X)
    return fingerprint(model)


def undisturbed(folder: Path) -> str:
    """Return the hash of a fit on one thread of this process."""
    return fit(collection(folder), None, False)


def fit_with(trouble: Trouble, scene: Scene) -> str:
    """Fit while something happens; return the hash."""
    X = collection(scene.folder, trouble.reading, trouble.block_seconds)
    with trouble.cause(scene) as callbacks:
        return fit(X, scene.client, trouble.persist, *callbacks)


class KillAt(WorkerPlugin):
    """Kill -9 the worker, so many times, when a task whose name begins so gets to a state."""

    idempotent = True

    def __init__(self, prefix: str, marks: Path, times: int, nth: int, state: str) -> None:
        self.name = f"kill at {marks}"
        self.prefix, self.marks, self.times, self.nth, self.state = prefix, marks, times, nth, state
        self.seen = 0

    def transition(self, key: Any, start: str, finish: str, **kwargs: Any) -> None:
        """Count, and kill."""
        if finish != self.state or not str(key).startswith(self.prefix):
            return
        self.seen += 1
        if self.seen < self.nth:
            return
        with self.marks.open("a") as file:
            file.write("x")
        if self.marks.stat().st_size <= self.times:
            if self.state == "executing":  # in the midst of it
                threading.Timer(2 * BLOCK_SECONDS, os.kill, (os.getpid(), signal.SIGKILL)).start()
            else:
                os.kill(os.getpid(), signal.SIGKILL)


@contextmanager
def kill_at(
    scene: Scene, prefix: str, times: int = 1, nth: int = 1, state: str = "executing"
) -> Iterator[list[Any]]:
    """Kill workers by what they do; make sure that it happened."""
    marks = scene.folder / "kills"
    plugin = KillAt(prefix, marks, times, nth, state)
    scene.client.register_plugin(plugin)
    try:
        yield []
        assert marks.stat().st_size >= times, "nothing was killed"
    finally:
        scene.client.unregister_worker_plugin(plugin.name)


@contextmanager
def parameters_held(scene: Scene) -> Iterator[list[Any]]:
    """Kill the worker that holds the parameters, which otherwise these small ones need not have."""
    from fastgmm.executors.dask import holding

    with (
        mock.patch.object(holding, "INLINE_BYTES", 0),
        kill_at(scene, "fastgmm-works", nth=2, state="memory") as callbacks,
    ):
        yield callbacks


@contextmanager
def merged_on_workers(scene: Scene) -> Iterator[list[Any]]:
    """Kill a worker while it completes a subtree."""
    from fastgmm.executors.dask import placement

    with (
        mock.patch.object(placement, "RETURNED_BYTES", 1),
        kill_at(scene, "fastgmm-merge", nth=2, state="memory") as callbacks,
    ):
        yield callbacks


@contextmanager
def after_iteration(scene: Scene, act: Callable[[Scene], None], n: int = 2) -> Iterator[list[Any]]:
    """Do something between two iterations."""
    done: list[int] = []

    def watch(event: Any) -> None:
        if isinstance(event, IterationDone) and event.iteration == n:
            done.append(n)
            act(scene)

    yield [watch]
    assert done, "nothing happened"


@contextmanager
def during_pass(scene: Scene, act: Callable[[Scene], None], n: int = 2) -> Iterator[list[Any]]:
    """Do something in the midst of an iteration, when some partitions of it are computed."""
    threads = ThreadPoolExecutor(1)
    passes: list[str] = []
    under_way: list[Any] = []

    def wait_and_act() -> None:
        since = computed(scene.folder)
        for _ in range(200):
            if computed(scene.folder) >= since + 10:
                break
            time.sleep(0.005)
        act(scene)

    def watch(event: Any) -> None:
        if isinstance(event, PassBegan) and event.name == "iteration":
            passes.append(event.name)
            if len(passes) == n:
                under_way.append(threads.submit(wait_and_act))

    yield [watch]
    threads.shutdown()
    under_way[0].result()


def kill_one(scene: Scene, number: int = signal.SIGKILL) -> None:
    """Kill -9 one worker, or send it another signal."""
    os.kill(scene.pids()[0], number)


def kill_all(scene: Scene) -> None:
    """Kill -9 every worker; what starts anew may be other ones."""
    for pid in scene.pids():
        os.kill(pid, signal.SIGKILL)
    scene.client.cluster.scale(scene.n_workers + 1)


def stop_and_continue(scene: Scene, seconds: float = 4.0) -> None:
    """Let a worker hang for a while."""
    pid = scene.pids()[0]
    os.kill(pid, signal.SIGSTOP)
    time.sleep(seconds)
    os.kill(pid, signal.SIGCONT)


def retire(scene: Scene) -> None:
    """Send a worker home, with its data."""
    scene.client.retire_workers([next(iter(scene.client.nthreads()))])


def scale(scene: Scene) -> None:
    """Have three workers, then one."""
    scene.client.cluster.scale(3)
    while len(scene.client.nthreads()) < 3:
        time.sleep(0.05)
    scene.client.cluster.scale(1)


@contextmanager
def adaptively(scene: Scene) -> Iterator[list[Any]]:
    """Dask starts workers and sends them home as it sees fit."""
    cluster = scene.client.cluster
    cluster.scale(1)
    while len(scene.client.nthreads()) > 1:
        time.sleep(0.05)

    def tell_of_company() -> None:
        while len(scene.client.nthreads()) < 2:
            time.sleep(0.05)
        (scene.folder / "company").touch()

    scaling = cluster.adapt(
        minimum=1, maximum=3, interval="100ms", target_duration="100ms", wait_count=1
    )
    try:
        with ThreadPoolExecutor(1) as threads:
            told = threads.submit(tell_of_company)
            yield []
            told.result()
    finally:
        scaling.stop()
        cluster.scale(scene.n_workers)


@contextmanager
def nothing(scene: Scene) -> Iterator[list[Any]]:
    """Nothing happens."""
    yield []


@contextmanager
def late_workers(scene: Scene) -> Iterator[list[Any]]:
    """No worker is there when the fit begins."""
    cluster = scene.client.cluster
    cluster.scale(0)
    while scene.client.nthreads():
        time.sleep(0.05)
    timer = threading.Timer(2.0, cluster.scale, (scene.n_workers,))
    timer.start()
    yield []
    timer.join()


@contextmanager
def another_fit(scene: Scene) -> Iterator[list[Any]]:
    """The same client runs another fit at the same time."""
    with ThreadPoolExecutor(1) as threads:
        other = threads.submit(fit, collection(scene.folder), scene.client, True)
        yield []
        assert other.result() == undisturbed(scene.folder)


@contextmanager
def another_client(scene: Scene) -> Iterator[list[Any]]:
    """Another client runs a fit on the same cluster at the same time."""
    with (
        Client(scene.client.scheduler.address, set_as_default=False) as client,
        ThreadPoolExecutor(1) as threads,
    ):
        other = threads.submit(fit, collection(scene.folder), client, False)
        yield []
        assert other.result() == undisturbed(scene.folder)


def fit_in_a_task(folder: Path) -> str:
    """Fit on the cluster of the worker that runs this."""
    return fit(collection(folder), active_client(), False)


TROUBLES = [
    Trouble("nothing", nothing, quick=False),
    Trouble("nothing, kept in memory", nothing, persist=True, quick=False),
    Trouble(
        "kill -9 in the load",
        partial(kill_at, prefix="fastgmm-load", nth=2),
        persist=True,
        quick=False,
    ),
    Trouble("kill -9 in an E-step", partial(kill_at, prefix="fastgmm-reduce", nth=10)),
    Trouble(
        "kill -9 in an E-step, kept in memory",
        partial(kill_at, prefix="fastgmm-reduce", nth=10),
        persist=True,
        quick=False,
    ),
    Trouble("kill -9 in a reduction", merged_on_workers),
    Trouble("kill -9 of who holds the parameters", parameters_held, quick=False),
    Trouble("kill -9 between iterations", partial(after_iteration, act=kill_one), quick=False),
    Trouble(
        "kill -9 between iterations, kept in memory",
        partial(after_iteration, act=kill_one),
        persist=True,
    ),
    Trouble("kill -9 of all workers", partial(during_pass, act=kill_all), quick=False),
    Trouble(
        "kill -9 of all workers between iterations, kept in memory",
        partial(after_iteration, act=kill_all),
        persist=True,
        quick=False,
    ),
    Trouble(
        "kill -9 four times",
        partial(kill_at, prefix="fastgmm-reduce", nth=3, times=4),
        quick=False,
    ),
    Trouble("stopped for 4 s", partial(during_pass, act=stop_and_continue), quick=False),
    Trouble("a worker retires", partial(after_iteration, act=retire), persist=True, quick=False),
    Trouble("2, 3, then 1 worker", partial(after_iteration, act=scale), persist=True, quick=False),
    Trouble("no worker at first", late_workers, quick=False),
    Trouble(
        "SIGTERM to a worker",
        partial(during_pass, act=partial(kill_one, number=signal.SIGTERM)),
        quick=False,
    ),
    Trouble("a worker takes all its memory", nothing, reading=takes_all_memory, quick=False),
    Trouble(
        "Dask scales adaptively",
        adaptively,
        quick=False,
        reading=waits_for_company,
        block_seconds=0.02,
    ),
    Trouble("reading fails twice", nothing, reading=fails_twice),
    Trouble("another fit on the client", another_fit),
    Trouble("another client's fit", another_client, quick=False),
]
