"""Where chunks are computed: threads of this process, or a Dask cluster.

A new executor is one module that satisfies ``Executor`` and one line in ``executor_for``.
"""

from fastgmm.executors.base import Costs, Executor, Ledger, Nodes, Placement, Report, Work
from fastgmm.executors.choice import check_client, executor_for
from fastgmm.executors.pool import Pool
from fastgmm.executors.threads import ThreadExecutor
from fastgmm.executors.tree import Node

__all__ = [
    "Costs",
    "Executor",
    "Ledger",
    "Node",
    "Nodes",
    "Placement",
    "Pool",
    "Report",
    "ThreadExecutor",
    "Work",
    "check_client",
    "executor_for",
]
