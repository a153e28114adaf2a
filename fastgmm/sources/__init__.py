"""Where rows come from: arrays, files, Dask collections, all read as chunks.

A kind of file is one module and one line in ``FILE_FORMATS``; it is imported when a file with
its ending is opened.
"""

from fastgmm.sources.arrays import ArraySource
from fastgmm.sources.base import (
    BUFFERS,
    NO_WEIGHTS,
    Chunk,
    Countable,
    Source,
)
from fastgmm.sources.grid import BLOCKS_OF_PARTITIONS, Grid, lengths_grid, row_grid
from fastgmm.sources.identity import check_not_read, check_unchanged, files_of
from fastgmm.sources.naming import NO_NAMES, Names, source_names
from fastgmm.sources.opening import FILE_FORMATS, as_source, open_dataset

__all__ = [
    "BLOCKS_OF_PARTITIONS",
    "BUFFERS",
    "FILE_FORMATS",
    "NO_NAMES",
    "NO_WEIGHTS",
    "ArraySource",
    "Chunk",
    "Countable",
    "Grid",
    "Names",
    "Source",
    "as_source",
    "check_not_read",
    "check_unchanged",
    "files_of",
    "lengths_grid",
    "open_dataset",
    "row_grid",
    "source_names",
]
