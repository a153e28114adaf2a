"""Compiled kernels: each module loads, and Numba with it, when it is first used.

``from fastgmm import kernels`` costs nothing; ``kernels.full`` imports Numba. This is the only
place in the package where laziness about Numba is written down.
"""

from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fastgmm.kernels import bands, expectation, factorisation, pixels, rows
    from fastgmm.kernels.clustering import assignment, seeding, sketch
    from fastgmm.kernels.densities import axes, linear, narrow, near_axes, triangles, unrolled

_FOLDERS = {
    "": ("bands", "expectation", "factorisation", "pixels", "rows"),
    "clustering.": ("assignment", "seeding", "sketch"),
    "densities.": ("axes", "linear", "narrow", "near_axes", "triangles", "unrolled"),
}

__all__ = [
    "assignment",
    "axes",
    "bands",
    "expectation",
    "factorisation",
    "linear",
    "narrow",
    "near_axes",
    "pixels",
    "rows",
    "seeding",
    "sketch",
    "triangles",
    "unrolled",
]


def __getattr__(name: str) -> ModuleType:
    """Import a kernel module when it is first used (PEP 562)."""
    for folder, names in _FOLDERS.items():
        if name in names:
            module = import_module(f"fastgmm.kernels.{folder}{name}")
            globals()[name] = module  # to ask again would take 10 us, three times a block
            return module
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
