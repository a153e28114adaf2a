"""The examples in the docstrings of estimators do what they show."""

import doctest
import importlib
import pkgutil

import pytest

from fastgmm import estimators

MODULES = [
    f"fastgmm.estimators.{module.name}" for module in pkgutil.iter_modules(estimators.__path__)
]


@pytest.mark.parametrize("name", MODULES)
def test_examples_are_true(name):
    assert doctest.testmod(importlib.import_module(name)).failed == 0
