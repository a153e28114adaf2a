"""What scripts on large data share: files of known rows, and a look at memory."""

import threading
import time
from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.parquet

from fastgmm.cli.truths import THREE_CLOUDS

PIECE = 2**19
"""Rows of a Parquet file's row group."""
PARTS = 4
"""Parquet files of a folder."""
ROW_BYTES = 8 * THREE_CLOUDS.means.shape[1]


def write_clouds(folder: Path, n_samples: int) -> tuple[Path, Path]:
    """Write rows of three known clouds to a .npy file, and to a folder of Parquet files.

    After the first million the rows are repeated: writing is to be quick.
    """
    drawn = THREE_CLOUDS.draw(2 * PIECE, np.random.default_rng(1))
    npy, parquet = folder / "rows.npy", folder / "rows"
    header = {"descr": "<f8", "fortran_order": False, "shape": (n_samples, drawn.shape[1])}
    with open(npy, "wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        for first in range(0, n_samples, len(drawn)):
            file.write(drawn[: n_samples - first].data)

    parquet.mkdir()
    X = np.load(npy, mmap_mode="r")
    schema = pyarrow.schema([(name, pyarrow.float64()) for name in "abcd"])
    for part, rows in enumerate(np.array_split(X, PARTS)):
        path = parquet / f"part-{part}.parquet"
        with pyarrow.parquet.ParquetWriter(
            path, schema, compression="none", use_dictionary=False
        ) as writer:
            for first in range(0, len(rows), PIECE):
                columns = list(map(pyarrow.array, rows[first : first + PIECE].T))
                writer.write_table(pyarrow.table(columns, schema=schema))
    return npy, parquet


def memory(pid: int | str, field: str = "RssAnon") -> int:
    """Return a figure of a process's memory in bytes, 0 of one that is over.

    "RssAnon" is what the process has allocated and touched; pages of files that it reads are not
    counted, since the system takes them back when it needs them. "VmData" is what ``ulimit -d``
    limits: all that was allocated, touched or not.
    """
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return next((1024 * int(line.split()[1]) for line in status.splitlines() if field in line), 0)


class MemoryWatch:
    """Looks at the memory of a process (by default this one) every few milliseconds."""

    def __init__(self, pid: int | str = "self", field: str = "RssAnon") -> None:
        self.seconds: list[float] = []
        self.bytes: list[int] = []
        self._pid, self._field = pid, field
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> "MemoryWatch":
        self._began = time.perf_counter()
        self._look()
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._over.set()
        self._thread.join()

    @property
    def peak(self) -> int:
        """The most that was seen."""
        return max(self.bytes)

    @property
    def growth(self) -> int:
        """The most that was seen beyond what there was in the beginning."""
        return self.peak - self.bytes[0]

    def _look(self) -> None:
        self.seconds.append(time.perf_counter() - self._began)
        self.bytes.append(memory(self._pid, self._field))

    def _watch(self) -> None:
        while not self._over.wait(0.005):
            self._look()
