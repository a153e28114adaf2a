"""Which blocks a pass still has to compute, and that it comes to the same bits."""

from itertools import pairwise

import numpy as np
import pytest
from works import Sum

from fastgmm.executors import Node, ThreadExecutor
from fastgmm.executors.forest import covered, without
from fastgmm.executors.tree import Tree
from fastgmm.sources import ArraySource


@pytest.mark.parametrize("seed", range(20))
def test_kept_and_missing_blocks_are_all_blocks(seed):
    rng = np.random.default_rng(seed)
    n_blocks, level = int(rng.integers(1, 60)), int(rng.integers(0, 3))
    n_leaves = -(-n_blocks // 2**level)
    done = rng.random(n_leaves) < 0.6
    tree = Tree(lambda left, right: left + right)
    for leaf in rng.permutation(np.flatnonzero(done)).tolist():
        tree.push(Node(0, leaf, 1))
    runs = covered(tree.nodes(), level, n_blocks)
    cuts = sorted({0, n_blocks, *rng.integers(0, n_blocks, size=3).tolist()})
    missing = [part for range_ in pairwise(cuts) for part in without(range_, runs)]
    kept = [block for run in runs for block in range(*run)]
    rest = [block for part in missing for block in range(*part)]
    assert kept == [b for b in range(n_blocks) if done[b >> level]]
    assert sorted(kept + rest) == list(range(n_blocks))
    assert all(first < last for first, last in runs + missing)
    # bounded: a run of leaves is no more than 2 log2 nodes
    runs_of_leaves = np.count_nonzero(np.diff(np.r_[0, done]) == 1)
    assert len(tree.nodes()) <= runs_of_leaves * 2 * max(n_leaves.bit_length(), 1)


class Notes:
    """A ledger in memory: passes are remembered in the order they were made."""

    def __init__(self, kept=()):
        self.kept = list(kept)
        self.seen = []
        self.results = None

    def opened(self, works):
        return self.kept

    def grown(self, nodes):
        # copied, as states are merged in place later on
        self.seen.append([[node._replace(state=node.state.copy()) for node in run]
                          for run in nodes()])  # fmt: skip

    def closed(self, results):
        self.results = results


WORKS = [Sum(), Sum(1e-3, level=2)]


@pytest.mark.parametrize("n_threads", [1, 3])
def test_a_pass_goes_on_from_any_stage_of_another_with_other_threads(n_threads):
    X = np.random.default_rng(0).normal(size=(370, 3)) + 1e6
    notes = Notes()
    placement = ThreadExecutor(2).place(ArraySource(X), chunk_size=10)
    placement.ledger = notes
    expected = [state.tobytes() for state in placement.reduce(WORKS)]
    placement.close()
    assert len(notes.seen) == 8
    for kept in [*notes.seen, notes.results]:
        again = ThreadExecutor(n_threads).place(ArraySource(X), chunk_size=10)
        again.ledger = Notes([[n._replace(state=n.state.copy()) for n in run] for run in kept])
        rows = []
        assert [state.tobytes() for state in again.reduce(WORKS, rows.append)] == expected
        assert sum(rows) == len(X)
        again.close()
