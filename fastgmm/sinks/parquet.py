"""A folder of Parquet files, one a part, as Spark and Dask write it."""

from collections.abc import Mapping
from typing import Any

from numpy.typing import NDArray

from fastgmm.exceptions import DataError
from fastgmm.sinks.folders import Layout, columns_of

try:
    import pyarrow as pa
    from pyarrow import parquet as pq
except ImportError as error:
    raise DataError("Writing Parquet needs pyarrow: pip install 'fastgmm[parquet]'") from error


def part_name(layout: Layout, number: int) -> str:
    """Return the file name of a part; in the order of names, parts are in the order of rows."""
    digits = max(len(str(layout.n_parts - 1)), 5)
    return f"part-{number:0{digits}}.parquet"


def part_bytes(layout: Layout, number: int, rows: NDArray[Any]) -> bytes:
    """Return a part's file."""
    table = pa.table(dict(zip(layout.names, columns_of(rows), strict=True)))
    buffer = pa.BufferOutputStream()
    pq.write_table(table, buffer)
    content: bytes = buffer.getvalue().to_pybytes()
    return content


def other_files(layout: Layout) -> Mapping[str, bytes]:
    """Return nothing: parts are files of their own."""
    return {}
