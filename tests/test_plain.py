"""Records go into files and come back as they were."""

import json
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import pytest

from fastgmm._typing import Float64Array
from fastgmm.plain import plain, record, with_arrays


class Inner(NamedTuple):
    numbers: Float64Array
    bound: float
    name: str | None


@dataclass
class Outer:
    parts: list[Inner]
    last: Inner | None
    runs: list[Float64Array] = field(default_factory=list)
    settings: dict[str, object] = field(default_factory=dict)


class Grown(NamedTuple):
    name: str
    learned: str | None = None


def through_a_file(value):
    arrays = {}
    text = json.dumps(plain(value, arrays))
    return with_arrays(json.loads(text), arrays)


def test_records_come_back():
    inner = Inner(np.array([0.1, np.nan]), -np.inf, None)
    value = Outer(
        [inner, Inner(np.zeros((2, 0)), 1 / 3, "x")],
        inner,
        [np.arange(3.0)],
        {"state": {"key": np.arange(4, dtype=np.uint32), "pos": 3, "gauss": 0.0}},
    )
    for given in (value, Outer([], None)):
        back = record(Outer, through_a_file(given))
        np.testing.assert_equal(vars(back), vars(given))
        assert type(back.last) is type(given.last)


def test_files_are_older_than_fields_with_defaults():
    assert vars(record(Outer, {"parts": [], "last": None})) == vars(Outer([], None))
    assert record(Grown, {"name": "x"}) == Grown("x", None)
    with pytest.raises((KeyError, TypeError)):
        record(Grown, {"learned": "y"})


def test_other_things_are_refused():
    with pytest.raises(TypeError, match="Generator"):
        plain(np.random.default_rng(0), {})
    with pytest.raises(KeyError):
        record(Inner, {"numbers": np.zeros(1)})
    with pytest.raises(KeyError):
        with_arrays({"$array": "7"}, {})
