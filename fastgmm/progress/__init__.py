"""Progress: what is told while a fit runs, and two who listen: a display and a trace.

A fit tells its observers small immutable events; an observer is any callable that takes one. They
are called on the thread that called ``fit``, so they may print, log or raise (which ends the fit).
One that returns True to ``IterationDone`` stops that model: early stopping.
"""

from fastgmm.progress.bar import TqdmProgress
from fastgmm.progress.events import (
    ComponentsReseeded,
    Event,
    FitBegan,
    FitEnded,
    IterationDone,
    ModelEnded,
    ModelResumed,
    Observer,
    PassBegan,
    PassEnded,
    RowsDone,
    StartMade,
    reporting,
    standing,
)
from fastgmm.progress.streams import UNWRITABLE, Unheard
from fastgmm.progress.trace import ParameterTrace

__all__ = [
    "UNWRITABLE",
    "ComponentsReseeded",
    "Event",
    "FitBegan",
    "FitEnded",
    "IterationDone",
    "ModelEnded",
    "ModelResumed",
    "Observer",
    "ParameterTrace",
    "PassBegan",
    "PassEnded",
    "RowsDone",
    "StartMade",
    "TqdmProgress",
    "Unheard",
    "reporting",
    "standing",
]
