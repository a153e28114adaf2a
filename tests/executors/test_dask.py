"""What a cluster computes has the bits of one thread, whatever happens on the way."""

import asyncio
import os
import re
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import dask.array as da
import dask.dataframe as dd
import numpy as np
import pandas as pd
import pytest
from distributed import Client, Future, LocalCluster
from hanging import LONG, ends_within
from leftovers import await_workers, left
from works import Deadly, Fussy, Slow, Sum, Waiting, Warmed, fail_reads, first_and_sum

from fastgmm import _jit
from fastgmm.exceptions import ClusterError, DataError, UnreadableError
from fastgmm.executors import ThreadExecutor, Work
from fastgmm.executors.dask import DaskExecutor, active_client
from fastgmm.executors.dask.warming import live_within_limit
from fastgmm.sources import ArraySource, Chunk, Source, as_source, lengths_grid, open_dataset

N = 800
LENGTHS = (200, 0, 1, 199, 100, 140, 0, 60, 100)
WORKS = [Sum(), Sum(0.1, level=3), Sum(7.0, level=1)]


@pytest.fixture(scope="module")
def rows() -> np.ndarray:
    """Numbers of all sizes: every order of adding them gives other bits."""
    random = np.random.default_rng(5)
    return random.normal(size=(N, 3)) * 10.0 ** random.uniform(-8, 8, size=(N, 1))


@pytest.fixture(scope="module")
def weights() -> np.ndarray:
    return np.random.default_rng(6).uniform(0.1, 3, size=N)


def passed(executor: Any, source: Source, works: Sequence[Work] = WORKS) -> list[bytes]:
    """Run two passes; return the bits of the second, having compared them with the first."""
    counted: list[int] = []
    with closing(executor.place(source)) as placement:
        first = placement.reduce(works, counted.append)
        second = placement.reduce(works)
        assert sum(counted) == placement.source.n_samples == placement.grid.n_samples
    result = [state.tobytes() for state in second]
    assert [state.tobytes() for state in first] == result
    return result


class Lazy:
    """Turns rows into collections of one kind, all with the partitions of ``LENGTHS``."""

    def __init__(self, client: Client) -> None:
        self.client = client

    def array(self, rows: np.ndarray) -> Any:
        return da.from_array(rows, chunks=(LENGTHS, -1)).map_blocks(lambda x: x * 1.0)

    def persisted(self, rows: np.ndarray) -> Any:
        return self.client.persist(self.array(rows))

    def lazy_on_persisted(self, rows: np.ndarray) -> Any:
        return self.persisted(rows / 2) * 2

    def unknown(self, rows: np.ndarray) -> Any:
        X = self.array(rows)
        return X[da.from_array(np.ones(N, bool), chunks=(LENGTHS,))]

    def shares_work(self, rows: np.ndarray) -> Any:
        X = self.array(rows)
        return X + X.sum() * 0

    def frame(self, rows: np.ndarray) -> Any:
        table = pd.DataFrame(rows, columns=list("abc"))
        parts = np.split(np.arange(N), np.cumsum(LENGTHS)[:-1])
        return dd.from_map(table.iloc.__getitem__, parts, meta=table[:0])

    def persisted_frame(self, rows: np.ndarray) -> Any:
        return self.client.persist(self.frame(rows))


KINDS = [name for name in vars(Lazy) if not name.startswith("_")]


@pytest.fixture(scope="module")
def bits(rows: np.ndarray) -> list[bytes]:
    """The bits of one thread over the partitions ``LENGTHS``, by plain slices."""

    class Sliced(ArraySource):
        def grid(self, chunk_size: int | None) -> Any:
            return lengths_grid(LENGTHS, 3)

    return passed(ThreadExecutor(1), Sliced(rows))


@pytest.mark.parametrize("persist", ["auto", True, False])
@pytest.mark.parametrize("kind", KINDS)
def test_a_collection_has_the_bits_of_its_rows(
    client: Client, rows: np.ndarray, bits: list[bytes], kind: str, persist: Any
) -> None:
    source = as_source(getattr(Lazy(client), kind)(rows))
    if kind == "shares_work" and persist is False:
        with pytest.raises(DataError, match="persist"):
            DaskExecutor(client, persist).place(source)
    else:
        assert passed(DaskExecutor(client, persist), source) == bits


@pytest.mark.parametrize("n_threads", [1, 2, 5])
@pytest.mark.parametrize("kind", KINDS)
def test_a_collection_needs_no_cluster(
    client: Client, rows: np.ndarray, bits: list[bytes], kind: str, n_threads: int
) -> None:
    source = as_source(getattr(Lazy(client), kind)(rows))
    if kind == "shares_work":
        with pytest.raises(DataError, match="persist"):
            passed(ThreadExecutor(n_threads), source)
    else:
        assert passed(ThreadExecutor(n_threads), source) == bits


