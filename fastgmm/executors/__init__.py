"""Where chunks are computed: threads of this process, or a Dask cluster.

``EXECUTORS`` is the registry; an executor is one module and one line here.
"""

from fastgmm.executors.base import Executor, Placement, Report, Work
from fastgmm.executors.threads import ThreadExecutor

__all__ = ["Executor", "Placement", "Report", "ThreadExecutor", "Work"]
