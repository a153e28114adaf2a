"""Selection: how many components, and of which shape? All candidates share the passes."""

from fastgmm.selection.choice import CRITERIA
from fastgmm.selection.results import Candidate, Passes, Selection
from fastgmm.selection.selecting import select

__all__ = ["CRITERIA", "Candidate", "Passes", "Selection", "select"]
