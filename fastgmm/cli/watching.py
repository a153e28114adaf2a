"""Watching a command at work: progress on standard error, a line of JSON a pass in a file."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

from fastgmm.progress import Observer, TqdmProgress


@contextmanager
def watched(quiet: bool, log_json: TextIO | None) -> Iterator[list[Observer]]:
    """Yield those who watch; leaving it takes the progress display off the terminal."""
    from fastgmm.pass_log import PassLog

    logs: list[Observer] = [] if log_json is None else [PassLog(log_json)]
    if quiet:
        yield logs
        return
    display = TqdmProgress()
    try:
        yield [*logs, display]
    finally:
        display.close()
