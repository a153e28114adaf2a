"""Several blocks in a call: the bits of blocks one by one, merged along the tree."""

from contextlib import closing

import numpy as np
import pytest

from fastgmm.covariance import FAMILIES
from fastgmm.executors import ThreadExecutor
from fastgmm.executors.base import ranges, runs_of
from fastgmm.executors.tree import Node, Tree
from fastgmm.expectation import ExpectationStep, expectation_step
from fastgmm.parameters import Parameters
from fastgmm.sources import NO_WEIGHTS, ArraySource, Chunk


def density_of(family, d, k, dtype):
    rng = np.random.default_rng(k)
    covariances = {
        "full": np.broadcast_to(np.eye(d), (k, d, d)) * np.linspace(0.5, 2.0, k)[:, None, None],
        "diag": np.broadcast_to(np.linspace(0.5, 2.0, d), (k, d)).copy(),
        "tied": np.eye(d) + 0.1,
        "spherical": np.linspace(0.5, 2.0, k),
    }[family]
    parameters = Parameters(rng.dirichlet(np.full(k, 5.0)), rng.normal(size=(k, d)), covariances)
    return FAMILIES[family].prepare(parameters, np.dtype(dtype))


def rows_of(n, d, dtype, far):
    X = np.random.default_rng(0).normal(size=(n, d))
    X[:far] *= 1e6  # what groups of rows leave to tiles
    return X.astype(dtype)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize(
    ("family", "d", "k"),
    [("full", 2, 4), ("full", 9, 3), ("diag", 2, 2), ("tied", 16, 5), ("spherical", 3, 4)],
)
@pytest.mark.parametrize(
    ("block_rows", "last", "far"),
    [(512, 512, 0), (512, 77, 0), (333, 333, 0), (512, 512, 2), (40, 3, 0)],
)
@pytest.mark.parametrize("weighted", [False, True])
def test_blocks_together_are_blocks_apart(dtype, family, d, k, block_rows, last, far, weighted):
    n = 3 * block_rows + last
    X = rows_of(n, d, dtype, far)
    weights = np.random.default_rng(1).uniform(0.5, 1.5, n) if weighted else NO_WEIGHTS
    step = ExpectationStep(family, density_of(family, d, k, dtype), 0)
    tree = Tree(step.merge)
    for block in range(4):
        part = slice(block * block_rows, min((block + 1) * block_rows, n))
        chunk = Chunk(part.start, X[part], weights[part])
        tree.push(Node(0, block, step.accumulate(step.start(), chunk)))
    together = step.reduce(Chunk(0, X, weights), block_rows)
    for one, other in zip(together, tree.finish(), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("n_threads", [1, 2])
def test_passes_in_memory_take_blocks_together(n_threads, monkeypatch):
    X = rows_of(40_000, 2, np.float64, far=0)
    calls = []
    reduce = ExpectationStep.reduce

    def counted(self, chunk, block_rows):
        calls.append(len(chunk.rows))
        return reduce(self, chunk, block_rows)

    monkeypatch.setattr(ExpectationStep, "reduce", counted)
    found = []
    for source in (ArraySource(X), ArraySource(np.asfortranarray(X))):
        calls.clear()
        with closing(ThreadExecutor(n_threads).place(source, 1000)) as placement:
            step = expectation_step("full", density_of("full", 2, 4, float), placement.grid)
            found.append(placement.reduce([step])[0])
        if source.without_copies:
            assert sum(calls) >= 0.8 * len(X)
            assert len(calls) <= 12
        else:  # a copy is of a block, however many there are
            assert not calls
    for one, other in zip(*found, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(("first", "last", "level"), [(0, 16, 3), (3, 46, 2), (5, 6, 4), (0, 9, 0)])
def test_runs_are_nodes_of_the_tree_and_cover_a_range(first, last, level):
    runs = list(runs_of(first, last, level))
    assert [block for run in runs for block in range(*run)] == list(range(first, last))
    for start, end in runs:
        size = end - start
        assert size & (size - 1) == 0
        assert start % size == 0
        assert size <= 1 << level


def test_ranges_begin_with_runs_where_there_are_enough_blocks():
    step = ExpectationStep("full", None, 0, run_level=3)
    assert ranges(64, [step], 8, 3) == [(first, first + 8) for first in range(0, 64, 8)]
    assert ranges(8, [step], 4, 3) == [(0, 2), (2, 4), (4, 6), (6, 8)]
    assert ranges(3, [step], 8, 3) == [(0, 1), (1, 2), (2, 3)]
