"""How much memory this process has taken."""

import resource
from pathlib import Path


def peak_memory() -> int:
    """Return the most bytes that were resident at once, mapped files included."""
    # not ru_maxrss where it can be avoided: exec hands it down, so that a small process started
    # by a large one would report the large one's
    try:
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def megabytes(n_bytes: int) -> str:
    """Write a number of bytes for people."""
    return f"{n_bytes / 1e6:,.0f} MB" if n_bytes >= 1e6 else f"{n_bytes / 1e3:,.1f} kB"
