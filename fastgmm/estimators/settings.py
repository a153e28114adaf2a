"""What each constructor parameter may be: one line a parameter."""

from typing import Any

from fastgmm.collapse import ON_COLLAPSE
from fastgmm.covariance import FAMILIES
from fastgmm.initialization import STARTS
from fastgmm.maximization import REGULARIZATIONS
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
)

SETTINGS: dict[str, tuple[Rule, ...]] = {
    "n_components": (integer(1),),
    "covariance_type": (word(*FAMILIES),),
    "tol": (NUMBER, word("statistical")),
    "reg_covar": (NUMBER,),
    "max_iter": (integer(0),),
    "n_init": (integer(1),),
    "init_params": (word(*STARTS), CALLABLE, ARRAY_LIKE),
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
    "missing": (word("raise", "drop"),),
    "regularization": (word(*REGULARIZATIONS),),
    "on_collapse": (word(*ON_COLLAPSE),),
    "checkpoint": (PATH, NONE),
    "checkpoint_interval": (NUMBER,),
    "resume": (BOOLEAN, NUMPY_BOOLEAN),
}
"""Parameter -> the rules of which it has to meet one."""


def check_settings(owner: str, settings: dict[str, Any]) -> None:
    """Raise InvalidParameterError, with scikit-learn's text, for the first bad parameter."""
    for name, rules in SETTINGS.items():
        check_setting(owner, name, settings[name], rules)
