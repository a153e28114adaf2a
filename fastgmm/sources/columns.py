"""Columns: which are features and which one holds the weights, what they are called and hold."""

from collections.abc import Sequence
from typing import Any

from fastgmm.exceptions import DataError, DataTypeError


def choose_columns(
    file: str, available: Sequence[str], columns: Sequence[str] | None, weight: str | None
) -> tuple[str, ...]:
    """Return the feature columns in the order chosen; by default all but the weights.

    Raises DataError for columns the file does not have and for choices that make no sense.
    """
    if isinstance(columns, str):
        raise DataError(f"columns={columns!r} is one name: give a list, columns=[{columns!r}]")
    if weight is not None and weight not in available:
        raise DataError(
            f"{file} has no column {weight!r} for the weights: it has {_list(available)}"
        )
    if columns is None:
        chosen = tuple(name for name in available if name != weight)
    else:
        chosen = tuple(columns)
    for name in chosen:
        if name not in available:
            folders = ", and names of folders are none" if f"{name}=" in file else ""
            raise DataError(f"{file} has no column {name!r}: it has {_list(available)}{folders}")
        if columns is not None and chosen.count(name) > 1:
            raise DataError(f"column {name!r} is chosen twice: name it once")
        if name == weight:
            raise DataError(
                f"column {name!r} holds the weights and is chosen as a feature: leave it out of one"
            )
    if not chosen:
        raise DataError(f"no column of {file} is left to fit: choose at least one")
    return chosen


def _list(names: Sequence[str], most: int = 20) -> str:
    text = ", ".join(names[:most])
    return text if len(names) <= most else f"{text} and {len(names) - most} more"


def not_numbers(name: Any, dtype: Any) -> str:
    """Return what is wrong with a column of such a type."""
    return f"column {str(name)!r} holds {dtype}, not numbers: choose other columns"


def frame_columns(X: Any) -> list[str] | None:
    """Return the names of a frame's columns if they are text; None if numbers, as for an array."""
    # Arrow's tables have their columns' data under the name that frames have the names
    names = list(getattr(X, "column_names", getattr(X, "columns", [])))
    kinds = sorted({type(name).__name__ for name in names})
    if kinds == ["str"]:
        return names
    if "str" in kinds:
        raise DataTypeError(
            "Feature names are only supported if all input features have string names, but your "
            f"input has {kinds} as feature name / column name types. If you want feature names to "
            "be stored and validated, you must convert them all to strings, by using X.columns = "
            "X.columns.astype(str) for example. Otherwise you can remove feature / column names "
            "from your input data, or convert them all to a non-string data type."
        )
    return None
