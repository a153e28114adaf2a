"""What an executor is given and what it promises."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Any, Protocol, TypeAlias, TypeVar, cast, runtime_checkable

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


class Batched(Protocol):
    """A work whose kernels take several blocks in one call, which spares the interpreter's time."""

    @property
    def run_level(self) -> int:
        """Runs of up to 2^run_level blocks are worth a call; 0 unless a leaf is one block."""

    def reduce(self, chunk: Chunk, block_rows: int) -> Any:
        """Return the state of a run of 2^j blocks, bit by bit the merge of their leaves.

        They have ``block_rows`` rows each, the last of them fewer perhaps.
        """


Report = Callable[[int], None]
"""Called on the caller's thread with the number of rows just finished."""


Range: TypeAlias = tuple[int, int]
"""Neighbouring blocks, the last excluded."""


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
    """In kernels, which merge the states of the blocks of a call."""
    merge: float = 0.0
    """Merging states along the tree, those of different calls."""
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
    chunks: Iterable[Chunk],
    works: Sequence[Work[Any]],
    runs: Iterable[Range],
    grid: Grid,
    costs: Costs,
) -> Iterator[tuple[int, Nodes | None]]:
    """Run works over neighbouring blocks, those of a run (``runs_of``) in one chunk.

    Yields (rows of the chunk, None) after every chunk, so that callers can report and stop, and
    at the end (0, each work's nodes). The first block begins a leaf of every work, and the last
    ends one or is the grid's last. ``costs`` grows.
    """
    trees: list[Tree[Any]] = [Tree(work.merge) for work in works]
    states: list[Any] = [None] * len(works)
    began = perf_counter()
    for chunk, (block, end) in zip(chunks, runs, strict=False):
        read = perf_counter()
        for w, work in enumerate(works):
            if end - block > 1:
                states[w] = cast(Batched, work).reduce(chunk, grid.block_rows(block))
                continue
            if block % (1 << work.level) == 0:
                states[w] = work.start()
            if len(chunk.rows):  # a partition of a collection may be empty
                states[w] = work.accumulate(states[w], chunk)
        computed = perf_counter()
        for w, work in enumerate(works):
            if end % (1 << work.level) == 0 or end == grid.n_blocks:
                level = (end - block).bit_length() - 1
                trees[w].push(Node(level, block >> max(level, work.level), states[w]))
                states[w] = None
        merged = perf_counter()
        costs.read += read - began
        costs.compute += computed - read
        costs.merge += merged - computed
        yield len(chunk.rows), None
        began = perf_counter()
    yield 0, [tree.nodes() for tree in trees]


def runs_of(first: int, last: int, level: int = 0) -> Iterator[Range]:
    """Cut a range of blocks into runs that are nodes of the tree, of up to 2^level blocks."""
    while first < last:
        size = 1 << level
        while first % size or first + size > last:
            size >>= 1
        yield first, first + size
        first += size


def ranges(
    n_blocks: int, works: Sequence[Work[Any]], wanted: int, run_level: int = 0
) -> list[Range]:
    """Cut the blocks into at most ``wanted`` neighbouring ranges that do not split a leaf.

    Nor, as far as there are enough of them, 2^run_level blocks.
    """
    most = max(n_blocks // max(wanted, 1), 1).bit_length() - 1
    leaf = 1 << max(min(run_level, most), *(work.level for work in works))
    n_leaves = -(-n_blocks // leaf)
    wanted = max(min(wanted, n_leaves), 1)
    cuts = [n_leaves * i // wanted * leaf for i in range(wanted)]
    return list(zip(cuts, [*cuts[1:], n_blocks], strict=True))
