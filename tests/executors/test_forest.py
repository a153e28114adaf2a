"""Which blocks a pass still has to compute, and that it comes to the same bits."""

import time
from contextlib import closing
from itertools import pairwise

import numpy as np
import pytest
from works import Sum

from fastgmm.executors import Node, ThreadExecutor, threads
from fastgmm.executors.forest import covered, without
from fastgmm.executors.tree import Tree
from fastgmm.sources import ArraySource

pytestmark = pytest.mark.usefixtures("no_brief_passes")


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
    """A ledger in memory."""

    def __init__(self, kept=()):
        self.kept = list(kept)
        self.seen = []
        self.last = None
        self.results = None

    def opened(self, works):
        return self.kept

    def grown(self, nodes):
        self.last = nodes
        self.seen.append(copied(nodes()))

    def closed(self, results):
        self.results = results


def copied(nodes):
    """Copy the states, which are merged in place later on."""
    return [[node._replace(state=node.state.copy()) for node in run] for run in nodes]


X = np.random.default_rng(0).normal(size=(370, 3)) + 1e6
WORKS = [Sum(), Sum(1e-3, level=2)]


def reduced(ledger, n_threads, works=WORKS, report=None):
    with closing(ThreadExecutor(n_threads).place(ArraySource(X), chunk_size=10)) as placement:
        placement.ledger = ledger
        return [state.tobytes() for state in placement.reduce(works, report)]


EXPECTED = reduced(None, 1)


@pytest.mark.parametrize("n_threads", [1, 3])
def test_a_pass_goes_on_from_any_stage_of_another_with_other_threads(n_threads, monkeypatch):
    monkeypatch.setattr(threads, "RANGE_SECONDS", 1e9)  # a busy machine may stand still for long
    notes = Notes()
    assert reduced(notes, 2) == EXPECTED
    assert len(notes.seen) == 9  # ranges of 10 leaves: eight, and a short end
    for kept in [*notes.seen, notes.results]:
        rows = []
        assert reduced(Notes(copied(kept)), n_threads, report=rows.append) == EXPECTED
        assert sum(rows) == len(X)


@pytest.mark.parametrize("n_threads", [1, 2])
def test_ranges_that_take_long_are_handed_in_by_leaves(n_threads, monkeypatch):
    monkeypatch.setattr(threads, "RANGE_SECONDS", 0.0)
    notes = Notes()
    assert reduced(notes, n_threads) == EXPECTED
    assert len(notes.seen) == 10  # 37 blocks, 4 a leaf


class SlowSum(Sum):
    """A sum that gives the other threads time to be stopped in the midst of a leaf."""

    def accumulate(self, state, chunk):
        time.sleep(0.003)
        return super().accumulate(state, chunk)


@pytest.mark.parametrize("stop_after", [1, 3])
def test_what_threads_have_finished_when_a_pass_is_stopped_is_kept(stop_after):
    notes, reports = Notes(), []

    def report(rows):
        reports.append(rows)
        if len(reports) == stop_after:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        reduced(notes, 3, [SlowSum(), SlowSum(1e-3, level=2)], report)
    kept = notes.last()
    blocks = [
        sum(last - first for first, last in covered(run, work.level, 37))
        for run, work in zip(kept, WORKS, strict=True)
    ]
    assert blocks[0] == blocks[1] >= sum(reports) / 10
    assert reduced(Notes(copied(kept)), 2) == EXPECTED
