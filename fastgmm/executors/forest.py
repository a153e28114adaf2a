"""The forest of a pass: one tree a work, and which blocks are in them."""

from collections.abc import Iterable, Sequence
from typing import Any

from fastgmm.executors.base import Nodes, Placement, Range, Report, Work
from fastgmm.executors.tree import Node, Tree
from fastgmm.sources import check_unchanged


class Forest:
    """The trees of the works of a pass, grown by what arrives and by what a ledger has kept.

    Finished nodes are few however many blocks there are: at most 2 log2(blocks) a work for each run
    of neighbouring blocks, and executors work from the front to the back.
    """

    def __init__(
        self, works: Sequence[Work[Any]], placement: Placement, report: Report | None
    ) -> None:
        check_unchanged(placement.source)
        self._grid = placement.grid
        self._trees: list[Tree[Any]] = [Tree(work.merge) for work in works]
        self._report = report
        self._ledger = placement.ledger
        self._whole = True
        kept = [] if self._ledger is None else self._ledger.opened(works)
        self._kept = covered(kept[0], works[0].level, self._grid.n_blocks) if kept else []
        if kept:
            self._push(kept)
            self._told(sum(self._rows(range_) for range_ in self._kept))

    def missing(self, cut: Iterable[Range]) -> list[Range]:
        """Return what no kept node covers of a cut of the blocks: its ranges, or parts of them."""
        return [part for range_ in cut for part in without(range_, self._kept)]

    def add(self, rows: int, nodes: Nodes) -> None:
        """Merge the nodes of a range of blocks, so many rows."""
        self._push(nodes)
        self._told(rows)

    def salvage(self, nodes: Nodes) -> None:
        """Merge for the ledger what is left of a pass that was stopped."""
        if self._ledger is not None and self._whole:
            self._push(nodes)
            self._ledger.grown(self._nodes)

    def results(self) -> list[Any]:
        """Return every work's state of all rows."""
        self._whole = False
        results = [tree.finish() for tree in self._trees]
        if self._ledger is not None:
            top = self._grid.n_blocks.bit_length()  # a node so high covers all leaves
            self._ledger.closed([[Node(top, 0, result)] for result in results])
        return results

    def _push(self, nodes: Nodes) -> None:
        self._whole = False
        for tree, run in zip(self._trees, nodes, strict=True):
            for node in run:
                tree.push(node)
        self._whole = True

    def _told(self, rows: int) -> None:
        if self._ledger is not None:
            self._ledger.grown(self._nodes)
        if self._report is not None:
            self._report(rows)

    def _nodes(self) -> Nodes | None:
        return [tree.nodes() for tree in self._trees] if self._whole else None

    def _rows(self, range_: Range) -> int:
        first, last = self._grid.boundaries[list(range_)]
        return int(last - first)


def covered(nodes: Iterable[Node[Any]], level: int, n_blocks: int) -> list[Range]:
    """Return the runs of blocks under nodes whose leaves are 2^level blocks, rising."""
    runs: list[Range] = []
    for node in sorted(nodes, key=lambda node: node.position << node.level):
        first = node.position << node.level << level
        last = min(node.position + 1 << node.level << level, n_blocks)
        if runs and runs[-1][1] == first:
            first = runs.pop()[0]
        runs.append((first, last))
    return runs


def before(block: int, nodes: Iterable[Node[Any]], work: Work[Any]) -> list[Node[Any]]:
    """Return the nodes that end with or before a block at which a leaf of all works begins."""
    return [node for node in nodes if node.position + 1 << node.level << work.level <= block]


def without(range_: Range, runs: Iterable[Range]) -> list[Range]:
    """Return the parts of a range that lie in none of the rising runs."""
    first, last = range_
    parts = []
    for start, stop in runs:
        if first < min(start, last):
            parts.append((first, min(start, last)))
        first = max(first, min(stop, last))
    if first < last:
        parts.append((first, last))
    return parts
