"""One line a pass for logs: what it found and what it cost."""

import json
import logging
import math
import warnings
from typing import Any, TextIO

import numpy as np

from fastgmm.covariance import FAMILIES
from fastgmm.progress import (
    UNWRITABLE,
    Event,
    FitBegan,
    IterationDone,
    Observer,
    PassBegan,
    PassEnded,
)

log = logging.getLogger("fastgmm")


class PassLog:
    """Log every iteration's pass: one line to the logger "fastgmm", and one of JSON to a file.

    The line says: pass, models alive, log likelihood per row (nats) of the best model and its gain,
    seconds, rows and bytes per second, seconds of reading, in kernels and of merging (summed over
    threads), smallest weight, smallest eigenvalue of a covariance and collapsed components of all
    models alive, pieces that a cluster had to compute again, and its workers.

    Parameters
    ----------
    stream : text file, optional
        Gets a line of JSON a pass with the same names; what is infinite is null. Where it cannot be
        written there is one warning, and the fit goes on.

    Examples
    --------
    >>> import io, json
    >>> from fastgmm import GaussianMixture
    >>> from fastgmm.pass_log import PassLog
    >>> lines = io.StringIO()
    >>> gm = GaussianMixture(1).set_callbacks(PassLog(lines)).fit([[0.0], [1.0], [5.0]])
    >>> record = json.loads(lines.getvalue().splitlines()[0])
    >>> record["pass"], record["models"], round(record["smallest_eigenvalue"], 3)
    (1, 1, 4.667)
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream
        self._warned = False
        self._pass = 0
        self._alive: list[IterationDone] = []

    def __call__(self, event: Event) -> None:
        """Take one event."""
        match event:
            case FitBegan():
                self._pass = 0
            case PassBegan(name="iteration"):
                self._alive = []
            case IterationDone():
                self._alive.append(event)
            case PassEnded() if self._alive:
                self._pass += 1
                self._write(event)

    def _write(self, ended: PassEnded) -> None:
        record = self._record(ended)
        log.info("%s", " ".join(f"{name}={_short(value)}" for name, value in record.items()))
        if self._stream is not None:
            self._write_line(self._stream, record)

    def _write_line(self, stream: TextIO, record: dict[str, Any]) -> None:
        line = json.dumps({name: _finite(value) for name, value in record.items()})
        try:
            print(line, file=stream, flush=True)
        except UNWRITABLE as error:
            if not self._warned:
                self._warned = True
                reason = getattr(error, "strerror", None) or error
                warnings.warn(
                    f"The log {getattr(stream, 'name', 'of passes')} cannot be written ({reason}): "
                    "the fit goes on, and lines of it are missing; make room, or interrupt the fit",
                    stacklevel=2,
                )

    def _record(self, ended: PassEnded) -> dict[str, Any]:
        best = max(self._alive, key=lambda event: event.lower_bound)
        seconds = max(ended.seconds, 1e-9)
        return {
            "pass": self._pass,
            "models": len(self._alive),
            "log_likelihood": best.lower_bound,
            "gain": best.gain,
            "seconds": ended.seconds,
            "rows_per_second": ended.rows / seconds,
            "bytes_per_second": ended.n_bytes / seconds,
            "read_seconds": ended.read,
            "kernel_seconds": ended.compute,
            "reduce_seconds": ended.merge,
            "smallest_weight": min(float(one.parameters.weights.min()) for one in self._alive),
            "smallest_eigenvalue": min(map(_smallest_eigenvalue, self._alive)),
            "at_floor": sum(one.n_collapsed for one in self._alive),
            "retries": ended.retries,
            "workers": ended.workers,
        }


def pass_logs() -> list[Observer]:
    """Return who logs the passes: nobody where the logger "fastgmm" does not take them."""
    return [PassLog()] if log.isEnabledFor(logging.INFO) else []


def _smallest_eigenvalue(event: IterationDone) -> float:
    k, d = event.parameters.means.shape
    dense = FAMILIES[event.covariance_type].dense(event.parameters.covariances, k, d)
    return float(np.linalg.eigvalsh(dense).min())


def _short(value: float) -> str:
    return str(value) if isinstance(value, int) else f"{value:.6g}"


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
