"""Where predictions go: an array in memory, or a file that is complete or absent.

A kind of file is one function and one line in ``FILE_SINKS``.
"""

from collections.abc import Callable, Iterable, Iterator
from os import PathLike, fspath
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from fastgmm.atomic_file import atomic_file
from fastgmm.exceptions import DataError

Blocks: TypeAlias = Iterable[NDArray[Any]]
"""Results of neighbouring blocks in order, each (t,) or (t, columns)."""


NOTHING = "Found array with 0 sample(s): there are no rows to predict"


def to_array(blocks: Blocks, n_rows: int) -> NDArray[Any]:
    """Put blocks into one array, allocated once."""
    whole: NDArray[Any] | None = None
    at = 0
    for block in blocks:
        if whole is None:
            whole = np.empty((n_rows, *block.shape[1:]), block.dtype)
        whole[at : at + len(block)] = block
        at += len(block)
    if whole is None:
        raise DataError(NOTHING)
    return whole


def _to_npy(path: str, blocks: Blocks, n_rows: int, names: list[str]) -> None:
    with open(path, "wb") as file:
        for at, block in enumerate(blocks):
            if at == 0:
                header = {
                    "descr": np.lib.format.dtype_to_descr(block.dtype),
                    "fortran_order": False,
                    "shape": (n_rows, *block.shape[1:]),
                }
                np.lib.format.write_array_header_2_0(file, header)
            file.write(np.ascontiguousarray(block).data)


def _to_parquet(path: str, blocks: Blocks, n_rows: int, names: list[str]) -> None:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise DataError("Writing Parquet needs pyarrow: pip install 'fastgmm[parquet]'") from None

    def tables() -> Iterator[Any]:
        for block in blocks:
            columns = block.reshape(len(block), -1).T
            named = zip(names, map(np.ascontiguousarray, columns), strict=True)
            yield pyarrow.table(dict(named))

    parts = tables()
    first = next(parts)
    with pyarrow.parquet.ParquetWriter(path, first.schema) as writer:
        writer.write_table(first)
        for part in parts:
            writer.write_table(part)


FILE_SINKS: dict[str, Callable[[str, Blocks, int, list[str]], None]] = {
    ".npy": _to_npy,
    ".parquet": _to_parquet,
}
"""File name ending -> function(path, blocks, n_rows, column names)."""


def check_sink(path: str | PathLike[str]) -> None:
    """Raise DataError unless a file of this name can be begun: before hours of work, not after."""
    target = Path(path)
    if target.suffix not in FILE_SINKS:
        known = " or ".join(FILE_SINKS)
        raise DataError(f"Cannot write {fspath(path)}: its name must end in {known}")
    if not target.parent.is_dir():
        raise DataError(f"Cannot write {fspath(path)}: there is no folder {target.parent}")


def to_file(path: str | PathLike[str], blocks: Blocks, n_rows: int, names: list[str]) -> None:
    """Stream blocks to a file, complete or not at all.

    Raises DataError for an unknown ending or a missing folder, OSError if the disk refuses.
    """
    check_sink(path)
    if n_rows == 0:
        raise DataError(NOTHING)
    with atomic_file(path) as temporary:
        FILE_SINKS[Path(path).suffix](temporary, blocks, n_rows, names)
