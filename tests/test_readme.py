"""What README shows runs, and SciPy and PyTorch find the same log densities."""

import re
from pathlib import Path

import numpy as np
import pytest

README = (Path(__file__).parents[1] / "README.md").read_text()


def blocks_of(heading):
    """The Python of a section."""
    section = README.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    return re.findall(r"```python\n(.*?)```", section, re.DOTALL)


OURS, SCIPYS, TORCHS = blocks_of("Known models, and questions to them")


@pytest.fixture(scope="module")
def names():
    found = {}
    exec(OURS, found)
    return found


def test_questions_to_a_known_model_have_answers(names):
    assert names["mean"].shape == names["variance"].shape == (1000, 1)
    np.testing.assert_array_equal(
        names["gm"].covariances_, [[[42.0, 30.0], [30.0, 95.0]], [[48.0, 38.0], [38.0, 120.0]]]
    )


@pytest.mark.parametrize("recipe", [SCIPYS, TORCHS], ids=["scipy", "torch"])
def test_other_libraries_find_the_same_log_densities(names, recipe):
    pytest.importorskip("torch" if recipe is TORCHS else "scipy")
    there = dict(names)
    exec(recipe, there)
    expected = names["gm"].score_samples(names["X"])
    np.testing.assert_allclose(there["log_density"], expected, rtol=1e-10, atol=1e-10)
