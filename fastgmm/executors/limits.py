"""What of the machine this process may use: processors and memory."""

import multiprocessing
import os
from contextlib import suppress
from functools import cache
from pathlib import Path


def available_threads() -> int:
    """Return the processors this process may use: affinity, then the cgroup's quota.

    One inside a joblib worker process: joblib has started one for every processor already.
    """
    if multiprocessing.current_process().name.startswith("Loky"):
        return 1
    threads = len(os.sched_getaffinity(0))
    quota = _processors_of_cgroup()
    return threads if quota is None else min(threads, quota)


@cache
def _processors_of_cgroup() -> int | None:
    with suppress(OSError, ValueError):
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        return max(1, int(quota) // int(period))
    return None


@cache
def available_memory() -> int:
    """Return the bytes of memory this process may use: the machine's, or the cgroup's limit."""
    n_bytes = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    with suppress(OSError, ValueError):
        n_bytes = min(n_bytes, int(Path("/sys/fs/cgroup/memory.max").read_text()))
    return n_bytes
