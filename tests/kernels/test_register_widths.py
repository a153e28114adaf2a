"""The families' laws hold with narrower registers than this machine's."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from fastgmm.covariance import FAMILIES

ROOT = Path(__file__).parents[2]


def passed_with(n_bytes, *tests):
    """Return what the tests print, which pass with so narrow registers."""
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *tests],
        cwd=ROOT,
        env={**os.environ, "FASTGMM_SIMD_BYTES": str(n_bytes)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


@pytest.mark.slow
def test_the_textbook_holds_with_32_byte_registers():
    found = passed_with(32, "tests/covariance", "-k", "one_iteration")
    assert f"{5 * len(FAMILIES)} passed" in found


@pytest.mark.slow
def test_groups_add_up_with_32_byte_registers():
    passed_with(32, "tests/kernels/test_narrow.py", "-k", "far_away or any_distance")


@pytest.mark.slow
def test_kept_squares_add_up_with_32_byte_registers():
    passed_with(32, "tests/kernels/test_near_axes.py", "-k", "textbook and float64")


@pytest.mark.slow
def test_moments_are_sums_with_16_byte_registers():
    passed_with(16, "tests/kernels/test_chosen.py", "-k", "either_way and float64")


@pytest.mark.slow
def test_rows_become_columns_with_32_byte_registers():
    passed_with(32, "tests/kernels/test_columns.py")
