"""One tree: along it the states of chunks are merged, here and nowhere else but in kernels.

A kernel that takes several blocks in one call merges what it has made of them in the same order
(``kernels/states.py``).

A node (level, j) is only ever the merge of the nodes (level - 1, 2 j) and (level - 1, 2 j + 1), so
who computed what, and in which order it arrived, cannot change a rounding. A run of neighbouring
leaves reduces to O(log n) aligned nodes; whoever collects the runs completes the same tree.
"""

from collections.abc import Callable
from typing import Generic, NamedTuple, TypeVar

S = TypeVar("S")


class Node(NamedTuple, Generic[S]):
    """A merged aligned run of 2^level leaves, the ``position``-th of its level."""

    level: int
    position: int
    state: S


class Tree(Generic[S]):
    """Collect nodes in any order; merge siblings as soon as both are there.

    ``merge(left, right)`` may reuse either argument: the tree owns what it was given.
    """

    def __init__(self, merge: Callable[[S, S], S]) -> None:
        self._merge = merge
        self._waiting: dict[tuple[int, int], S] = {}

    def push(self, node: Node[S]) -> None:
        """Take a node and merge upwards as far as siblings are waiting."""
        level, position, state = node
        while (sibling := self._waiting.pop((level, position ^ 1), None)) is not None:
            left, right = (sibling, state) if position & 1 else (state, sibling)
            level, position, state = level + 1, position >> 1, self._merge(left, right)
        self._waiting[level, position] = state

    def nodes(self) -> list[Node[S]]:
        """Return the nodes that wait for a sibling, in the order of their leaves."""
        return [
            Node(level, position, state)
            for (level, position), state in sorted(
                self._waiting.items(), key=lambda item: item[0][1] << item[0][0]
            )
        ]

    def finish(self) -> S:
        """Merge what is left when every leaf has arrived: from the right edge, smallest first.

        The nodes of a complete run fall in size from left to right, so a missing right sibling
        is simply skipped.
        """
        nodes = self.nodes()
        if not nodes:
            raise ValueError("a tree without leaves has no result")
        state = nodes.pop().state
        while nodes:
            state = self._merge(nodes.pop().state, state)
        return state