@pytest.mark.parametrize("n_threads", [1, 2, 5])
def test_a_file_and_an_array_have_the_bits_of_threads(
    client: Client, rows: np.ndarray, tmp_path: Path, n_threads: int
) -> None:
    np.save(tmp_path / "rows.npy", rows)
    local = passed(ThreadExecutor(n_threads), ArraySource(rows))
    assert passed(DaskExecutor(client), open_dataset(tmp_path / "rows.npy")) == local
    assert passed(DaskExecutor(client), ArraySource(rows)) == local


@pytest.mark.parametrize(
    ("limits", "held"),
    [
        ({}, []),
        ({"INLINE_BYTES": 0}, ["grid", "source", "works"]),
        ({"INLINE_TOTAL": 0}, ["grid", "source", "works"]),
    ],
)
def test_what_tasks_need_travels_with_them_or_as_results(
    client: Client,
    rows: np.ndarray,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    limits: dict[str, int],
    held: list[str],
) -> None:
    for name, limit in limits.items():
        monkeypatch.setattr(f"fastgmm.executors.dask.holding.{name}", limit)
    np.save(tmp_path / "rows.npy", rows)
    source, submitted = open_dataset(tmp_path / "rows.npy"), []
    expected = passed(ThreadExecutor(1), source)
    assert passed(DaskExecutor(Counting(client, submitted)), source) == expected
    assert sorted({key.split("-")[1] for key in submitted} - {"reduce"}) == held


def test_weights_travel(client: Client, rows: np.ndarray, weights: np.ndarray) -> None:
    X, w = da.from_array(rows, chunks=(LENGTHS, -1)), da.from_array(weights, chunks=(LENGTHS,))
    expected = passed(ThreadExecutor(1), as_source(X, sample_weight=weights))
    assert passed(DaskExecutor(client), as_source(X, sample_weight=weights)) == expected
    assert passed(DaskExecutor(client, False), as_source(X, sample_weight=w)) == expected
    frame = dd.from_pandas(pd.DataFrame(rows, columns=list("abc")).assign(w=weights), npartitions=5)
    source = as_source(frame[list("abc")], sample_weight=frame["w"])
    assert passed(DaskExecutor(client), source) == passed(ThreadExecutor(2), source)


def test_works_do_not_see_each_other(client: Client, rows: np.ndarray) -> None:
    executor, source = DaskExecutor(client), as_source(da.from_array(rows, chunks=(26, -1)))
    together = passed(executor, source)
    assert together == [passed(executor, source, [work])[0] for work in WORKS]


def test_five_hundred_partitions_of_a_row(client: Client, rows: np.ndarray) -> None:
    X = da.from_array(rows[:512], chunks=(1, -1))
    works = [*WORKS, Sum(2.0, level=6), Sum(3.0, level=20)]  # leaves larger than a shard
    expected = passed(ThreadExecutor(1), as_source(X), works)
    for persist in (True, False):
        submitted: list[Any] = []
        executor = DaskExecutor(Counting(client, submitted), persist)
        with closing(executor.place(as_source(X))) as placement:
            assert [state.tobytes() for state in placement.reduce(works)] == expected
            submitted.clear()
            assert [state.tobytes() for state in placement.reduce(WORKS)] == expected[:3]
        assert len(submitted) <= 1 + 8 * 2, "tasks must follow the threads, not the partitions"


@pytest.mark.parametrize("lengths_known", [True, False])
def test_small_partitions_are_joined(
    client: Client, rows: np.ndarray, monkeypatch: pytest.MonkeyPatch, lengths_known: bool
) -> None:
    monkeypatch.setattr("fastgmm.sources.grid.BLOCKS_OF_PARTITIONS", 4)
    monkeypatch.setattr("fastgmm.executors.dask.placing.MOST_SHARDS", 4)
    X = da.from_array(rows[:333], chunks=(9, -1)).map_blocks(np.ascontiguousarray)
    if not lengths_known:
        X._chunks = ((np.nan,) * X.npartitions, (3,))
    expected = passed(ThreadExecutor(1), as_source(X))
    for persist in (True, False, "auto"):
        executor = DaskExecutor(client, persist)
        with closing(executor.place(as_source(X))) as placement:
            assert (placement.grid.level, placement.grid.n_blocks) == (3, 5)
            assert [state.tobytes() for state in placement.reduce(WORKS)] == expected
            assert [len(rows) for rows in placement.map(rows_of)] == [72, 72, 72, 72, 45]


