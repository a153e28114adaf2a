"""The families' laws hold with narrower registers than this machine's."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from fastgmm.covariance import FAMILIES

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_the_textbook_holds_with_32_byte_registers():
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"),
            *("tests/covariance", "-k", "one_iteration"),
        ],
        cwd=ROOT,
        env={**os.environ, "FASTGMM_SIMD_BYTES": "32"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout
    assert f"{5 * len(FAMILIES)} passed" in done.stdout
