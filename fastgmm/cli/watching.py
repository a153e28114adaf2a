"""Watching a command at work: progress on standard error, a line of JSON a pass in a file."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import click

from fastgmm.progress import Observer, TqdmProgress


@contextmanager
def watched(quiet: bool, log_json: Path | None, resume: bool) -> Iterator[list[Observer]]:
    """Yield those who watch; leaving it takes the progress display off the terminal.

    The log of a fit that is resumed goes on behind that of the runs before.
    """
    with _logged(log_json, "a" if resume else "w") as logs:
        if quiet:
            yield logs
            return
        display = TqdmProgress()
        try:
            yield [*logs, display]
        finally:
            display.close()


@contextmanager
def _logged(file: Path | None, mode: str) -> Iterator[list[Observer]]:
    """Yield who writes a line a pass to a file, if there is one."""
    if file is None:
        yield []
        return
    from fastgmm.pass_log import PassLog

    stream: Any = click.open_file(os.fspath(file), mode)
    try:
        yield [PassLog(stream)]
    finally:
        with suppress(OSError), stream:  # what cannot be written was told of
            pass
