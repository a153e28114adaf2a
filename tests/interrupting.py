"""Fits that are interrupted: at an event they tell of, or between any two lines of their code."""

import sys
import warnings

from fastgmm import GaussianMixture
from fastgmm.exceptions import ConvergenceWarning

STEPS = tuple(
    f"fastgmm/{name}.py"
    for name in (
        "archive",
        "atomic_file",
        "checkpoint",
        "collapse",
        "em/iteration",
        "em/loop",
        "em/models",
        "estimators/fitting",
        "estimators/gaussian_mixture",
        "executors/forest",
        "executors/tree",
        "plain",
        "statistics",
    )
)
"""Files between whose lines a fit is interrupted."""


def fit_until(event_number, X, sample_weight=None, client=None, **settings):
    """Interrupt a fit at its n-th event; return whether it got that far."""
    seen = []

    def stop(event):
        seen.append(event)
        if len(seen) == event_number:
            raise KeyboardInterrupt

    return _interrupted(settings, X, sample_weight, client, stop)


def fit_until_line(line_number, X, **settings):
    """Interrupt a fit before the n-th line that it runs of ``STEPS``; return whether it came."""
    lines = 0

    def line(frame, event, argument):
        nonlocal lines
        if event == "line":
            lines += 1
            if lines == line_number:
                raise KeyboardInterrupt
        return line

    def called(frame, event, argument):
        return line if frame.f_code.co_filename.endswith(STEPS) else None

    before = sys.gettrace()
    sys.settrace(called)
    try:
        return _interrupted(settings, X)
    finally:
        sys.settrace(before)


def _interrupted(settings, X, sample_weight=None, client=None, callback=None):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        try:
            model = GaussianMixture(**settings).set_client(client)
            if callback is not None:
                model.set_callbacks(callback)
            model.fit(X, sample_weight=sample_weight)
        except KeyboardInterrupt:
            return True
    return False
