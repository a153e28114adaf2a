"""Starts that the user hands over: labels, responsibilities, parameters, or a function of them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from fastgmm._typing import BoolArray, Float64Array, FloatArray, IntArray
from fastgmm.initialization.first_pass import WHOLE_ELEMENTS, StartRows
from fastgmm.initialization.partition import Hard, Partition, Soft, labels_partition
from fastgmm.parameters import Parameters
from fastgmm.validation import ARRAY_LIKE, check_array, check_weights

GivenStart: TypeAlias = Callable[
    [StartRows, int, np.random.RandomState, int], Partition | Parameters
]


def given_start(init_params: Any, covariance_shape: tuple[int, ...]) -> GivenStart:
    """Return the start that reads ``init_params``, or what it returns if it is a function.

    A function is called as ``init_params(rows, n_components, random_state)`` with the rows of
    positive weight that starts are made from. It returns, or ``init_params`` is, one of

    * labels (n,): the component of each row, -1 for a row that begins in none;
    * responsibilities (n, k), not negative: zero all along a row that begins in no component;
    * a tuple (weights, means, covariances) in the shapes of the covariance type.
    """

    def start(
        start: StartRows, n_components: int, random_state: np.random.RandomState, n_threads: int
    ) -> Partition | Parameters:
        value, counting = init_params, start.counting
        if callable(value):
            value, counting = value(start.rows, n_components, random_state), None
        return _read(value, start.rows, counting, n_components, covariance_shape)

    return start


def _read(
    value: Any,
    rows: FloatArray,
    counting: BoolArray | None,
    n_components: int,
    covariance_shape: tuple[int, ...],
) -> Partition | Parameters:
    if isinstance(value, tuple):
        return _parameters(value, n_components, rows.shape[1], covariance_shape)
    array = _as_array(value)
    n_rows = len(rows if counting is None else counting)
    if array is None or array.ndim not in (1, 2) or len(array) != n_rows:
        raise ValueError(
            f"init_params gives {_described(value, array)} for the {n_rows} rows that "
            "starts are made from: give labels (n,), responsibilities (n, n_components) or a tuple "
            "(weights, means, covariances). These rows are all but those that missing='drop' "
            f"leaves out, or above {WHOLE_ELEMENTS} numbers a sample: then give a tuple, or a "
            "function of the rows"
        )
    if counting is not None:
        array = array[counting]
    if array.ndim == 1:
        return _labels(array, n_components)
    return _responsibilities(array, n_components)


ROUNDING = 1e-3
"""By so much responsibilities may sum to more than 1: those in float16 do."""


def _as_array(value: Any) -> np.ndarray[Any, Any] | None:
    """Return the numbers in an array-like, None where there are none or rows differ in length."""
    if not ARRAY_LIKE.accepts(value):
        return None
    try:
        array = np.asarray(value)
    except ValueError:
        return None
    return array if array.dtype.kind in "iufb" else None


def _described(value: Any, array: np.ndarray[Any, Any] | None) -> str:
    if array is not None:
        return f"an array of shape {array.shape}"
    if value is None:
        return "None (a function that returns nothing?)"
    return f"no array of numbers (but a value of type {type(value).__name__})"


def _parameters(
    value: tuple[Any, ...], k: int, d: int, covariance_shape: tuple[int, ...]
) -> Parameters:
    if len(value) != 3:
        raise ValueError(
            f"init_params gives a tuple of {len(value)}: give (weights, means, covariances)"
        )
    return Parameters(
        check_weights(value[0], k),
        check_array("means", value[1], (k, d)),
        check_array("covariances", value[2], covariance_shape),
    )


def _labels(labels: np.ndarray[Any, Any], n_components: int) -> Hard:
    if labels.dtype.kind == "f" and not np.array_equal(labels, np.floor(labels)):
        raise ValueError("init_params gives labels that are not whole numbers")
    if labels.min() < -1 or labels.max() >= n_components:
        raise ValueError(
            f"init_params gives labels from {labels.min()} to {labels.max()}: they number the "
            f"components from 0 to {n_components - 1}, -1 for rows that begin in none"
        )
    _check_none_empty(np.unique(labels), n_components)
    return labels_partition(labels.astype(np.int64), n_components)


def _check_none_empty(used: IntArray, n_components: int) -> None:
    """Raise ValueError for a component that no row begins in."""
    empty = set(range(n_components)).difference(used.tolist())
    if empty:
        raise ValueError(
            f"init_params gives no row to component {min(empty)}: begin at least one row of "
            "positive weight in it"
        )


def _responsibilities(array: np.ndarray[Any, Any], n_components: int) -> Soft:
    if array.shape[1] != n_components:
        raise ValueError(
            f"init_params gives responsibilities of {array.shape[1]} components, but n_components "
            f"is {n_components}"
        )
    responsibilities = np.ascontiguousarray(array, dtype=np.float64)
    good = np.isfinite(responsibilities) & (responsibilities >= 0.0)
    if not good.all():
        row, component = np.argwhere(~good)[0]
        raise ValueError(
            f"init_params gives responsibility {responsibilities[row, component]} in row {row}, "
            f"component {component}: they must be finite and not negative"
        )
    sums = responsibilities.sum(axis=1)
    if sums.max() > 1.0 + ROUNDING:
        row = int(sums.argmax())
        raise ValueError(
            f"init_params gives responsibilities that sum to {sums[row]:.6g} in row {row}: divide "
            "each row by its sum (less than 1 is a row that begins in none, or in part)"
        )
    _check_none_empty(np.flatnonzero(responsibilities.any(axis=0)), n_components)
    return Soft(lambda: _Reading(responsibilities))


@dataclass
class _Reading:
    """Given responsibilities, row after row."""

    responsibilities: Float64Array
    done: int = 0

    def __call__(self, n_rows: int) -> Float64Array:
        self.done += n_rows
        return self.responsibilities[self.done - n_rows : self.done]
