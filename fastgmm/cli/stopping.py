"""Stopping before the end: SIGTERM, time that is up, Ctrl-C, and what is said about going on."""

import shlex
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import click

from fastgmm.exceptions import KEPT
from fastgmm.progress import Event

TIME_UP, TERMINATED = 3, 143
"""Exit codes: the first is ours, the second is what shells give a process ended by SIGTERM."""


LONGEST = 1e9
"""Seconds that a timer takes: thirty years."""


class Stopped(KeyboardInterrupt):
    """The command was stopped by something else than Ctrl-C, and in the same way."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(code, reason)
        self.code = code
        self.reason = reason


class Stop:
    """An observer that ends a fit which should have been stopped already.

    An exception raised by a signal can get lost: in a finaliser, or in somebody's bare ``except``.
    """

    def __init__(self) -> None:
        self.reason: Stopped | None = None

    def __call__(self, event: Event) -> None:
        """Raise if there is a reason."""
        if self.reason is not None:
            raise self.reason


@contextmanager
def stoppable(max_seconds: float | None) -> Iterator[Stop]:
    """Let SIGTERM, and the end of ``max_seconds`` from now on, interrupt as Ctrl-C does."""
    stop = Stop()
    reasons: dict[int, Stopped] = {signal.SIGTERM: Stopped(TERMINATED, "terminated")}
    if max_seconds is not None:
        reasons[signal.SIGALRM] = Stopped(TIME_UP, f"time is up after {max_seconds:g} s")

    def handle(number: int, frame: FrameType | None) -> None:
        # schedulers repeat themselves, and once is enough: the checkpoint is being written
        signal.signal(number, signal.SIG_IGN)
        stop.reason = reasons[number]
        raise stop.reason

    before = {number: signal.signal(number, handle) for number in reasons}
    if max_seconds is not None:
        signal.setitimer(signal.ITIMER_REAL, min(max_seconds, LONGEST))
    try:
        yield stop
    except click.exceptions.Abort:  # an interrupt already, and one that has been heard
        raise
    except RuntimeError as error:
        interrupt = _interrupt_behind(error)
        if interrupt is None:
            raise
        interrupt.__notes__ = getattr(error, "__notes__", [])
        raise interrupt from error
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        for number, handler in before.items():
            signal.signal(number, handler)


def _interrupt_behind(error: BaseException | None) -> KeyboardInterrupt | None:
    """Return the interrupt that led to an error, if one did.

    A condition that is interrupted while it takes its lock back says that it has none to release.
    """
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__cause__ or error.__context__
    return error


@contextmanager
def interruptible(
    checkpoint: Path | None, resume: bool, max_seconds: float | None
) -> Iterator[Stop]:
    """Let what runs here be stopped, and say how to go on; refuse options without a checkpoint."""
    if checkpoint is None and (resume or max_seconds is not None):
        raise click.UsageError("--resume and --max-seconds need --checkpoint FILE")
    # what is to be stopped may be so at once, before another line of this
    with resumable(checkpoint, resume), stoppable(max_seconds) as stop:
        yield stop


def _version(path: Path | None) -> tuple[int, int] | None:
    """Return what tells a file from an earlier one of its name; None if there is none."""
    if path is None or not path.exists():
        return None
    found = path.stat()
    return found.st_ino, found.st_mtime_ns


@contextmanager
def resumable(checkpoint: Path | None, resume: bool) -> Iterator[None]:
    """Note, on whatever ends a fit that is kept, the command that goes on with it.

    A stop before there is anything to keep names it, too: what is queued until it is done reads it.
    """
    before = _version(checkpoint)
    try:
        yield
    except BaseException as error:
        notes = getattr(error, "__notes__", [])
        others = [note for note in notes if not note.startswith(KEPT)]
        kept = len(others) < len(notes)
        # stopped when the fit was over, before its model was written
        kept |= isinstance(error, KeyboardInterrupt) and _version(checkpoint) not in (None, before)
        # stopped before the fit was at it: what an earlier run has left is still there
        early = resume and isinstance(error, KeyboardInterrupt)
        if checkpoint is not None and (kept or (early and checkpoint.exists())):
            to_go_on = f"checkpoint {checkpoint}; to go on: {_resuming_command()}"
            error.__notes__ = [*others, to_go_on]
        elif checkpoint is not None and isinstance(error, KeyboardInterrupt):
            error.add_note(f"nothing is kept yet; to begin again: {_resuming_command()}")
        raise


def _resuming_command() -> str:
    context = click.get_current_context().find_root()
    words = list(context.obj or [])
    if "--resume" not in words:
        words.append("--resume")
    return f"{context.info_name} {shlex.join(words)}"
