"""What messages call a row and a column: the file it lies in, and the name it has there."""

from bisect import bisect_right
from operator import itemgetter
from typing import NamedTuple

from fastgmm.sources.base import Source


class Names(NamedTuple):
    """The names of a source's rows and columns, for messages made elsewhere."""

    columns: tuple[str, ...] | None = None
    files: tuple[tuple[int, str], ...] = ()
    """Where rows come from several files: the first row and the path of each, in their order."""

    def row(self, row: int) -> str:
        """Return "row 1234 (row 34 of /data/part-2.npy)"."""
        if not self.files:
            return f"row {row}"
        first, path = self.files[bisect_right(self.files, row, key=itemgetter(0)) - 1]
        return f"row {row} (row {row - first} of {path})"

    def column(self, column: int) -> str:
        """Return "column 2 ('age')"."""
        return f"column {column}" + (f" ({self.columns[column]!r})" if self.columns else "")


NO_NAMES = Names()
"""Of rows in memory: their numbers say enough."""


def source_names(source: Source) -> Names:
    """Return what a source's rows and columns are called.

    Sources that may have several files have a property of the name ``first_rows``, others none.
    """
    files: tuple[tuple[int, str], ...] = getattr(source, "first_rows", ())
    columns = None if source.columns is None else tuple(source.columns)
    return Names(columns, files if len(files) > 1 else ())
