"""The examples in the documentation of the pictures hold."""

import doctest
import importlib
import pkgutil

import pytest

import fastgmm.plotting

MODULES = [module.name for module in pkgutil.iter_modules(fastgmm.plotting.__path__)]


@pytest.mark.parametrize("name", MODULES)
def test_examples_hold(name):
    result = doctest.testmod(importlib.import_module(f"fastgmm.plotting.{name}"))
    assert result.failed == 0
