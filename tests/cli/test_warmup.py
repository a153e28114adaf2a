"""``fastgmm warmup``: what it compiled, later processes load."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from fastgmm._jit import loaded_kernels
from fastgmm.cli.warmup import use_every_kernel

FIT = """
import numpy as np
from fastgmm import GaussianMixture, select
from fastgmm._jit import loaded_kernels

rows = np.random.default_rng(0).normal(size=(500, 1)).astype("float32")
model = GaussianMixture(3, random_state=0)
model.fit(rows, sample_weight=rows[:, 0] ** 2)
model.predict(rows)
model.score_samples(rows)
select(rows, (2, 3), "full", criterion="cv", n_folds=2, n_init=1, random_state=0)
print([kernel.name for kernel in loaded_kernels() if kernel.compiled])
"""
ONE = ("warmup", "--covariance-type", "full", "--dtype", "float32", "--n-features", "1")


@pytest.mark.slow
def test_what_it_compiled_later_processes_load(run_process, tmp_path):
    environment = {"FASTGMM_CACHE": str(tmp_path)}
    first = run_process(*ONE, **environment)
    assert first.returncode == 0, first.stderr
    assert first.stdout.startswith("full float32 1 column: ")
    assert f"all kept in {tmp_path}" in first.stdout
    again = run_process(*ONE, **environment)
    assert again.stdout.startswith("0 of ")
    fit = subprocess.run(
        [sys.executable, "-c", FIT],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), **environment},
    )
    assert fit.stdout == "[]\n"
    quiet = run_process(*ONE, "--quiet", **environment)
    assert (quiet.returncode, quiet.stdout, quiet.stderr) == (0, "", "")


@pytest.mark.parametrize("cache", ["0", "/dev/null/nowhere"])
def test_where_nothing_can_be_kept_it_says_so_at_once(run_process, cache):
    result = run_process(*ONE, FASTGMM_CACHE=cache)
    assert result.returncode == 4
    assert result.stderr.startswith("fastgmm: error: compiled kernels cannot be kept: ")


@pytest.mark.slow
def test_a_full_disk_is_an_error(tmp_path):
    code = (
        "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096)); "
        "from fastgmm.cli import main; main()"
    )
    result = subprocess.run(
        [sys.executable, "-c", code, *ONE],
        capture_output=True,
        text=True,
        env={
            **os.environ,
            "PYTHONPATH": str(Path(__file__).parents[2]),
            "FASTGMM_CACHE": str(tmp_path),
        },
    )
    assert result.returncode == 4
    assert "were not kept" in result.stderr


@pytest.mark.parametrize("tied", ["tied_diag", "tied_spherical"])
def test_shared_variances_compile_nothing_of_their_own(tied):
    for family in ("diag", "spherical"):
        use_every_kernel(family, "float64", 3)
    before = set(loaded_kernels())
    use_every_kernel(tied, "float64", 3)
    assert set(loaded_kernels()) == before


@pytest.mark.parametrize(
    ("option", "value", "words"),
    [
        ("--covariance-type", "tied_diag,round", "'round' is not one of"),
        ("--dtype", "int8", "'int8' is not one of"),
        ("--n-features", "2,none", "'none' is not a number of columns"),
        ("--n-features", "0", "'0' is not a number of columns"),
    ],
)
def test_a_wrong_option_is_named(run, option, value, words):
    assert words in run("warmup", option, value, exit_code=2).output


def test_a_warmed_kind_of_fit_uses_no_other_kernel():
    use_every_kernel("full", "float64", 2)
    before = set(loaded_kernels())
    use_every_kernel("full", "float64", 2)
    assert set(loaded_kernels()) == before
