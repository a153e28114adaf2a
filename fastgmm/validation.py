"""Checks of what users type: one sentence a mistake, in scikit-learn's words where it has them."""

import math
import numbers
from collections.abc import Callable, Sequence
from os import PathLike
from typing import Any, NamedTuple

import numpy as np

from fastgmm._typing import Float64Array
from fastgmm.exceptions import InvalidParameterError


class Rule(NamedTuple):
    """What a setting may be."""

    accepts: Callable[[Any], bool]
    wanted: str
    """How a complaint describes it."""


def integer(lowest: int, highest: int | None = None) -> Rule:
    """An integer of at least ``lowest``; True and False are none."""

    def accepts(value: Any) -> bool:
        if isinstance(value, bool) or not isinstance(value, numbers.Integral):
            return False
        return lowest <= int(value) and (highest is None or int(value) <= highest)

    end = "inf)" if highest is None else f"{highest}]"
    return Rule(accepts, f"an int in the range [{lowest}, {end}")


def _is_number(value: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        return False
    return not math.isnan(value) and float(value) >= 0.0


NUMBER = Rule(_is_number, "a float in the range [0.0, inf)")
BOOLEAN = Rule(lambda value: isinstance(value, bool), "an instance of 'bool'")
NUMPY_BOOLEAN = Rule(lambda value: isinstance(value, np.bool_), "an instance of 'numpy.bool'")
ARRAY_LIKE = Rule(
    lambda value: (
        (hasattr(value, "__len__") or hasattr(value, "shape") or hasattr(value, "__array__"))
        and not isinstance(value, str | bytes | dict)
    ),
    "an array-like",
)
CALLABLE = Rule(lambda value: callable(value) and not isinstance(value, type), "a callable")
PATH = Rule(lambda value: isinstance(value, str | PathLike), "a path")
NONE = Rule(lambda value: value is None, "None")
RANDOM_STATE = Rule(
    lambda value: isinstance(value, np.random.RandomState),
    "an instance of 'numpy.random.mtrand.RandomState'",
)


def word(*choices: str) -> Rule:
    """One of some words."""
    listed = ", ".join(repr(choice) for choice in choices)
    return Rule(
        lambda value: isinstance(value, str) and value in choices, f"a str among {{{listed}}}"
    )


def words(*choices: str) -> Rule:
    """Some of a few words: a tuple or list of them, or one."""
    listed = ", ".join(repr(choice) for choice in choices)

    def accepts(value: Any) -> bool:
        names = (value,) if isinstance(value, str) else value
        return isinstance(names, tuple | list) and all(name in choices for name in names)

    return Rule(accepts, f"a tuple of str among {{{listed}}}")


def check_setting(owner: str, name: str, value: Any, rules: Sequence[Rule]) -> None:
    """Raise InvalidParameterError unless ``value`` meets one of the rules."""
    if any(rule.accepts(value) for rule in rules):
        return
    *first, last = (rule.wanted for rule in rules)
    wanted = f"{', '.join(first)} or {last}" if first else last
    raise InvalidParameterError(
        f"The {name!r} parameter of {owner} must be {wanted}. Got {value!r} instead."
    )


def as_random_state(seed: Any) -> np.random.RandomState:
    """Turn None, an integer or a RandomState into a RandomState, as scikit-learn does."""
    if seed is None:
        return np.random.mtrand._rand
    if RANDOM_STATE.accepts(seed):
        random_state: np.random.RandomState = seed
        return random_state
    if integer(0, 2**32 - 1).accepts(seed):
        return np.random.RandomState(int(seed))
    raise ValueError(f"{seed!r} cannot be used to seed a numpy.random.RandomState instance")


def whole_number(name: str, number: Any) -> int:
    """Return a whole number, which may come as a float or an array of one; raises ValueError."""
    try:
        whole = int(number)
    except (TypeError, ValueError, OverflowError):
        whole = None
    if whole is None or whole != number:
        raise ValueError(f"Invalid value for '{name}': {number} is no whole number")
    return whole


def check_array(name: str, value: Any, shape: tuple[int, ...]) -> Float64Array:
    """Return a start or model parameter as float64 of the given shape, or raise ValueError."""
    array = np.ascontiguousarray(value, dtype=np.float64)
    if np.shape(value) != shape:
        raise ValueError(
            f"The parameter '{name}' should have the shape of {shape}, but got {np.shape(value)}"
        )
    if not np.isfinite(array).all():
        raise ValueError(f"The parameter '{name}' contains NaN or infinity")
    return array


def check_weights(value: Any, n_components: int) -> Float64Array:
    """Return mixing proportions as float64, or raise ValueError: in [0, 1] and summing to 1."""
    weights = check_array("weights", value, (n_components,))
    if np.any(weights < 0.0) or np.any(weights > 1.0):
        # minimum and maximum are swapped in scikit-learn's text, whose tests compare with it
        raise ValueError(
            "The parameter 'weights' should be in the range [0, 1], but got max value "
            f"{weights.min():.5f}, min value {weights.max():.5f}"
        )
    single = np.asarray(value).dtype == np.float32
    if abs(1.0 - weights.sum()) > (1e-6 if single else 1e-8):
        raise ValueError(
            "The parameter 'weights' should be normalized, but got sum(weights) = "
            f"{weights.sum():.5f}"
        )
    return weights
