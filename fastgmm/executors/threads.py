"""Threads of this process: contiguous ranges of blocks on a pool, files read ahead."""

import time
from collections import defaultdict, deque
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, suppress
from functools import partial
from queue import Empty, SimpleQueue
from typing import Any, NamedTuple, TypeVar

from fastgmm.executors.base import (
    Costs,
    Ledger,
    Nodes,
    Range,
    Report,
    Work,
    ranges,
    reduce_range,
    runs_of,
    warm_up,
)
from fastgmm.executors.forest import Forest, before
from fastgmm.executors.limits import available_memory, available_threads
from fastgmm.executors.pace import Pace
from fastgmm.executors.pool import Answer, Pool
from fastgmm.executors.reading_ahead import read_ahead
from fastgmm.sources import (
    BUFFERS,
    ArraySource,
    Chunk,
    Countable,
    Grid,
    Source,
    check_unchanged,
)

R = TypeVar("R")

RANGES_PER_THREAD = 4
"""Ranges handed out per thread, so that a slow one does not hold up the pass, and the last of them
again in short pieces; half as many in brief passes, as each takes the interpreter 50 us."""

SHORT_END = 4
"""Into so many pieces, at most, the last range of each thread is cut: two threads became 1.74 ->
1.83 times as fast as one in passes of 30 ms, and 1.83 -> 1.95."""

RANGE_BYTES = 2**28
"""A range is no larger than this, so that long passes report progress."""


RANGE_SECONDS = 5.0
"""A range that takes longer is handed in by portions, so that little is lost with the process: 512
full components in 128 columns take 47 s for RANGE_BYTES."""


BRIEF_SECONDS = 0.005
"""After a pass of less it is tried whether this thread is as fast by itself (``Pace``): to wake
another one and to wait for it takes 0.2 ms."""


UNHEARD_SECONDS = 0.2
"""In a pass of less this thread works, too: others begin late, so that passes of 2 ms became 1.4
times as fast. In longer ones it is left to signals and to news. If there is no other thread, a pass
of less is one range: nobody waits for news of it."""


FEW = 2**18
"""Numbers in all blocks, up to which it is tried on this thread first: 10,000 rows of 8 columns are
checked and copied in 0.3 ms by one thread and in 2 ms by two."""


TINY = 2**14
"""Elements of a single block that this thread reduces by itself: three components in two columns
take 0.03 ms, and to wake another thread takes 0.1 ms."""


