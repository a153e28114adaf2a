"""What an array on a disk must be: a table of numbers, whose columns are known by number."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from fastgmm.exceptions import DataError
from fastgmm.sources.columns import choose_columns


class Selection(NamedTuple):
    """Which columns of a table are read."""

    features: tuple[int, ...]
    """In the order chosen."""
    weight: int | None = None
    """Column of the row weights."""
    names: tuple[str, ...] | None = None
    """Where columns were chosen: their numbers in the table, for messages."""

    @property
    def read(self) -> tuple[int, ...]:
        """All columns that are read."""
        return (*self.features, *(() if self.weight is None else (self.weight,)))


def table_shape(path: str, shape: Sequence[int], dtype: np.dtype[Any]) -> tuple[int, int]:
    """Return the numbers of rows and columns of an array; one dimension is one column.

    Raises DataError unless it holds float64, float32, integers or booleans in one or two
    dimensions.
    """
    if dtype.kind not in "iub" and dtype.newbyteorder("=") not in (np.float64, np.float32):
        raise DataError(f"{path} holds {dtype}: save it as float64, float32, integers or booleans")
    if len(shape) not in (1, 2):
        raise DataError(f"{path} has the shape {tuple(shape)}: save it as (rows, columns)")
    n_rows, n_columns = (*shape, 1)[:2]
    if n_columns == 0:
        raise DataError(f"{path} has no columns: its shape is {tuple(shape)}")
    return n_rows, n_columns


def select(
    tables: Sequence[tuple[str, int, int]],
    columns: Sequence[str] | None,
    weight: str | None,
) -> Selection:
    """Choose columns of tables that are one data set; each is (path, rows, columns).

    ``columns`` and ``weight`` are column numbers, or these as text, such as ``"0"``.

    Raises
    ------
    DataError
        Tables of different widths, no rows in any, columns that are not there.
    """
    first, _, n_columns = tables[0]
    for path, _, width in tables:
        if width != n_columns:
            raise DataError(
                f"{path} has {width} columns but {first} has {n_columns}: files of one data set "
                "have the same columns"
            )
    if not any(n_rows for _, n_rows, _ in tables):
        raise DataError(f"{first} holds no rows: there is nothing to read")
    available = [str(column) for column in range(n_columns)]
    named = columns if columns is None or isinstance(columns, str) else [str(c) for c in columns]
    chosen = choose_columns(first, available, named, None if weight is None else str(weight))
    return Selection(
        features=tuple(int(column) for column in chosen),
        weight=None if weight is None else int(weight),
        names=None if list(chosen) == available else chosen,
    )