@pytest.mark.parametrize("returned", [1, 64, 200])
def test_large_states_are_merged_on_the_workers(
    client: Client, rows: np.ndarray, monkeypatch: pytest.MonkeyPatch, returned: int
) -> None:
    X = da.from_array(rows[:509], chunks=(1, -1))
    works = [*WORKS, Sum(3.0, level=20)]
    expected = [passed(ThreadExecutor(1), as_source(X), [work])[0] for work in works]
    monkeypatch.setattr("fastgmm.executors.dask.placement.RETURNED_BYTES", returned)
    submitted: list[Any] = []
    with closing(DaskExecutor(Counting(client, submitted)).place(as_source(X))) as placement:
        for work, bits in zip(works, expected, strict=True):
            submitted.clear()
            rows_done: list[int] = []
            (state,) = placement.reduce([work], rows_done.append)
            assert state.tobytes() == bits
            assert sum(rows_done) == 509
            if work.level < 6:
                merges = sum("merge" in key for key in submitted)
                assert len(rows_done) == (4 if returned == 200 else 1)
                assert merges == (4 if returned == 200 else 4 + 1)
        assert placement.costs.retries == 0
        assert len(placement.costs.workers) in (1, 2)


def test_kernels_are_warmed_up_on_every_worker(
    client: Client, rows: np.ndarray, tmp_path: Path
) -> None:
    marks = tmp_path / "marks"
    source = as_source(da.from_array(rows, chunks=(100, -1)))
    with closing(DaskExecutor(client).place(source)) as placement:
        placement.warm_up([Warmed(str(marks))])
        warmed = {int(pid) for pid in marks.read_text().split()}
        assert warmed == set(client.run(os.getpid).values())
        placement.warm_up([Warmed(str(marks)), Fussy(0, "")])
    plugins = client.run(lambda dask_worker: list(dask_worker.plugins)).values()
    assert not any("fastgmm" in name for names in plugins for name in names)


def test_workers_with_little_memory_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    spared: list[int | None] = []
    for limit in (None, 300_000_000, 2**30):
        monkeypatch.setattr(_jit, "spare_memory", partial(spared.append, limit))
        manager = SimpleNamespace(memory_limit=limit)
        live_within_limit(SimpleNamespace(memory_manager=manager))
    assert spared == [300_000_000]


def rows_of(chunk: Chunk) -> np.ndarray:
    return chunk.rows.copy()


class Counting:
    """A client that notes what is submitted."""

    def __init__(self, client: Client, submitted: list[Any]) -> None:
        self._client = client
        self._submitted = submitted

    def submit(self, *args: Any, **kwargs: Any) -> Any:
        self._submitted.append(kwargs["key"])
        return self._client.submit(*args, **kwargs)

    def map(self, *args: Any, **kwargs: Any) -> Any:
        self._submitted += kwargs["key"]
        return self._client.map(*args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)


def test_column_chunks_and_dropped_rows(client: Client, rows: np.ndarray) -> None:
    damaged = rows.copy()
    damaged[::7, 1] = np.nan
    with pytest.warns(UserWarning, match="along its columns"):
        source = as_source(da.from_array(damaged, chunks=(100, 2)), missing="drop")
    expected = passed(ThreadExecutor(2), source)
    assert passed(DaskExecutor(client), source) == expected
    assert passed(DaskExecutor(client, False), source) == expected


def test_two_passes_at_once(client: Client, rows: np.ndarray) -> None:
    source = as_source(da.from_array(rows, chunks=(20, -1)))
    expected = passed(ThreadExecutor(1), source)
    with ThreadPoolExecutor(2) as pool:
        both = [pool.submit(passed, DaskExecutor(client), source) for _ in range(2)]
        assert [future.result() for future in both] == [expected, expected]


@pytest.mark.parametrize("kind", ["array", "frame"])
def test_map_gives_the_blocks_in_order(client: Client, rows: np.ndarray, kind: str) -> None:
    source = as_source(getattr(Lazy(client), kind)(rows))
    starts = np.cumsum((0, *LENGTHS))
    expected = [
        (start, rows[start:stop].sum())
        for start, stop in zip(starts.tolist(), starts[1:].tolist(), strict=False)
    ]
    with closing(DaskExecutor(client).place(source)) as placement:
        assert list(placement.map(first_and_sum)) == expected


def test_a_map_may_be_left_half_way(client: Client, rows: np.ndarray) -> None:
    source = as_source(da.from_array(rows, chunks=(10, -1)))
    with closing(DaskExecutor(client).place(source)) as placement:
        results = placement.map(first_and_sum)
        assert next(results)[0] == 0
        results.close()
        assert placement.reduce([Sum()])[0][3] == pytest.approx(N)


