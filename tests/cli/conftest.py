"""A small data set, a model of it, and two ways to run the command on them."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from fastgmm import GaussianMixture
from fastgmm.cli import main


@pytest.fixture(scope="session")
def rows():
    generator = np.random.default_rng(0)
    near, far = generator.normal(size=(150, 2)), generator.normal(size=(50, 2)) + 8.0
    return generator.permutation(np.concatenate([near, far]))


@pytest.fixture
def data(tmp_path, rows):
    np.save(tmp_path / "rows.npy", rows)
    return tmp_path / "rows.npy"


@pytest.fixture
def table(tmp_path, rows):
    """Parquet with a text column and weights next to the features."""
    pa = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    columns = {"a": rows[:, 0], "b": rows[:, 1], "w": np.arange(len(rows)) % 3}
    text = pa.array(["x"] * len(rows))
    parquet.write_table(pa.table({**columns, "name": text}), tmp_path / "rows.parquet")
    return tmp_path / "rows.parquet"


@pytest.fixture
def model_file(tmp_path, rows):
    GaussianMixture(2, tol="statistical", random_state=0).fit(rows).save(tmp_path / "model.npz")
    return tmp_path / "model.npz"


@pytest.fixture
def run():
    """Run the command in this process; ``exit_code`` None: whatever comes."""

    def run(*arguments, exit_code=0):
        result = CliRunner().invoke(main, [str(argument) for argument in arguments])
        assert exit_code in (None, result.exit_code), result.output
        return result

    return run


@pytest.fixture
def run_process():
    """Run the command as users do."""

    def run_process(*arguments, folder=None, **environment):
        return subprocess.run(
            [sys.executable, "-m", "fastgmm", *map(str, arguments)],
            capture_output=True,
            text=True,
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), **environment},
        )

    return run_process
