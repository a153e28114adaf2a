"""A kind of folder whose first writer of part 1 is killed half way; imported on workers too."""

import os
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from fastgmm.sinks.folders import Layout


def part_name(layout: Layout, number: int) -> str:
    return f"part-{number}"


def part_bytes(layout: Layout, number: int, rows: NDArray[Any]) -> bytes:
    mark = Path(layout.names[0])
    if number == 1 and not mark.exists():
        mark.touch()
        # the bytes are written, the file has no name yet
        os.fsync = lambda _: os.kill(os.getpid(), signal.SIGKILL)
    return rows.tobytes()


def other_files(layout: Layout) -> Mapping[str, bytes]:
    return {"about": b"deadly"}
