"""The one door to scikit-learn: its classes and functions, met only where somebody loaded it.

fastgmm does not need scikit-learn. Where a program uses both, their tools must understand each
other: errors that scikit-learn's users catch, tags, clones, metadata routing, callbacks. Whoever
calls these of an estimator has scikit-learn loaded already, so nothing here loads it first.
"""

import sys
from functools import cache
from importlib import import_module
from typing import Any

COVARIANCE_TYPES = ("full", "tied", "diag", "spherical")
"""The shapes that its mixtures have."""


def loaded(module: str) -> Any:
    """Return a module of scikit-learn, or None where nobody has loaded scikit-learn.

    Raises ImportError where the installed version has no such module.
    """
    return import_module(module) if "sklearn" in sys.modules else None


def asked_for(module: str) -> Any:
    """Return a module of scikit-learn that the user named; load it if need be.

    Only for what is scikit-learn's by name, such as its callbacks' protocol.
    """
    return import_module(module)


def config(name: str) -> Any:
    """Return an option of scikit-learn's ``set_config``; None where it is not loaded."""
    sklearn = loaded("sklearn")
    return None if sklearn is None else sklearn.get_config().get(name)


def joined(ours: type, module: str) -> type:
    """Return ``ours``; where ``module`` is loaded, a class that is also its class of that name.

    So that both ``except`` clauses catch it, and scikit-learn's warning filters meet it.
    """
    theirs = getattr(sys.modules.get(module), ours.__name__, None)
    return ours if theirs is None or issubclass(ours, theirs) else _join(ours, theirs)


@cache
def _join(ours: type, theirs: type) -> type:
    names = {"__module__": ours.__module__, "__doc__": ours.__doc__, "ours": ours}
    return type(ours.__name__, (ours, theirs), names)
