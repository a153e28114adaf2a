"""The examples in the docstrings of estimators do what they show."""

import doctest
import importlib
import pkgutil

import pytest

from fastgmm import estimators

MODULES = [
    module.name for module in pkgutil.walk_packages(estimators.__path__, "fastgmm.estimators.")
]


@pytest.mark.parametrize("name", MODULES)
def test_examples_are_true(name):
    assert doctest.testmod(importlib.import_module(name)).failed == 0