def with_short_end(cut: list[Range], n_last: int, leaf: int) -> list[Range]:
    """Cut the last ranges again, but no leaf: the threads are to end together."""
    short = []
    for first, last in cut[-n_last:]:
        step = -(-(last - first) // (SHORT_END * leaf)) * leaf
        short += [(start, min(start + step, last)) for start in range(first, last, step)]
    return cut[:-n_last] + short


class Reduced(NamedTuple):
    """What has been reduced of a range."""

    rows: int
    nodes: Nodes
    costs: Costs
    rest: list[Range]
    """What has not."""


class ThreadExecutor:
    """Compute in this process on ``n_threads`` threads."""

    def __init__(self, n_threads: int | None = None) -> None:
        self.n_threads = available_threads() if n_threads is None else n_threads

    def place(self, source: Source, chunk_size: int | None = None) -> "ThreadPlacement":
        """Place a source: nothing is read yet, unless its rows must be counted first."""
        if source.n_samples is None and isinstance(source, Countable):
            with closing(Pool(self.n_threads)) as pool:
                source = source.counted(pool.map)
        return ThreadPlacement(source, source.grid(chunk_size), self.n_threads)


class ThreadPlacement:
    """A source on the threads of this process."""

    ledger: Ledger | None = None

    def __init__(self, source: Source, grid: Grid, n_threads: int) -> None:
        self.source = source
        self.grid = grid
        self.n_threads = n_threads
        self._pool = Pool(n_threads)
        # no threading.Event, for the reason that ``pool`` gives
        self._is_stopped = False
        self._run_level = 0
        few = grid.n_samples * source.n_features <= FEW
        self._paces: defaultdict[tuple[type, ...], Pace] = defaultdict(partial(Pace, few))
        self.costs = Costs()

    @property
    def memory(self) -> int:
        """Bytes that this process may use."""
        return available_memory()

    def warm_up(self, works: Sequence[Work[Any]]) -> None:
        """Compile or load on this thread; the others would only wait for it."""
        warm_up(works, self.source.weighted)

    def reduce(self, works: Sequence[Work[Any]], report: Report | None = None) -> list[Any]:
        """Run one pass; on an exception or Ctrl-C all threads stop after their next call.

        That is a block, or a run of blocks of some milliseconds. RuntimeError if it is closed
        meanwhile.
        """
        if self._is_tiny() and self.ledger is None:
            return self._reduce_at_once(works, report)
        forest = Forest(works, self, report)
        self.costs = Costs()
        self._run_level = self._level_of_runs(works)
        self._is_stopped = False
        began = time.monotonic()
        missing = forest.missing([(0, self.grid.n_blocks)])
        is_whole = missing == [(0, self.grid.n_blocks)]
        pace = self._paces[tuple(map(type, works))]
        # what is tiny comes here if a ledger wants to know of it
        alone = pace.is_better_alone(BRIEF_SECONDS) or self._is_tiny()
        if alone:
            # passes differ: what is not as brief as the last one goes to the others after all
            give_up = began + BRIEF_SECONDS
            reduced = [self._reduce_range(works, *range_, give_up) for range_ in missing]
            missing = [rest for each in reduced for rest in self._taken(each, forest)]
        if missing:
            waiting = self._cut(works, missing, self._ranges_per_thread(pace))
            here = self.n_threads == 1 or pace.is_brief(UNHEARD_SECONDS)
            self._reduce_together(works, deque(waiting), forest, here)
        if is_whole:
            pace.took(alone, time.monotonic() - began)
        return forest.results()

    def _reduce_at_once(self, works: Sequence[Work[Any]], report: Report | None) -> list[Any]:
        """Run a pass over one small block, which has no use for ranges, trees and threads.

        Their bookkeeping takes 0.05 ms, a fifth of an iteration on 150 rows.
        """
        check_unchanged(self.source)
        self.costs = Costs()
        chunks = self.source.chunks(self.grid, 0, 1)
        *_, (_, nodes) = reduce_range(chunks, works, [(0, 1)], self.grid, self.costs)
        if report is not None:
            report(self.grid.n_samples)
        return [own[0].state for own in nodes or ()]

    def _ranges_per_thread(self, pace: Pace) -> int:
        if self.n_threads == 1 and pace.is_brief(UNHEARD_SECONDS):
            return 1
        return RANGES_PER_THREAD // 2 if pace.is_brief(BRIEF_SECONDS) else RANGES_PER_THREAD

    def _cut(self, works: Sequence[Work[Any]], missing: list[Range], a_thread: int) -> list[Range]:
        """Cut what is missing of a pass for all threads."""
        n_bytes = self.grid.n_samples * self.source.n_features * self.source.dtype.itemsize
        wanted = max(a_thread * self.n_threads, n_bytes // RANGE_BYTES)
        cut = ranges(self.grid.n_blocks, works, wanted, self._run_level)
        if a_thread == RANGES_PER_THREAD and self.n_threads > 1:
            leaf = 1 << max(work.level for work in works)
            cut = with_short_end(cut, self.n_threads, leaf)
        return [
            (max(first, start), min(last, end))
            for first, last in cut
            for start, end in missing
            if max(first, start) < min(last, end)
        ]

    def _level_of_runs(self, works: Sequence[Work[Any]]) -> int:
        """Return j: up to 2^j blocks of a pass are computed in a call."""
        if not (isinstance(self.source, ArraySource) and self.source.without_copies):
            return 0
        # works that are not ``Batched`` have none
        return min(0 if work.level else getattr(work, "run_level", 0) for work in works)

    def _taken(self, reduced: "Reduced", forest: Forest) -> list[Range]:
        """Add what has been reduced; return what has not."""
        self.costs.add(reduced.costs)
        forest.add(reduced.rows, reduced.nodes)
        return reduced.rest

    def _is_tiny(self) -> bool:
        """Return whether there is nothing to share: one block, too small to hand it over."""
        return self.grid.n_blocks == 1 and self.grid.n_samples * self.source.n_features <= TINY

    def _reduce_together(
        self, works: Sequence[Work[Any]], waiting: deque[Range], forest: Forest, here: bool
    ) -> None:
        """Reduce all ranges on all threads; on this one, too, or on as many others.

        They end by themselves: a signal may come before any word that this thread has to say, or
        just after it has heard one. (There was a last item, put by this thread, to end them. One
        interrupt in some thousands came before it, and the fit hung.)
        """
        results: SimpleQueue[Reduced | None] = SimpleQueue()
        threads: list[Answer[None]] = []
        try:
            for _ in range(self.n_threads - here):
                thread = self._pool.submit(self._work_off, works, waiting, results)
                threads.append(thread)
            working = len(threads)
            for reduced in self._reduced(works, waiting) if here else ():
                results.put(reduced)
                while not results.empty():  # nobody else takes them
                    working -= self._has_ended(results.get(), forest)
            while working > 0:
                working -= self._has_ended(results.get(), forest)
        except BaseException:
            self._is_stopped = True
            raise
        finally:
            for thread in threads:
                thread.wait()
            with suppress(Empty):
                while True:
                    if (result := results.get_nowait()) is not None:
                        forest.salvage(result.nodes)
        for thread in threads:
            thread.get()
        if self._is_stopped:
            raise RuntimeError("these threads were closed in the midst of a pass")

    def _has_ended(self, result: "Reduced | None", forest: Forest) -> bool:
        """Add what has been reduced; return whether it was a thread's last word instead."""
        if result is not None:
            self._taken(result, forest)
        return result is None

    def _work_off(
        self,
        works: Sequence[Work[Any]],
        waiting: deque[Range],
        results: "SimpleQueue[Reduced | None]",
    ) -> None:
        """Reduce ranges until there are no more; ``None`` is this thread's last word."""
        try:
            for reduced in self._reduced(works, waiting):
                results.put(reduced)
        except BaseException:
            self._is_stopped = True
            raise
        finally:
            results.put(None)

    def _reduced(self, works: Sequence[Work[Any]], waiting: deque[Range]) -> Iterator[Reduced]:
        """Yield what becomes of ranges, each a thread's own, until there are no more."""
        while not self._is_stopped:
            try:
                range_ = waiting.popleft()
            except IndexError:
                return
            reduced = self._reduce_range(works, *range_)
            waiting.extendleft(reduced.rest)
            yield reduced

    def _reduce_range(
        self, works: Sequence[Work[Any]], first: int, last: int, give_up: float | None = None
    ) -> Reduced:
        """Reduce a range, or its beginning if it takes long or the pass is to stop.

        At the end of a leaf it may ``give_up``, from that time on: by RANGE_SECONDS.
        """
        reached, leaf = first, 1 << max(work.level for work in works)
        if give_up is None:
            give_up = time.monotonic() + RANGE_SECONDS
        runs = list(runs_of(first, last, self._run_level))

        def wanted(chunks: Iterator[Chunk]) -> Iterator[Chunk]:
            nonlocal reached
            for chunk, (_, end) in zip(chunks, runs, strict=True):
                yield chunk
                reached = end
                late = reached % leaf == 0 and time.monotonic() >= give_up
                if late or self._is_stopped:
                    return

        nodes, costs = Nodes(), Costs()
        with closing(self._chunks(first, last, runs)) as chunks:
            for _, result in reduce_range(wanted(chunks), works, runs, self.grid, costs):
                nodes = result or nodes
        if reached < last:  # a leaf that is not finished is begun anew
            reached -= reached % leaf
            nodes = [before(reached, run, work) for run, work in zip(nodes, works, strict=True)]
        start, stop = self.grid.boundaries[[first, reached]]
        rest = [(reached, last)] if reached < last else []
        return Reduced(int(stop - start), nodes, costs, rest)

    def _chunks(
        self, first: int, last: int, runs: Sequence[Range] = ()
    ) -> Generator[Chunk, None, None]:
        """Yield the rows of a range block by block, or run by run."""
        grid = self.grid
        if 0 < len(runs) < last - first:
            grid, first, last = grid.joined(runs), 0, len(runs)
        chunks = self.source.chunks(grid, first, last)
        yield from read_ahead(chunks) if self.source.reads_files else chunks

    def map(self, function: Callable[[Chunk], R]) -> Iterator[R]:
        """Yield ``function(chunk)`` block by block, in order, with a bounded number under way."""
        if self.n_threads == 1 or self.grid.n_blocks == 1:  # to wake a thread takes 0.1 ms
            yield from map(function, self._chunks(0, self.grid.n_blocks))
            return
        under_way: deque[Answer[R]] = deque()
        # arrays hand out views, other sources use their buffers again
        keeps = isinstance(self.source, ArraySource)
        limit = self.n_threads if keeps else min(self.n_threads, BUFFERS - 1)
        # chunks under way and read ahead must stay within the source's buffers: read ahead here
        # is the pool itself
        for chunk in self.source.chunks(self.grid, 0, self.grid.n_blocks):
            under_way.append(self._pool.submit(function, chunk))
            if len(under_way) >= limit:
                yield under_way.popleft().get()
        while under_way:
            yield under_way.popleft().get()

    def share(self, function: Callable[[int, int], R], n: int) -> list[R]:
        """Return ``function(first, last)`` of as many ranges as threads."""
        return self._pool.share(function, n)

    def close(self) -> None:
        """End the threads."""
        self._is_stopped = True
        self._pool.close()
