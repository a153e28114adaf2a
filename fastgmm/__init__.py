"""Gaussian mixture models by EM, at the speed of the hardware and on data of any size.

Names load on first use, so ``import fastgmm`` costs no more than Python itself: neither NumPy,
Numba nor Dask is imported until something needs them.
"""

from importlib import import_module

__version__ = "0.1.0"

# to type checkers it is typing's, whose import takes longer than all else here
TYPE_CHECKING = False
if TYPE_CHECKING:
    from fastgmm.estimators import BackgroundMixtures, GaussianMixture
    from fastgmm.selection import select
    from fastgmm.sources import open_dataset

__all__ = ["BackgroundMixtures", "GaussianMixture", "__version__", "open_dataset", "select"]

_HOMES = {
    "BackgroundMixtures": "fastgmm.estimators",
    "GaussianMixture": "fastgmm.estimators",
    "open_dataset": "fastgmm.sources",
    "select": "fastgmm.selection",
}


def __getattr__(name: str) -> object:
    """Import a public name when it is first used (PEP 562)."""
    if name in _HOMES:
        value: object = getattr(import_module(_HOMES[name]), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
