"""A pass: one function over ranges of blocks, with losses made good."""

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from itertools import chain, islice
from typing import Any

from distributed import CancelledError, KilledWorker, as_completed

from fastgmm.exceptions import ClusterError, FastGMMError
from fastgmm.executors.base import Range
from fastgmm.executors.dask import holding
from fastgmm.executors.dask.holding import Cluster, Future, Sent, resolve
from fastgmm.executors.dask.shards import Shards, cut
from fastgmm.executors.dask.tasks import Parcel, merge_shards, raise_failure

log = logging.getLogger("fastgmm")

ROUNDS = 3
"""Times that shards lost with the scheduler or with all workers are submitted again."""

GATHERED = 8
"""Results fetched together (16 small ones: 5 ms, one by one 30); more would fill the memory with
large statistics before they are merged."""

MERGED = 4
"""Neighbouring states that one task merges where states are large: a worker holds so many."""


class Pass:
    """One function over ranges of blocks, with losses made good."""

    def __init__(
        self,
        cluster: Cluster,
        shards: Shards,
        what: str,
        function: Callable[..., Any],
        load: Sent,
        leaf: int,
        level: int,
    ) -> None:
        self._cluster = cluster
        self._shards = shards
        self._what = what
        self._function = function
        self._load = load
        self._ranges: dict[Future, Range] = {}
        self._leaf = leaf
        self._level = level
        self._lost: list[Range] = []
        self._suspects: list[Range] = []
        self._alone: Range | None = None
        self._rounds = 0
        self._grew = False
        self.retries = 0
        """Ranges submitted again."""

    def submit(self, ranges: Sequence[Range]) -> None:
        """Submit ranges of blocks; what is larger than 2^level blocks is merged on the workers."""
        runs = [
            [(first + a, first + b) for a, b in cut(last - first, self._level)]
            for first, last in ranges
        ]
        calls = [self._arguments(*range_) for range_ in chain.from_iterable(runs)]
        flat = iter(self._cluster.submit_all(self._what, self._function, calls))
        parts = [list(islice(flat, len(run))) for run in runs]
        while max(map(len, parts), default=0) > 1:
            parts = self._merged(parts)
        self._ranges.update(zip(chain.from_iterable(parts), ranges, strict=True))
        self._grew = True

    def _merged(self, parts: list[list[Future]]) -> list[list[Future]]:
        """Have every MERGED neighbours in each list merged into one."""
        calls = [
            (resolve(self._load), run[start : start + MERGED])
            for run in parts
            for start in range(0, len(run), MERGED)
        ]
        flat = iter(self._cluster.submit_all("merge", merge_shards, calls))
        return [list(islice(flat, -(-len(run) // MERGED))) for run in parts]

    def _arguments(self, first: int, last: int) -> tuple[Any, ...]:
        shards = self._shards.between(first, last)
        spans = [(max(first, shard.first), min(last, shard.last)) for shard in shards]
        return (
            resolve(self._load),
            resolve(self._shards.shared_grid),
            # a suspect block must not be blamed for its neighbours, which are loaded with it
            [resolve(shard.rows if self._alone is None else shard.origin) for shard in shards],
            Parcel(spans),
        )

    def arrivals(self) -> Iterator[tuple[Range, Any]]:
        """Yield ranges and their results as they arrive; ranges may be submitted meanwhile."""
        while self._ranges or self._lost or self._suspects:
            if not self._ranges:
                self._resubmit()
            self._grew = False
            for futures in self._completed():
                for future, (arrived, result) in zip(futures, self._outcomes(futures), strict=True):
                    range_ = self._ranges.pop(future)
                    future.release()
                    if arrived:
                        yield range_, result
                if self._grew:
                    break

    def _completed(self) -> Iterator[list[Future]]:
        """Yield futures as they complete; ends early when nothing has arrived for a while."""
        # the loop would be that of the default client; with_results=True would hide a lost
        # scheduler behind a TypeError
        loop = self._cluster.client.loop
        batches = as_completed(list(self._ranges), loop=loop, timeout=holding.PATIENCE).batches()
        while self._ranges:
            try:
                batch = next(batches)
            except StopIteration:
                return
            except TimeoutError:
                self._cluster.await_worker(self._shards.describe(self._ranges.values()))
                return
            for start in range(0, len(batch), GATHERED):
                yield batch[start : start + GATHERED]

    def _outcomes(self, futures: list[Future]) -> list[tuple[bool, Any]]:
        """Return for every future whether there is a result, and the result."""
        if all(future.status == "finished" for future in futures):
            try:
                return [(True, result) for result in self._arrived(futures)]
            except FastGMMError:
                raise
            except Exception as error:  # each is asked below which it was
                log.debug("results got lost on their way: %r", error)
        return [self._outcome(future, self._ranges[future]) for future in futures]

    def _arrived(self, futures: list[Future]) -> Sequence[Any]:
        """Return results; raise the error of the data that one of them may be."""
        what = self._shards.describe(self._ranges[future] for future in futures)
        results = self._cluster.gather(futures, what)
        for result in results:
            raise_failure(result)
        return results

    def _outcome(self, future: Future, range_: Range) -> tuple[bool, Any]:
        """Return whether there is a result, and the result; raise what the work raised."""
        if future.status == "finished":
            with suppress(OSError, CancelledError, KilledWorker):  # lost on its way to us
                return True, self._arrived([future])[0]
        if future.status != "error":
            self._lost.append(range_)
            return False, None
        error = future.exception()
        if not isinstance(error, KilledWorker):
            raise error
        if range_ == self._alone:
            raise ClusterError(
                f"{self._shards.describe([range_])} killed every worker that computed them: look "
                "into the workers' logs for a lack of memory or a crash in reading these rows"
            ) from error
        # whatever waited on the same workers is blamed as well: each leaf is tried alone
        first, last = range_
        self._suspects += [(first + a, first + b) for a, b in cut(last - first, self._leaf)]
        return False, None

    def _resubmit(self) -> None:
        """Submit what was lost, or the next suspect by itself."""
        lost, self._lost = self._lost, []
        self._alone = None
        if not lost:
            self._alone = self._suspects.pop(0)
            lost = [self._alone]
        else:
            self._rounds += 1
        self.retries += len(lost)
        what = self._shards.describe(lost)
        if self._rounds > ROUNDS:
            raise ClusterError(
                f"the Dask cluster lost {what} {self._rounds} times: look into "
                "the scheduler's log, and fit again when the cluster is stable (a persisted X may "
                "be lost, too: persist it again)"
            )
        self._cluster.await_worker(what)
        try:
            self.submit(lost)
        except CancelledError as error:
            raise ClusterError(
                "the persisted data of X were lost with the scheduler: persist X again, or pass "
                "X before it is persisted"
            ) from error

    def close(self) -> None:
        """Cancel what is still under way, let go of everything."""
        if self._ranges:
            self._cluster.cancel(list(self._ranges))
        self._ranges.clear()
        self._cluster.drop([self._load])
