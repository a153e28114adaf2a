"""What a process can do without that is killed when it grows.

A Dask worker may have a few hundred megabytes. Compiling kernels takes more than 100 of them:
another process can do that. Large libraries take 70 (LLVM) and 30 (Arrow), most of it to start,
which is soon over, and what has been allocated and freed meanwhile stays unless it is given back.
"""

import atexit
import ctypes
import logging
import math
import mmap
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from fastgmm.exceptions import ScarceMemoryError


def _blas_threads() -> int:
    """Return how many threads OpenBLAS starts."""
    for name in ("OPENBLAS_NUM_THREADS", "GOTO_NUM_THREADS", "OMP_NUM_THREADS"):
        wish = os.environ.get(name, "")
        if wish.isdecimal() and int(wish) > 0:
            return int(wish)
    return os.cpu_count() or 1


COMPILING = (256 + 32 * _blas_threads()) * 2**20
"""Bytes that a process needs to compile kernels: 180 MB, and 32 for every thread of a BLAS that
Numba loads. Where the BLAS does not get these it asks for ever."""

PATIENCE = 300.0
"""Seconds for the other process: twice what waiting for yet another one and compiling may take."""

log = logging.getLogger("fastgmm")


def room_left() -> float:
    """Return how many bytes this process may still take before a limit of its own (``ulimit``)."""
    try:
        import resource

        pages = [int(word) for word in Path("/proc/self/statm").read_text().split()]
    except (ImportError, OSError):
        return math.inf  # not known
    room = math.inf
    for limit, taken in ((resource.RLIMIT_AS, pages[0]), (resource.RLIMIT_DATA, pages[5])):
        most, _ = resource.getrlimit(limit)
        if most != resource.RLIM_INFINITY:
            room = min(room, most - taken * resource.getpagesize())
    return room


def require_room_to_compile() -> None:
    """Raise a ScarceMemoryError if a limit leaves no memory for a BLAS that starts with a compiler.

    Numba imports SciPy's, if there is one, whether kernels need it or not.
    """
    room = room_left()
    if room < COMPILING and "scipy.linalg" not in sys.modules and find_spec("scipy") is not None:
        left = max(int(room), 0) >> 20
        raise ScarceMemoryError(
            f"compiling kernels takes up to {COMPILING >> 20} MB and a limit of this process "
            f"(ulimit -v or ulimit -d) leaves {left} MB: raise the limit, set "
            "OPENBLAS_NUM_THREADS=1 (32 MB less a processor), or run `fastgmm warmup` without a "
            "limit and let FASTGMM_CACHE name a folder that keeps kernels"
        )


def run_elsewhere(code: str, given: bytes) -> None:
    """Have another process run ``code`` with ``given`` as its standard input.

    What goes wrong there, compiling here will show. It does not outlive this process.
    """
    if not sys.executable or getattr(sys, "frozen", False):
        log.debug("no other process can compile: this one is no Python interpreter")
        return
    path = os.pathsep.join(filter(None, sys.path))
    # a BLAS takes 32 MB a thread, for nothing
    environment = {**os.environ, "PYTHONPATH": path, "OPENBLAS_NUM_THREADS": "1"}
    command, pipe = [sys.executable, "-c", code], subprocess.PIPE
    try:
        with subprocess.Popen(
            command, stdin=pipe, stdout=pipe, stderr=pipe, env=environment
        ) as process:
            atexit.register(process.kill)  # this thread may end before it
            try:
                _, complaint = process.communicate(given, timeout=PATIENCE)
            finally:
                process.kill()
                atexit.unregister(process.kill)
    except (OSError, subprocess.SubprocessError) as error:
        log.debug("no other process can compile: %s", error)
    else:
        if process.returncode:
            log.debug("another process failed to compile: %s", complaint.decode(errors="replace"))


class _Mapping(NamedTuple):
    """Some pages of a process."""

    start: int
    n_bytes: int
    permissions: str
    file: str
    anonymous_kb: int
    """Pages that are not the file's any more: written to."""


def release_library(name: str) -> None:
    """Give back the pages of loaded libraries whose path holds ``name``, and free heap.

    Whoever needs a page gets it again from the system's cache of files. Pages that were written to,
    and such as may be, are kept: of LLVM's 69 MB, 67 go.
    """
    with suppress(OSError, ValueError, AttributeError):
        system = ctypes.CDLL(None)
        system.madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
        for one in _mappings():
            read_only = "w" not in one.permissions and one.permissions.endswith("p")
            if name in one.file and read_only and not one.anonymous_kb:
                system.madvise(one.start, one.n_bytes, mmap.MADV_DONTNEED)
        system.malloc_trim(0)  # glibc's


def _mappings() -> Iterator[_Mapping]:
    """Yield the mappings of this process."""
    header: list[str] = []
    for line in Path("/proc/self/smaps").read_text().splitlines():
        words = line.split(maxsplit=5)
        if not words[0].endswith(":"):
            header = words
        elif words[0] == "Anonymous:":
            start, stop = (int(end, 16) for end in header[0].split("-"))
            file = header[5] if len(header) > 5 else ""
            yield _Mapping(start, stop - start, header[1], file, int(words[1]))
