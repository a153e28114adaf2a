"""The tree merges the same siblings in any order; the grid follows from its arguments alone."""

import random

import numpy as np
import pytest

from fastgmm.executors.base import ranges
from fastgmm.executors.threads import with_short_end
from fastgmm.executors.tree import Node, Tree
from fastgmm.sources import lengths_grid, row_grid


def bracket(left, right):
    return f"({left}{right})"


def collect(merge, nodes):
    tree = Tree(merge)
    for node in nodes:
        tree.push(node)
    return tree


@pytest.mark.parametrize("n_leaves", [1, 2, 3, 4, 5, 7, 8, 13, 31, 64, 100])
def test_any_order_and_any_cut_give_one_expression(n_leaves):
    leaves = [Node(0, i, f"[{i}]") for i in range(n_leaves)]
    expected = collect(bracket, leaves).finish()
    shuffler = random.Random(n_leaves)
    for _ in range(5):
        cuts = sorted(shuffler.sample(range(n_leaves + 1), min(3, n_leaves)))
        runs = [leaves[a:b] for a, b in zip([0, *cuts], [*cuts, n_leaves], strict=True)]
        nodes = [node for run in runs for node in collect(bracket, run).nodes()]
        shuffler.shuffle(nodes)
        assert collect(bracket, nodes).finish() == expected


def test_a_run_reduces_to_few_nodes():
    tree = collect(bracket, [Node(0, i, str(i)) for i in range(5, 1000)])
    assert len(tree.nodes()) <= 2 * 10


def test_an_empty_tree_has_no_result():
    with pytest.raises(ValueError, match="without leaves"):
        Tree(bracket).finish()


@pytest.mark.parametrize("n", [1, 2, 127, 128, 129, 5000, 10**6, 10**9])
@pytest.mark.parametrize("d", [1, 3, 41, 10_000])
def test_blocks_partition_the_rows(n, d):
    grid = row_grid(n, d)
    assert grid.n_samples == n
    sizes = np.diff(grid.boundaries)
    assert (sizes > 0).all()
    assert sizes.max() * d <= max(2**19, 128 * d)


@pytest.mark.parametrize(
    ("n", "d"), [(2**17, 1), (65_537, 2), (20_000, 16), (2049, 64), (513, 256)]
)
def test_blocks_are_enough_for_threads_and_no_more(n, d):
    assert 8 < row_grid(n, d).n_blocks <= 16


def test_chunk_size_is_rows_a_block():
    assert row_grid(10, 2, 4).boundaries.tolist() == [0, 4, 8, 10]
    for more in (10, 11, 2**62, 2**100):
        assert row_grid(10, 2, more).boundaries.tolist() == [0, 10]
    assert row_grid(0, 2, 4).n_blocks == 0


@pytest.mark.parametrize("parts", [1, 511, 1023, 1024, 1100, 32768])
@pytest.mark.parametrize("length", [0, 1, 500, 10**6])
def test_small_partitions_share_a_block(parts, length):
    grid = lengths_grid([length] * parts, 2)
    assert grid.n_samples == parts * length
    assert grid.n_blocks == -(-parts >> grid.level) >= min(parts, 512)
    sizes = np.diff(grid.boundaries)
    assert (sizes[:-1] == length << grid.level).all()
    assert sizes.max() * 2 <= max(2**19, 2 * length)
    assert (grid.level > 0) == (parts >= 1024 and length <= 500)


class _Leafy:
    def __init__(self, level):
        self.level = level


@pytest.mark.parametrize("n_blocks", [1, 5, 64, 100])
@pytest.mark.parametrize("levels", [(0,), (0, 3), (5,)])
@pytest.mark.parametrize("wanted", [1, 3, 1000])
def test_ranges_cover_the_blocks_and_split_no_leaf(n_blocks, levels, wanted):
    cut = ranges(n_blocks, [_Leafy(level) for level in levels], wanted)
    assert [b for a, b in cut][:-1] == [a for a, b in cut][1:]
    assert (cut[0][0], cut[-1][1]) == (0, n_blocks)
    assert len(cut) <= wanted
    assert all(a % (1 << max(levels)) == 0 for a, b in cut)


@pytest.mark.parametrize("n_blocks", [1, 5, 64, 100])
@pytest.mark.parametrize("leaf", [1, 8])
@pytest.mark.parametrize("wanted", [1, 8, 1000])
def test_a_cut_with_a_short_end_covers_the_same_blocks_and_splits_no_leaf(n_blocks, leaf, wanted):
    cut = ranges(n_blocks, [_Leafy(leaf.bit_length() - 1)], wanted)
    finer = with_short_end(cut, 2, leaf)
    assert [b for a, b in finer][:-1] == [a for a, b in finer][1:]
    assert (finer[0][0], finer[-1][1]) == (0, n_blocks)
    assert all(a < b and a % leaf == 0 for a, b in finer)
    assert finer[: max(len(cut) - 2, 0)] == cut[:-2]
    rest = cut[-1][1] - cut[-1][0]
    assert finer[-1][1] - finer[-1][0] <= max(leaf, rest // 4 + leaf)
