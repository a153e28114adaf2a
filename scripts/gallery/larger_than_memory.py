"""Larger than memory: a process that may not hold the data fits them all the same.

The same rows lie in a .npy file and in a folder of Parquet files. ``ulimit -d`` gives a process a
hard limit: what it allocates beyond that is refused by the system, whoever asks. The data have four
times the size of that limit, so loading them fails; fitting them does not, since every step of
EM reads the files block by block and keeps sums only.

The sums do not depend on how rows came in: blocks are the same for every format and for an array in
memory, and what is added to what is fixed as well. So the three fits end in the same bits.

The limit is what a fit of a few rows takes whatever the data (the interpreter, NumPy, Arrow,
compiled kernels), and so many MB more. Three libraries are told to be modest with what they set
aside: BLAS takes memory for each processor, C's allocator for each thread, and Arrow reserves a
gigabyte of addresses, which a limit counts although nothing lies there.
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from large_data import ROW_BYTES, MemoryWatch, write_clouds
from matplotlib import pyplot
from showing import Show, run

from fastgmm import GaussianMixture

MB = 2**20
MODEST = {
    "OMP_NUM_THREADS": "1",
    "MALLOC_ARENA_MAX": "1",
    "ARROW_DEFAULT_MEMORY_POOL": "system",
}
COMMAND = [sys.executable, "-m", "fastgmm", "fit"]
OPTIONS = ["-k", "3", "--tol", "1e-3", "--threads", "1", "-o"]
IN_MEMORY = """
import sys
import numpy as np
from fastgmm import GaussianMixture
X = np.load(sys.argv[1])
GaussianMixture(3, random_state=0, n_threads=2).fit(X).save(sys.argv[2])
"""


def watched(command, limit=None, field="RssAnon"):
    """Run a command, under a limit of so many bytes; return its exit code, errors and memory."""
    if limit is not None:  # the shell sets its own limit and becomes the command
        command = ["sh", "-c", f'ulimit -d {limit // 1024} && exec "$@"', "sh", *command]
    with (
        subprocess.Popen(
            list(map(str, command)),
            env={**os.environ, **MODEST},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        ) as process,
        MemoryWatch(process.pid, field) as watch,
    ):
        _, errors = process.communicate()
    return process.returncode, errors, watch


def parameters(model_file):
    """Return the bits of a model's parameters."""
    model = GaussianMixture.load(model_file)
    return b"".join(part.tobytes() for part in (model.weights_, model.means_, model.covariances_))


def draw(show, watches, limit, size):
    """Draw the memory of the three fits over time."""
    figure, ax = pyplot.subplots(figsize=(9, 4.6))
    for (name, watch), colour in zip(
        watches.items(), ("#D55E00", "#0072B2", "#009E73"), strict=True
    ):
        label = f"{name}: at most {watch.peak / MB:,.0f} MB"
        ax.plot(watch.seconds, np.array(watch.bytes) / MB, color=colour, label=label)
    for height, text in ((limit, "the limit of the two others"), (size, "the size of the data")):
        ax.axhline(height / MB, color="0.4", linestyle="--", linewidth=1)
        ax.text(1, height / MB, f"{text}: {height / MB:,.0f} MB", ha="right", va="bottom",
                color="0.3", transform=ax.get_yaxis_transform())  # fmt: skip
    ax.set(
        xlabel="seconds",
        ylabel="memory that the process has allocated (MB)",
        title="three fits, the same bits",
        ylim=(0, 1.25 * max(size, *(watch.peak for watch in watches.values())) / MB),
    )
    ax.legend(frameon=False, loc="center right")
    show.picture(figure)


def main(show: Show) -> None:
    """Find the limit, write the rows, and fit them inside it and outside."""
    room = (64 if show.small else 128) * MB
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "few").mkdir()
        _, few = write_clouds(folder / "few", 1000)
        _, _, watch = watched([*COMMAND, few, *OPTIONS, folder / "few.npz"], field="VmData")
        base = watch.peak
        limit = base + room
        size = 4 * (room if show.small else limit)
        npy, parquet = write_clouds(folder, -(-size // ROW_BYTES))
        print(
            f"  a fit of a few rows takes {base / MB:.0f} MB, the limit is {limit / MB:.0f} MB, "
            f"the data have {size / MB:.0f} MB in {size // ROW_BYTES:,} rows"
        )

        if not show.small:
            load = [sys.executable, "-c", "import sys, numpy; numpy.load(sys.argv[1])", npy]
            code, errors, _ = watched(load, limit)
            show.claim(
                f"the data have {size / limit:.1f} times the size of the limit, and do not load",
                size >= 4 * limit and code != 0 and "MemoryError" in errors,
            )
        watches, found = {}, {}
        for kind, command, bound in (
            ("in memory, no limit", [sys.executable, "-c", IN_MEMORY, npy, folder / "0.npz"], None),
            (".npy", [*COMMAND, npy, *OPTIONS, folder / "1.npz"], limit),
            ("Parquet", [*COMMAND, parquet, *OPTIONS, folder / "2.npz"], limit),
        ):
            began = time.perf_counter()
            code, errors, watches[kind] = watched(command, bound)
            seconds = time.perf_counter() - began
            peak = watches[kind].peak
            show.claim(
                f"{kind}: fitted, in {seconds:.1f} s; at most {peak / MB:.0f} MB of memory, "
                f"{peak / size:.2f} of the data's",
                code == 0 and (bound is None or peak < bound),
            )
            found[kind] = errors if code else parameters(command[-1])
        show.claim("all three have the same parameters, bit for bit", len(set(found.values())) == 1)
    draw(show, watches, limit, size)


if __name__ == "__main__":
    run(main, __file__, __doc__)
