"""A Dask cluster: one task per shard of neighbouring blocks, whatever happens to its workers.

Cost on a cluster is per task, so tasks are bounded, not partitions: every shard is 2^m blocks, one
node of the tree, and one task per pass streams it and sends back one state per work. What all tasks
of a pass need (the works, the grid, a file source) travels with them where it is small, else as the
result of a task: as cheap as scattered data, but recomputed from the scheduler's own copy when its
holder dies. Nothing is pinned to a worker. Importing this package imports Dask: only who has a
cluster to use does.
"""

from fastgmm.executors.dask.clients import (
    active_client,
    connected,
    is_client,
    local_workers,
    performance_report,
)
from fastgmm.executors.dask.placement import DaskPlacement
from fastgmm.executors.dask.placing import DaskExecutor

__all__ = [
    "DaskExecutor",
    "DaskPlacement",
    "active_client",
    "connected",
    "is_client",
    "local_workers",
    "performance_report",
]
