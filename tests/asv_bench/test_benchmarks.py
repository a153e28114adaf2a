"""Every benchmark runs: once, tiny."""

import importlib
import inspect
import itertools
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "asv_bench" / "benchmarks"
MODULES = [
    file.stem for file in BENCHMARKS.glob("*.py") if file.stem not in ("__init__", "problems")
]


def cases(module_name):
    """Yield (class, method name, parameters) for every benchmark of a module."""
    module = importlib.import_module(f"benchmarks.{module_name}")
    for _, suite in inspect.getmembers(module, inspect.isclass):
        if suite.__module__ != module.__name__:
            continue
        for name in filter(lambda name: name.startswith("time_"), dir(suite)):
            for parameters in itertools.product(*getattr(suite, "params", ())):
                yield suite, name, parameters


@pytest.mark.parametrize(
    "module_name",
    [pytest.param(name, marks=[pytest.mark.slow] * (name == "startup")) for name in MODULES],
)
def test_every_benchmark_runs_once_tiny(module_name, monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS.parent))
    monkeypatch.setenv("FASTGMM_BENCH_ROWS", "300")
    found = 0
    for suite, name, parameters in cases(module_name):
        benchmark = suite()
        benchmark.setup(*parameters)
        try:
            getattr(benchmark, name)(*parameters)
        finally:
            if hasattr(benchmark, "teardown"):
                benchmark.teardown(*parameters)
        found += 1
    assert found > 0
    for loaded in [name for name in sys.modules if name.partition(".")[0] == "benchmarks"]:
        del sys.modules[loaded]