def test_an_error_of_the_data_comes_through_at_once(
    client: Client, rows: np.ndarray, tmp_path: Path
) -> None:
    marks = tmp_path / "marks"
    source = as_source(da.from_array(rows, chunks=(20, -1)))
    with closing(DaskExecutor(client).place(source)) as placement:
        with pytest.raises(DataError, match="row 469 is bad: leave it out"):
            placement.reduce([Sum(), Fussy(469, str(marks))])
        assert marks.read_text() == "x", "what will not change must not be tried again"
        assert placement.reduce([Sum()])[0][3] == pytest.approx(N)


def test_an_error_in_the_graph_comes_through(client: Client, rows: np.ndarray) -> None:
    def fail(block: np.ndarray) -> np.ndarray:
        raise ZeroDivisionError("of the user")

    X = da.from_array(rows, chunks=(200, -1)).map_blocks(fail, dtype=float)
    for persist in (True, False):
        with (
            pytest.raises(ZeroDivisionError, match="of the user"),
            closing(DaskExecutor(client, persist).place(as_source(X))) as placement,
        ):
            placement.reduce([Sum()])


def test_a_file_is_read_again_before_it_is_given_up(
    client: Client, rows: np.ndarray, tmp_path: Path
) -> None:
    np.save(tmp_path / "rows.npy", rows)
    source = open_dataset(tmp_path / "rows.npy")
    expected = passed(ThreadExecutor(1), source)
    with closing(DaskExecutor(client).place(source)) as placement:
        client.run(fail_reads, 1)
        assert [state.tobytes() for state in placement.reduce(WORKS)] == expected
        client.run(fail_reads, 1000)
        with pytest.raises(UnreadableError, match=r"rows\.npy cannot be read: Input/out") as caught:
            placement.reduce(WORKS)
        (note,) = caught.value.__notes__
        assert re.fullmatch(r"This happened in block \d \(rows .*\), on the worker tcp:.*", note)
        client.run(fail_reads, 0)
        assert [state.tobytes() for state in placement.reduce(WORKS)] == expected


def states_of_reductions(client: Client) -> set[str]:
    """Return what has become of the tasks of a pass, as the workers know them."""

    def states(dask_worker: Any) -> list[str]:
        tasks = dask_worker.state.tasks.items()
        return [task.state for key, task in tasks if str(key).startswith("fastgmm-reduce")]

    return {state for found in client.run(states).values() for state in found}


def test_ctrl_c_leaves_a_usable_cluster(client: Client, rows: np.ndarray, tmp_path: Path) -> None:
    source = as_source(da.from_array(rows, chunks=(1, -1)))
    marks, first, file = tmp_path / "marks", tmp_path / "first", tmp_path / "go"

    def interrupt(n_rows: int) -> None:
        raise KeyboardInterrupt

    with closing(DaskExecutor(client).place(source)) as placement, ends_within():
        try:
            with pytest.raises(KeyboardInterrupt):
                placement.reduce([Waiting(64, *map(str, (marks, first, file)))], interrupt)
            assert left(client, "fastgmm-reduce") == left(client, "fastgmm-works") == []
            while states_of_reductions(client) - {"cancelled"}:
                time.sleep(0.01)
        finally:
            file.touch()
        while states_of_reductions(client):
            time.sleep(0.01)
        # shards are 64 blocks of a row: one is done, those on the two workers stop where they are
        assert len(marks.read_text()) <= 64 + 2
        assert placement.reduce([Sum()])[0][3] == pytest.approx(N)


@pytest.mark.parametrize("persist", [True, False])
def test_lost_shards_are_computed_again(client: Client, rows: np.ndarray, persist: bool) -> None:
    """What a lost scheduler looks like from here: it has forgotten everything."""
    source = as_source(da.from_array(rows, chunks=(20, -1)))
    expected = passed(ThreadExecutor(1), source, [Sum()])
    reported: list[int] = []

    def forget(n_rows: int) -> None:
        reported.append(n_rows)
        if len(reported) == 1:
            client.cancel([Future(key, client) for key in list(client.futures)])

    with closing(DaskExecutor(client, persist).place(source)) as placement:
        works = [Sum(), Slow(0.005)]
        assert placement.reduce(works, forget)[0].tobytes() == expected[0]
        assert sum(reported) == N
        assert placement.costs.retries > 0
        assert placement.reduce([Sum()])[0].tobytes() == expected[0]


