"""How long until something happens: import, the command's help, the first fit?"""

import os
import subprocess
import sys
import tempfile

FIRST_FIT = """
import sys, warnings
import numpy as np
from {package} import GaussianMixture

warnings.simplefilter("ignore")
n, covariance_type, dtype = int(sys.argv[1]), *sys.argv[2:]
rows = np.random.default_rng(0).normal(size=(n, 8)).astype(dtype)
GaussianMixture(8, covariance_type=covariance_type, random_state=0).fit(rows)
"""
OURS = FIRST_FIT.format(package="fastgmm")
SCIKIT_LEARN = FIRST_FIT.format(package="sklearn.mixture")

TINY = "FASTGMM_BENCH_ROWS" in os.environ
ROWS = os.environ.get("FASTGMM_BENCH_ROWS", "10000")


def python(*arguments, **environment):
    """Run Python in a new process, which keeps modules as bytecode: installed ones have it."""
    environment = {**os.environ, **environment}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    subprocess.run(
        [sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL, env=environment
    )


class Startup:
    """What a new process has to wait for before it does anything."""

    def setup(self):
        """Have the files read once."""
        python("-c", "import numba")

    def time_python(self):
        """Start Python: what the others are to be compared with."""
        python("-c", "")

    def time_import(self):
        """Import fastgmm."""
        python("-c", "import fastgmm")

    def time_import_numba(self):
        """Import Numba: the largest part of a first fit that is not ours."""
        python("-c", "import numba")

    def time_help(self):
        """Ask the command for help."""
        python("-m", "fastgmm", "--help")


class FirstFit:
    """Fit 10,000 x 8 values with eight components in a new process, imports included."""

    param_names = ("covariance_type", "dtype")
    # compiling all of them takes a test too long
    params = (["full"], ["float64"]) if TINY else (["full", "diag"], ["float64", "float32"])

    def setup(self, covariance_type, dtype):
        """Compile what is missing in the user's folder."""
        self.time_warm(covariance_type, dtype)

    def time_warm(self, covariance_type, dtype):
        """Fit with compiled kernels on disk."""
        python("-c", OURS, ROWS, covariance_type, dtype)

    def time_cold(self, covariance_type, dtype):
        """Fit with nothing compiled."""
        with tempfile.TemporaryDirectory() as cache:
            python("-c", OURS, ROWS, covariance_type, dtype, FASTGMM_CACHE=cache)

    def time_scikit_learn(self, covariance_type, dtype):
        """Import scikit-learn and fit the same."""
        python("-c", SCIKIT_LEARN, ROWS, covariance_type, dtype)

    time_cold.number = 1
    time_cold.repeat = 3
    time_cold.timeout = 300
