"""One ``.npy`` file, written by this process in the order of the rows."""

from pathlib import Path

import numpy as np

from fastgmm.atomic_file import atomic_file
from fastgmm.sinks.results import Results


def to_npy(path: Path, results: Results) -> None:
    """Stream results to a file; what was at ``path`` is replaced at the end."""
    nothing = results.nothing
    header = {
        "descr": np.lib.format.dtype_to_descr(nothing.dtype),
        "fortran_order": False,
        "shape": (results.n_rows, *nothing.shape[1:]),
    }
    with atomic_file(path) as temporary, open(temporary, "wb") as file:
        np.lib.format.write_array_header_2_0(file, header)
        for block in results.blocks():
            file.write(np.ascontiguousarray(block).data)
