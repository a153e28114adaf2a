"""Dask arrays and data frames: their partitions are the blocks.

The optimised graph of a collection is cut once into one small graph per partition. Each is computed
by itself by the thread that wants it: a thread of this process without any cluster, or one task
that streams a whole range of partitions.
"""

from fastgmm.sources.dask_collections.cutting import futures_of
from fastgmm.sources.dask_collections.partitions import Block, Blocks, Partitions, is_future
from fastgmm.sources.dask_collections.predictions import map_rows
from fastgmm.sources.dask_collections.source import DaskSource, collection_source

__all__ = [
    "Block",
    "Blocks",
    "DaskSource",
    "Partitions",
    "collection_source",
    "futures_of",
    "is_future",
    "map_rows",
]
