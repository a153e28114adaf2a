"""A Zarr array of format 3, one chunk a part."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastgmm.exceptions import DataError
from fastgmm.sinks.folders import Layout

try:
    import zarr
except ImportError as error:
    raise DataError("Writing Zarr needs zarr: pip install 'fastgmm[zarr]'") from error

METADATA = "zarr.json"


def part_name(layout: Layout, number: int) -> str:
    """Return the key of a part's chunk: all lie in one folder."""
    return ".".join(map(str, ("c", number, *(0,) * (layout.nothing.ndim - 1))))


def part_bytes(layout: Layout, number: int, rows: NDArray[Any]) -> bytes:
    """Return a part's chunk, as Zarr encodes it."""
    store, array = _in_memory(layout)
    start = number * layout.part_rows
    array[start : start + len(rows)] = rows
    content: bytes = store[part_name(layout, number)].to_bytes()
    return content


def other_files(layout: Layout) -> Mapping[str, bytes]:
    """Return the array's metadata."""
    store, _ = _in_memory(layout)
    return {METADATA: store[METADATA].to_bytes()}


def _in_memory(layout: Layout) -> tuple[dict[str, Any], Any]:
    """Return a store in memory and the array in it, of which nothing is written yet."""
    store: dict[str, Any] = {}
    columns = layout.nothing.shape[1:]
    array = zarr.create_array(
        zarr.storage.MemoryStore(store),
        shape=(layout.n_rows, *columns),
        chunks=(min(layout.part_rows, layout.n_rows), *columns),
        dtype=layout.nothing.dtype,
        fill_value=np.nan if layout.nothing.dtype.kind == "f" else -1,
        attributes={"columns": list(layout.names)},
        chunk_key_encoding={"name": "default", "separator": "."},
        # a chunk of nothing but the fill value is a file too: none is missing
        config={"write_empty_chunks": True},
    )
    return store, array
