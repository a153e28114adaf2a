"""What each constructor parameter may be: one line a parameter."""

from collections.abc import Mapping, Sequence
from typing import Any

from fastgmm.collapse import ON_COLLAPSE
from fastgmm.covariance import FAMILIES
from fastgmm.exceptions import InvalidParameterError
from fastgmm.initialization import START_NAMES
from fastgmm.maximization import REGULARIZATIONS
from fastgmm.parameters import NAMES, GivenParameters
from fastgmm.validation import (
    ARRAY_LIKE,
    BOOLEAN,
    CALLABLE,
    NONE,
    NUMBER,
    NUMPY_BOOLEAN,
    PATH,
    RANDOM_STATE,
    Rule,
    check_setting,
    integer,
    word,
    words,
)

SETTINGS: dict[str, tuple[Rule, ...]] = {
    "n_components": (integer(1),),
    "covariance_type": (word(*FAMILIES),),
    "tol": (NUMBER, word("statistical")),
    "reg_covar": (NUMBER,),
    "max_iter": (integer(0),),
    "n_init": (integer(1),),
    "init_params": (word(*START_NAMES), CALLABLE, ARRAY_LIKE),
    "weights_init": (ARRAY_LIKE, NONE),
    "means_init": (ARRAY_LIKE, NONE),
    "precisions_init": (ARRAY_LIKE, NONE),
    "random_state": (integer(0, 2**32 - 1), RANDOM_STATE, NONE),
    "warm_start": (BOOLEAN, NUMPY_BOOLEAN),
    "verbose": (integer(0), BOOLEAN, NUMPY_BOOLEAN),
    "verbose_interval": (integer(1),),
    "n_threads": (integer(1), NONE),
    "chunk_size": (integer(1), NONE),
    "persist": (word("auto"), BOOLEAN, NUMPY_BOOLEAN),
    "memory_limit": (integer(1), NONE),
    "missing": (word("raise", "drop"),),
    "regularization": (word(*REGULARIZATIONS),),
    "on_collapse": (word(*ON_COLLAPSE),),
    "fixed": (words(*NAMES),),
    "checkpoint": (PATH, NONE),
    "checkpoint_interval": (NUMBER,),
    "resume": (BOOLEAN, NUMPY_BOOLEAN),
}
"""Parameter -> the rules of which it has to meet one."""


WITHOUT_INFLUENCE = (
    "max_iter",  # but a resumed fit may go further
    "verbose",
    "verbose_interval",
    "n_threads",
    "persist",
    "memory_limit",
    "checkpoint",
    "checkpoint_interval",
    "resume",
)
"""Settings that no number of a fit depends on: a checkpoint may be resumed with others."""


def influential(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the numbers of a fit depend on, alike for settings that mean the same."""
    meant = {**settings, "fixed": tuple(sorted(names_of(settings["fixed"])))}
    return {name: value for name, value in meant.items() if name not in WITHOUT_INFLUENCE}


GIVEN_BY = dict(zip(NAMES, ("weights_init", "means_init", "precisions_init"), strict=True))
"""Parameter of a mixture -> what gives its start."""


def names_of(fixed: str | Sequence[str]) -> tuple[str, ...]:
    """Return ``fixed`` as a tuple: a name alone is one."""
    return (fixed,) if isinstance(fixed, str) else tuple(fixed)


def check_fixed(settings: dict[str, Any], given: GivenParameters, warm: bool) -> tuple[str, ...]:
    """Return the names of the fixed parameters.

    Raises InvalidParameterError where nobody has given the values to be kept, where all are, and
    where collapsed components would have to start anew.
    """
    fixed = names_of(settings["fixed"])
    chosen = isinstance(settings["init_params"], str) and not warm
    for name in fixed:
        if chosen and getattr(given, name) is None:
            raise InvalidParameterError(
                f"fixed={fixed!r} keeps the {name} that a fit starts with, but none are given: set "
                f"{GIVEN_BY[name]}, an init_params with values, or warm_start=True to go on with a "
                "model's"
            )
    if set(fixed) == set(NAMES):
        raise InvalidParameterError(
            f"fixed={fixed!r} leaves nothing to fit: leave one out, or build the model with "
            "from_parameters"
        )
    if fixed and settings["on_collapse"] == "reseed":
        raise InvalidParameterError(
            f"on_collapse='reseed' starts components anew, but fixed={fixed!r} keeps them: choose "
            "'keep' or 'raise'"
        )
    return fixed


def check_settings(owner: str, settings: dict[str, Any]) -> None:
    """Raise InvalidParameterError, with scikit-learn's text, for the first bad parameter."""
    for name, rules in SETTINGS.items():
        check_setting(owner, name, settings[name], rules)
