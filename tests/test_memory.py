"""A file several times larger than a process's real memory limit is fitted all the same.

Arrow's pool reserves a gigabyte of addresses, which counts as data before the limit is set: what it
uses of them is not limited here. ``scripts/gallery/larger_than_memory`` takes another pool.
"""

import os
import subprocess
import sys

import numpy as np
import pytest
from hanging import LONG

CHILD = """
import resource, sys, threading, warnings
import numpy as np
from fastgmm import GaussianMixture
warnings.simplefilter("ignore")
path, limit = sys.argv[1], int(sys.argv[2])
settings = {"n_components": 2, "max_iter": 2, "random_state": 0, "n_threads": 2}
GaussianMixture(**settings).fit(path.replace("rows", "few"))  # kernels, pyarrow
# stacks of two threads and of two that read: 8 MB of addresses each, which glibc keeps for the next
all_there = threading.Barrier(5)
threads = [threading.Thread(target=all_there.wait) for _ in range(4)]
for thread in threads:
    thread.start()
all_there.wait()
for thread in threads:
    thread.join()
data = next(int(line.split()[1]) for line in open("/proc/self/status") if "VmData" in line)
resource.setrlimit(resource.RLIMIT_DATA, (data * 1024 + limit, resource.RLIM_INFINITY))
try:
    np.ones(limit // 8 + 2**21)
except MemoryError:
    print("limited")
model = GaussianMixture(**settings).fit(path)
print(model.means_.tobytes().hex())
"""
LIMIT = 80 * 2**20
ROWS = 4 * LIMIT // (8 * 16)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    import pyarrow
    import pyarrow.parquet

    folder = tmp_path_factory.mktemp("large")
    X = np.random.default_rng(0).normal(size=(ROWS, 16))
    for name, rows in (("few", X[:5000]), ("rows", X)):
        np.save(folder / f"{name}.npy", rows)
        table = pyarrow.table({f"x{i}": rows[:, i] for i in range(16)})
        pyarrow.parquet.write_table(table, folder / f"{name}.parquet", row_group_size=2**16)
    return folder


def test_four_times_the_limit_gives_the_same_bits(folder):
    means = set()
    for ending in ("npy", "parquet"):
        done = subprocess.run(
            [sys.executable, "-c", CHILD, str(folder / f"rows.{ending}"), str(LIMIT)],
            # else glibc, once a block of 4 MB was given back, keeps such blocks for the thread that
            # had it, and they count: with other tests beside it one run in three failed
            env=os.environ | {"MALLOC_MMAP_THRESHOLD_": str(2**20)},
            capture_output=True, text=True, timeout=LONG,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        limited, found = done.stdout.split()
        assert limited == "limited"
        means.add(found)
    assert len(means) == 1
