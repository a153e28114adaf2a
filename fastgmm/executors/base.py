"""What an executor is given and what it promises."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Any, Protocol, TypeVar, runtime_checkable

from fastgmm.executors.tree import Node, Tree
from fastgmm.sources import Chunk, Grid, Source

S = TypeVar("S")
R = TypeVar("R")


class Work(Protocol[S]):
    """Something to compute over all rows: leaves of states, merged along the tree. Picklable.

    Several works share one pass; each gets the bits it would get alone.
    """

    @property
    def level(self) -> int:
        """A leaf is 2^level neighbouring blocks: more for large states, so that leaves are few."""

    def start(self) -> S:
        """Return the state of no rows."""

    def accumulate(self, state: S, chunk: Chunk) -> S:
        """Add a chunk of at least one row to a leaf's state, in place if it can; in order."""

    def merge(self, left: S, right: S) -> S:
        """Merge two neighbouring states; either may be reused."""


@runtime_checkable
class Compiled(Protocol):
    """A work whose kernels may have to be compiled or loaded first, which takes seconds."""

    def warm_up(self, weighted: bool) -> None:
        """Use every kernel once, for rows with or without weights."""


Report = Callable[[int], None]
"""Called on the caller's thread with the number of rows just finished."""


Nodes = list[list[Node[Any]]]
"""For each work of a pass, nodes of its tree; all cover the same blocks."""


class Ledger(Protocol):
    """Keeps what passes have computed, so that nobody has to compute it again.

    Called on the thread that called ``reduce``; a pass is opened, grows, and is closed.
    """

    def opened(self, works: Sequence[Work[Any]]) -> Nodes:
        """Return what is there of the pass that begins."""

    def grown(self, nodes: Callable[[], Nodes | None]) -> None:
        """Take note that a pass has got further.

        ``nodes()`` are those finished by the time it is called; None in the midst of a merge,
        where an exception may have struck.
        """

    def closed(self, results: Nodes) -> None:
        """Take the results of a pass, one node a work; nobody writes to them any more."""


@dataclass
class Costs:
    """What a pass, or a part of it, has cost: seconds, summed over all threads that took part."""

    read: float = 0.0
    """Waiting for rows: what reading ahead did not hide."""
    compute: float = 0.0
    """In kernels."""
    merge: float = 0.0
    """Merging states along the tree."""
    retries: int = 0
    """Ranges of blocks that were handed out again because they got lost."""
    workers: frozenset[str] = frozenset()
    """Addresses of the worker processes that took part; none for threads of this process."""

    def add(self, other: "Costs") -> None:
        """Add what another part has cost."""
        self.read += other.read
        self.compute += other.compute
        self.merge += other.merge
        self.retries += other.retries
        self.workers |= other.workers


class Placement(Protocol):
    """A source, placed where it will be computed: in this process or on a cluster."""

    ledger: Ledger | None
    """Consulted and fed by every ``reduce``."""

    @property
    def source(self) -> Source:
        """The rows; ``n_samples`` is known."""

    @property
    def grid(self) -> Grid:
        """The cut into blocks."""

    @property
    def n_threads(self) -> int:
        """Threads that a pass runs on, in all processes together."""

    @property
    def memory(self) -> int:
        """Bytes of memory that there are for all of them."""

    @property
    def costs(self) -> Costs:
        """What the last ``reduce`` has cost."""

    def warm_up(self, works: Sequence[Work[Any]]) -> None:
        """Have the works' kernels ready wherever they will be used, before a pass is timed."""

    def reduce(self, works: Sequence[Work[Any]], report: Report | None = None) -> list[Any]:
        """Run one pass over the rows for all works; return their merged states.

        Raises DataError if the rows lie in files that have changed since they were opened.
        """

    def map(self, function: Callable[[Chunk], R]) -> Iterator[R]:
        """Return ``function(chunk)`` for every block, in the order of the rows."""

    def share(self, function: Callable[[int, int], R], n: int) -> list[R]:
        """Return ``function(first, last)`` of ranges that make up ``range(n)``, in order.

        They run on threads of this process: for what is too small to be sent away.
        """

    def close(self) -> None:
        """Let go of threads and memory; the placement is not used afterwards."""


class Executor(Protocol):
    """Where chunks are computed."""

    def place(self, source: Source, chunk_size: int | None = None) -> Placement:
        """Place a source; ``chunk_size`` rows a block if given."""


def warm_up(works: Sequence[Work[Any]], weighted: bool) -> None:
    """Have the kernels of works ready in this process."""
    for work in works:
        if isinstance(work, Compiled):
            work.warm_up(weighted)


def reduce_range(
    chunks: Iterable[Chunk], works: Sequence[Work[Any]], first: int, n_blocks: int, costs: Costs
) -> Iterator[tuple[int, list[list[Node[Any]]] | None]]:
    """Run works over the neighbouring blocks from ``first`` on.

    Yields (rows of the block, None) after every block, so that callers can report and stop, and
    at the end (0, each work's nodes). ``first`` is a multiple of every work's leaf, and the range
    ends at another one or at the last of the grid's ``n_blocks`` blocks. ``costs`` grows.
    """
    trees: list[Tree[Any]] = [Tree(work.merge) for work in works]
    states: list[Any] = [None] * len(works)
    began = perf_counter()
    for block, chunk in enumerate(chunks, first):
        read = perf_counter()
        for w, work in enumerate(works):
            if block % (1 << work.level) == 0:
                states[w] = work.start()
            if len(chunk.rows):  # a partition of a collection may be empty
                states[w] = work.accumulate(states[w], chunk)
        computed = perf_counter()
        for w, work in enumerate(works):
            if (block + 1) % (1 << work.level) == 0 or block + 1 == n_blocks:
                trees[w].push(Node(0, block >> work.level, states[w]))
                states[w] = None
        merged = perf_counter()
        costs.read += read - began
        costs.compute += computed - read
        costs.merge += merged - computed
        yield len(chunk.rows), None
        began = perf_counter()
    yield 0, [tree.nodes() for tree in trees]


def ranges(n_blocks: int, works: Sequence[Work[Any]], wanted: int) -> list[tuple[int, int]]:
    """Cut the blocks into at most ``wanted`` neighbouring ranges that do not split a leaf."""
    leaf = 1 << max(work.level for work in works)
    n_leaves = -(-n_blocks // leaf)
    wanted = max(min(wanted, n_leaves), 1)
    cuts = [n_leaves * i // wanted * leaf for i in range(wanted)]
    return list(zip(cuts, [*cuts[1:], n_blocks], strict=True))
