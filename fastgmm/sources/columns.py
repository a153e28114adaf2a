"""Which columns of a file are features and which one holds the weights."""

from collections.abc import Sequence

from fastgmm.exceptions import DataError


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
            raise DataError(f"{file} has no column {name!r}: it has {_list(available)}")
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
