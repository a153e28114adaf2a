"""How long until something happens: import, the command's help, the first fit?"""

import os
import subprocess
import sys
import tempfile

FIRST_FIT = """
import numpy as np
from fastgmm import GaussianMixture
rows = np.random.default_rng(0).normal(size=(1000, 2))
GaussianMixture(2, tol=0.1, init_params="random_from_data", random_state=0).fit(rows)
"""


def python(*arguments, **environment):
    """Run Python in a new process."""
    subprocess.run(
        [sys.executable, *arguments],
        check=True,
        stdout=subprocess.DEVNULL,
        env={**os.environ, **environment},
    )


class Startup:
    """What a new process has to wait for."""

    def setup(self):
        """Fill the compile cache."""
        python("-c", FIRST_FIT)

    def time_python(self):
        """Start Python: what the others are to be compared with."""
        python("-c", "")

    def time_import(self):
        """Import fastgmm."""
        python("-c", "import fastgmm")

    def time_help(self):
        """Ask the command for help."""
        python("-m", "fastgmm", "--help")

    def time_first_fit_warm(self):
        """Fit a thousand rows with compiled kernels on disk."""
        python("-c", FIRST_FIT)

    def time_first_fit_cold(self):
        """Fit a thousand rows with nothing compiled."""
        with tempfile.TemporaryDirectory() as cache:
            python("-c", FIRST_FIT, FASTGMM_CACHE=cache)

    time_first_fit_cold.number = 1
    time_first_fit_cold.repeat = 3
    time_first_fit_cold.timeout = 300
