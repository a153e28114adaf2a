"""Settings are described alike where they are alike, in any process, and else are not."""

import subprocess
import sys
from functools import cache, partial
from pathlib import Path

import numba
import numpy as np
import pytest

from fastgmm.descriptions import described


def choose(rows, scale=1.0, *, names=("a", "b")):
    return scale if {"x", "y", "z"} & set(names) else rows


def closing_over(value):
    def inner(rows):
        return rows, value

    return inner


def itself(value):
    def inner(rows):
        return inner if rows else value

    return inner


class Start:
    def __init__(self, seed):
        self.seed = seed

    def __call__(self, rows):
        return rows

    def method(self, rows):
        return self.seed


DIFFERENT = {
    "lambdas": [lambda rows: 1, lambda rows: 2, lambda rows: 1.5, lambda rows: rows],
    "names": [lambda rows: rows.min(), lambda rows: rows.max()],
    "within": [lambda rows: lambda: 1, lambda rows: lambda: 2],
    "defaults": [lambda rows, a=1: a, lambda rows, a=2: a, lambda rows, *, a=1: a],
    "closures": [closing_over(value) for value in (1, 2, "1", None, np.arange(2), np.arange(3))],
    "closures over functions": [closing_over(min), closing_over(max), closing_over(choose)],
    "closures over themselves": [itself(1), itself(2)],
    "partials": [partial(choose, scale=1.0), partial(choose, scale=2.0), partial(choose, 2.0)],
    "of partials": [partial(partial(min, 1), 2), partial(partial(max, 1), 2)],
    "arrays in partials": [partial(choose, scale=np.full(3, value)) for value in range(3)],
    "objects": [Start(1), Start(2), Start(1).method, Start(2).method, Start],
    "wrapped": [cache(lambda rows: 1), cache(lambda rows: 2)],
    "compiled": [numba.njit(lambda rows: 1), numba.njit(lambda rows: 2)],
    "built in": [min, max, np.min, np.random.default_rng(0).normal],
    "values": [None, True, 2, "2", (1, 2), (2, 1), (np.eye(2), np.eye(3)), np.eye(2), "means"],
}


@pytest.mark.parametrize("what", DIFFERENT)
def test_different_settings_differ(what):
    descriptions = [repr(described(one)) for one in DIFFERENT[what]]
    assert len(set(descriptions)) == len(descriptions)


def test_a_description_says_which_function():
    assert described(choose).startswith(f"{__name__}.choose ")
    assert described(partial(choose, scale=2.0)).startswith("functools.partial ")


def test_books_that_a_function_keeps_do_not_make_it_another():
    def choose(rows):
        asked.append(rows)

    asked = []
    start = Start(asked)
    before = described(choose), described(start), described(start.method)
    choose(1)
    assert before == (described(choose), described(start), described(start.method))


def of_everything():
    return repr({what: [described(one) for one in some] for what, some in DIFFERENT.items()})


def test_another_process_describes_the_same_source_alike(monkeypatch):
    code = "import test_descriptions; print(test_descriptions.of_everything())"
    folder = Path(__file__).parent
    monkeypatch.setenv("PYTHONPATH", f"{folder.parent}:{folder}")
    said = []
    for seed in "12":
        monkeypatch.setenv("PYTHONHASHSEED", seed)
        found = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
        said.append(found.stdout)
    assert said[0] == said[1]
