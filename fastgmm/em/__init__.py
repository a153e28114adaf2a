"""Expectation-maximisation of a list of models in shared passes over the rows."""

from fastgmm.em.convergence import Tolerance
from fastgmm.em.loop import run
from fastgmm.em.models import Failing, Fit, Settings, Start, Training, fatal
from fastgmm.em.rehearsal import rehearsed

__all__ = [
    "Failing",
    "Fit",
    "Settings",
    "Start",
    "Tolerance",
    "Training",
    "fatal",
    "rehearsed",
    "run",
]
