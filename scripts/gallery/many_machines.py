"""Many machines: the same bits, and one machine fewer in the middle of it.

A fit runs on a Dask cluster as it runs on threads: give it files that all machines see, and each
worker reads pieces of them, adds up its rows and sends back sums, never rows. Here the machines are
worker processes of this one. The sums of all pieces are joined along a tree that is fixed by the
number of rows, not by who was first, so the parameters are those of a fit on threads, bit for bit.

Machines fail. In the third iteration, when a piece has arrived and a worker is still busy with
another (or in the next iteration, where both had ended together), that worker is killed without
warning (kill -9). What it had under way is computed again by the other worker; Dask starts a new
one in its place, which takes part as soon as it is there. The bits stay the same.

The picture shows who computed what, as the scheduler saw it: a bar is a piece of a pass over the
data, lighter and darker in turn from one iteration to the next. The piece that died with its worker
is not there; the one that is left computes it again.
"""

import logging
import os
import signal
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from distributed import get_task_stream
from large_data import ROW_BYTES, write_clouds
from matplotlib import pyplot
from showing import Show, run

from fastgmm import GaussianMixture, open_dataset
from fastgmm.executors.dask import local_workers
from fastgmm.progress import PassBegan, RowsDone

K = 5
"""Two more than there are clouds: the fit takes its time."""
DEADLY = 3
"""The first iteration in which a worker may be killed."""


class Killer:
    """Kills a busy worker in the midst of an iteration: an observer of the fit, by no clock."""

    def __init__(self, client):
        self.client, self.pids = client, client.run(os.getpid)
        self.began = []
        """When iterations began."""
        self.victim = self.when = self.iteration = None
        """The address of the killed worker, when that was, and in which iteration."""
        self.rows_done = 0
        """Of that iteration, by then."""

    def __call__(self, event):
        """Take one event."""
        match event:
            case PassBegan("iteration"):
                self.began.append(time.time())
            case RowsDone() if self.victim is None and len(self.began) >= DEADLY:
                if self.iteration != len(self.began):
                    self.iteration, self.rows_done = len(self.began), 0
                self.rows_done += event.rows
                busy = [worker for worker, tasks in self.client.processing().items() if tasks]
                if busy:
                    self.victim, self.when = busy[0], time.time()
                    os.kill(self.pids[self.victim], signal.SIGKILL)


@contextmanager
def two_workers():
    """Yield a client of two worker processes; that Dask logs who was killed is no news here.

    On machines of your own it would be ``with Client("tcp://scheduler:8786"):``, and nothing else
    would change.
    """
    logging.disable(logging.ERROR)
    try:
        with local_workers(2) as client:
            yield client
    finally:
        logging.disable(logging.NOTSET)


def fit(name, rows, *observers):
    """Fit on the active client, or on threads where there is none."""
    began = time.perf_counter()
    model = GaussianMixture(K, tol=1e-4, max_iter=1000, random_state=0)
    model.set_callbacks(*observers).fit(open_dataset(rows))
    seconds = time.perf_counter() - began
    print(f"  {name}: {model.n_iter_} iterations in {seconds:.1f} s", flush=True)
    return model


def bits(model):
    """Return the bits of all parameters, and of the likelihood after each iteration."""
    parts = model.weights_, model.means_, model.covariances_, np.array(model.lower_bounds_)
    return b"".join(part.tobytes() for part in parts)


def computed(tasks):
    """Return the start, the end and the worker of everything that workers computed, in order."""
    return sorted(
        (step["start"], step["stop"], task["worker"])
        for task in tasks
        for step in task["startstops"]
        if step["action"] == "compute" and str(task["key"]).startswith("fastgmm-reduce")
    )


def draw(show, pieces, killer, models):
    """Draw what each worker computed, and how the fits went on meanwhile."""
    figure, (upper, lower) = pyplot.subplots(2, 1, figsize=(11, 6), sharex=True)
    workers = list(dict.fromkeys(worker for *_, worker in pieces))
    for start, stop, worker in pieces:
        iteration = np.searchsorted(killer.began, start)
        upper.barh(
            workers.index(worker),
            stop - start,
            left=start - killer.began[0],
            height=0.6,
            color=("#56B4E9", "#0072B2")[iteration % 2],
        )
    at = killer.when - killer.began[0]
    upper.plot(at, workers.index(killer.victim), "X", markersize=14, color="#D55E00")
    upper.annotate(
        f"killed in iteration {killer.iteration}", (at, workers.index(killer.victim)), (12, 0),
        textcoords="offset points", va="center", color="#D55E00",
    )  # fmt: skip
    upper.set(yticks=range(len(workers)), title="who computed what: every other iteration lighter")
    upper.set_yticklabels(
        ["worker 1", "worker 2", *["worker 3, started\nin its place"] * (len(workers) - 2)]
    )
    upper.invert_yaxis()

    best = max(models[0][1].lower_bounds_)
    for (name, model), colour in zip(models, ("0.6", "#009E73", "#D55E00"), strict=True):
        seconds = np.cumsum([line.seconds for line in model.history_])
        left = best - np.array(model.lower_bounds_)
        lower.semilogy(seconds[:-1], left[:-1], "o-", markersize=4, color=colour, label=name)
    for ax in (upper, lower):
        ax.axvline(at, color="#D55E00", linewidth=1, zorder=0)
    lower.set(
        xlabel="seconds",
        ylabel="nats per row left to gain",
        title="iteration by iteration the same numbers, sooner or later",
        xlim=(0, None),
    )
    lower.legend(frameon=False)
    show.picture(figure)


def main(show: Show) -> None:
    """Fit on threads, on workers, and on workers of which one is killed."""
    n_samples = 200_000 if show.small else 8_000_000
    with tempfile.TemporaryDirectory() as folder:
        npy, parquet = write_clouds(Path(folder), n_samples)
        size = n_samples * ROW_BYTES / 2**20
        print(f"  {n_samples:,} rows, {size:,.0f} MB in a .npy file and in Parquet")
        on_threads = fit("threads of one process, .npy", npy)
        with two_workers() as client:
            on_workers = fit("2 worker processes, .npy", npy)
            killer = Killer(client)
            with get_task_stream(client) as stream:
                bereft = fit("one of them killed, Parquet", parquet, killer)
            left = client.run(os.getpid).values()
    pieces = computed(stream.data)
    print(f"  {len({worker for *_, worker in pieces})} workers took part in that")
    show.claim(
        "2 worker processes: the same parameters as on threads, bit for bit",
        bits(on_workers) == bits(on_threads),
    )
    show.claim(
        f"a busy worker was killed in the midst of a pass, when {killer.rows_done:,} of "
        f"{n_samples:,} rows were done",
        killer.rows_done < n_samples and killer.pids.get(killer.victim) not in {None, *left},
    )
    show.claim("the same parameters all the same, bit for bit", bits(bereft) == bits(on_threads))
    if killer.victim is not None:
        models = [
            ("threads, .npy", on_threads),
            ("2 workers, .npy", on_workers),
            ("one killed, Parquet", bereft),
        ]
        draw(show, pieces, killer, models)


if __name__ == "__main__":
    run(main, __file__, __doc__)
