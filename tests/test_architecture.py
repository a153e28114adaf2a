"""The house stands: storeys, doors, and what an import costs."""

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path

import fastgmm

CHECKOUT = Path(__file__).parents[1]
HEAVY = (
    "numpy",
    "scipy",
    "numba",
    "llvmlite",
    "dask",
    "distributed",
    "pyarrow",
    "sklearn",
    "pandas",
    "matplotlib",
)


def test_the_import_contracts_are_kept():
    script = "from importlinter.cli import lint_imports_command; lint_imports_command()"
    result = subprocess.run(
        [sys.executable, "-c", script, "--no-cache"],
        capture_output=True,
        text=True,
        cwd=CHECKOUT,
        env={**os.environ, "PYTHONPATH": str(CHECKOUT)},
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert "0 broken" in result.stdout


def modules_after(*statements):
    """Return the heavy modules that a new process has loaded after some statements."""
    script = "\n".join([*statements, "import json, sys", "print(json.dumps(list(sys.modules)))"])
    environment = {**os.environ, "PYTHONPATH": str(CHECKOUT)}
    result = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, env=environment, check=True
    )
    return set(json.loads(result.stdout)) & set(HEAVY)


def test_import_fastgmm_loads_nothing_heavy():
    assert modules_after("import fastgmm") == set()


def test_the_command_loads_nothing_heavy_before_it_runs():
    assert modules_after("import fastgmm.cli") == set()


def test_a_fit_loads_neither_dask_nor_scikit_learn():
    statements = [
        "from fastgmm import GaussianMixture",
        "GaussianMixture(1).fit([[0.0], [1.0], [3.0]])",
    ]
    assert modules_after(*statements) & {"dask", "distributed", "sklearn", "pandas"} == set()


def test_matplotlib_waits_for_the_first_picture():
    assert "matplotlib" not in modules_after("import fastgmm.plotting")


def test_public_names_resolve_to_what_type_checkers_see():
    assert set(fastgmm.__all__) <= set(dir(fastgmm))
    for name in fastgmm.__all__:
        assert getattr(fastgmm, name) is not None


def test_every_module_opens_with_a_sentence():
    for file in (CHECKOUT / "fastgmm").rglob("*.py"):
        parts = file.relative_to(CHECKOUT).with_suffix("").parts
        name = ".".join(part for part in parts if part != "__init__")
        if parts[-1] == "__main__":
            continue
        first = (importlib.import_module(name).__doc__ or "").split("\n\n")[0].strip()
        assert first.endswith((".", "?")), name
