"""Are these the columns of the fit, in scikit-learn's words; and which ones does a user mean?"""

import numbers
import warnings
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from fastgmm._typing import IntArray
from fastgmm.exceptions import DataError
from fastgmm.sources import Source

MOST_NAMES = 5
"""So many unexpected or missing names are listed."""


def check_columns(
    owner: str, source: Source, n_features: int, fitted_names: Sequence[str] | None
) -> None:
    """Raise DataError unless a source has a fit's columns.

    Warn where only one of them has names, but for files: some kinds have none.
    """
    names = source.columns
    if names is not None and fitted_names is not None:
        if list(names) != list(fitted_names):
            raise DataError(_difference(names, fitted_names))
    elif names is not None and not source.reads_files:
        _warn(f"X has feature names, but {owner} was fitted without feature names")
    elif fitted_names is not None and not source.reads_files:
        _warn(f"X does not have valid feature names, but {owner} was fitted with feature names")
    if source.n_features != n_features:
        raise DataError(
            f"X has {source.n_features} features, but {owner} is expecting {n_features} features "
            "as input."
        )


def _warn(text: str) -> None:
    warnings.warn(text, UserWarning, stacklevel=7)


def _difference(names: Sequence[str], fitted_names: Sequence[str]) -> str:
    unseen = sorted(set(names).difference(fitted_names))
    missing = sorted(set(fitted_names).difference(names))
    message = "The feature names should match those that were passed during fit.\n"
    if unseen:
        message += "Feature names unseen at fit time:\n" + _list(unseen)
    if missing:
        message += "Feature names seen at fit time, yet now missing:\n" + _list(missing)
    if not unseen and not missing:
        message += "Feature names must be in the same order as they were in fit.\n"
    return message


def _list(names: Sequence[str]) -> str:
    more = ["- ...\n"] if len(names) > MOST_NAMES else []
    return "".join([*(f"- {name}\n" for name in names[:MOST_NAMES]), *more])


def chosen_columns(columns: Any, n_features: int, names: Sequence[str] | None) -> IntArray:
    """Return where the columns are that a user gives: numbers or names, or one alone.

    Raises ValueError where there is no such column, none is given or one comes twice.
    """
    several = isinstance(columns, Iterable) and not isinstance(columns, str)
    given = list(columns) if several and np.ndim(columns) > 0 else [columns]
    chosen = np.array([_position(column, n_features, names) for column in given], np.int64)
    if len(chosen) == 0:
        raise ValueError("No columns are given: name one or more")
    twice = np.flatnonzero(np.bincount(chosen) > 1)
    if len(twice):
        first = twice[0] if names is None else repr(names[twice[0]])
        raise ValueError(f"Column {first} is given twice: name each column once")
    return chosen


def _position(column: Any, n_features: int, names: Sequence[str] | None) -> int:
    if isinstance(column, str):
        if names is None:
            raise ValueError(
                f"There is no column {column!r}, as the model has no column names: give numbers "
                f"from 0 to {n_features - 1}"
            )
        if column not in names:
            raise ValueError(f"There is no column {column!r}: the model has {', '.join(names)}")
        return list(names).index(column)
    if isinstance(column, bool) or not isinstance(column, numbers.Integral):
        raise ValueError(f"{column!r} is not a column: give its number or its name")
    number = int(column)
    if not -n_features <= number < n_features:
        raise ValueError(f"There is no column {number}: the model has {n_features}, counted from 0")
    return number % n_features