def test_a_cluster_that_loses_everything_is_given_up(client: Client, rows: np.ndarray) -> None:
    class Forgetful(Counting):
        def map(self, *args: Any, **kwargs: Any) -> Any:
            futures = super().map(*args, **kwargs)
            self._client.cancel(futures)
            return futures

    source = as_source(da.from_array(rows, chunks=(20, -1)))
    submitted: list[Any] = []
    with closing(DaskExecutor(Forgetful(client, submitted)).place(source)) as placement:
        submitted.clear()
        with pytest.raises(ClusterError, match=r"lost blocks 0 to 39 \(rows 0 to 799\) 4 times"):
            placement.reduce([Sum()])
    assert sum("reduce" in key for key in submitted) == 4 * 10


class Slowly(Counting):
    """A client that waits for results, for ever or for a while: they got lost on their way."""

    workers: Any = None
    seconds = 0.0

    async def gather(self, *args: Any, **kwargs: Any) -> Any:
        await asyncio.sleep(self.seconds)
        return await self._client.gather(*args, **kwargs)

    def sync(self, function: Any, *args: Any, **kwargs: Any) -> Any:
        """Ask the scheduler for its workers."""
        answer = self._client.sync(function, *args, **kwargs)
        return answer if self.workers is None else self.workers


def test_lost_results_are_awaited_while_there_are_workers(
    client: Client, rows: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fastgmm.executors.dask.holding.PATIENCE", 0.05)
    monkeypatch.setattr("fastgmm.executors.dask.holding.RECOVERY", 0.1)
    source, slowly = as_source(da.from_array(rows, chunks=(400, -1))), Slowly(client, [])
    with closing(DaskExecutor(slowly).place(source)) as placement:
        slowly.seconds = 0.2
        assert placement.reduce([Sum()])[0][3] == pytest.approx(N)
        slowly.seconds, slowly.workers = 3600.0, {}
        with (
            pytest.raises(ClusterError, match=r"has no worker .*\(blocks? .*\(rows"),
            ends_within(),
        ):
            placement.reduce([Sum()])


def test_a_block_that_kills_every_worker_is_named(
    client: Client, rows: np.ndarray, tmp_path: Path
) -> None:
    marks = tmp_path / "marks"
    source = as_source(da.from_array(rows, chunks=(20, -1)))
    scheduler = client.cluster.scheduler
    allowed, scheduler.allowed_failures = scheduler.allowed_failures, 0
    try:
        with closing(DaskExecutor(client).place(source)) as placement:
            with pytest.raises(ClusterError, match=r"block 23 \(rows 460 to 479\) killed"):
                placement.reduce([Deadly(469, str(marks), lives=99)])
            assert marks.read_text() == "xx"
            await_workers(client, 2)
            assert placement.reduce([Sum()])[0][3] == pytest.approx(N)
    finally:
        scheduler.allowed_failures = allowed


def test_a_cluster_without_workers_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fastgmm.executors.dask.holding.RECOVERY", 0.2)
    with (
        LocalCluster(n_workers=0, dashboard_address=":0") as cluster,
        Client(cluster, set_as_default=False) as client,
        pytest.raises(ClusterError, match="has no worker"),
    ):
        DaskExecutor(client).place(ArraySource(np.zeros((10, 3))))


@pytest.mark.parametrize("kind", ["array", "persisted", "file"])
def test_a_killed_worker_changes_no_bit(
    client: Client, rows: np.ndarray, tmp_path: Path, kind: str
) -> None:
    source: Source
    if kind == "file":
        np.save(tmp_path / "rows.npy", rows)
        source = open_dataset(tmp_path / "rows.npy")
    else:
        source = as_source(getattr(Lazy(client), kind)(rows))
    marks = tmp_path / "marks"
    expected = passed(ThreadExecutor(1), source, [Sum()])
    with closing(DaskExecutor(client).place(source)) as placement:
        (state,) = placement.reduce([Deadly(469, str(marks))])
        assert marks.read_text() == "xx"
        assert [state.tobytes()] == expected
        assert [state.tobytes() for state in placement.reduce([Sum()])] == expected
    await_workers(client, 2)


def test_inside_a_task_of_a_cluster_of_one_thread(one_worker: Client, rows: np.ndarray) -> None:
    def task(rows: np.ndarray) -> list[bytes]:
        source = as_source(da.from_array(rows, chunks=(LENGTHS, -1)))
        return passed(DaskExecutor(active_client()), source)

    future = one_worker.submit(task, rows)
    source = as_source(da.from_array(rows, chunks=(LENGTHS, -1)))
    assert future.result(timeout=LONG) == passed(ThreadExecutor(1), source)


def test_without_a_client_there_is_none() -> None:
    assert active_client() is None
