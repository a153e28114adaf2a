"""Checks of what users type: one sentence a mistake, in scikit-learn's words where it has them."""

import math
import numbers
from collections.abc import Collection
from typing import Any

import numpy as np

from fastgmm._typing import Float64Array


def check_integer(name: str, value: Any, lowest: int) -> None:
    """Raise ValueError unless ``value`` is an integer >= ``lowest``."""
    if isinstance(value, bool) or not isinstance(value, numbers.Integral) or value < lowest:
        raise _complaint(name, f"an int in the range [{lowest}, inf)", value)


def check_real(name: str, value: Any) -> None:
    """Raise ValueError unless ``value`` is a number >= 0."""
    number = isinstance(value, numbers.Real) and not isinstance(value, bool)
    if not number or math.isnan(value) or value < 0:
        raise _complaint(name, "a float in the range [0.0, inf)", value)


def check_choice(name: str, value: Any, choices: Collection[Any]) -> None:
    """Raise ValueError unless ``value`` is one of ``choices``."""
    if not any(
        value is choice or (type(value) is type(choice) and value == choice) for choice in choices
    ):
        wanted = ", ".join(repr(choice) for choice in choices)
        raise _complaint(name, f"one of {{{wanted}}}", value)


def _complaint(name: str, wanted: str, value: Any) -> ValueError:
    return ValueError(
        f"The {name!r} parameter of GaussianMixture must be {wanted}. Got {value!r} instead."
    )


def check_random_state(seed: Any) -> np.random.RandomState:
    """Turn None, an integer or a RandomState into a RandomState, as scikit-learn does."""
    if seed is None or seed is np.random:
        return np.random.mtrand._rand
    if isinstance(seed, numbers.Integral) and 0 <= int(seed) < 2**32:
        return np.random.RandomState(int(seed))
    if isinstance(seed, np.random.RandomState):
        return seed
    raise _complaint("random_state", "None, an int >= 0 or a numpy.random.RandomState", seed)


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
