"""What is held on a cluster, and how to get it again when the cluster has lost it."""

import asyncio
import logging
import uuid
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import asdict
from functools import partial
from threading import Thread
from time import monotonic, sleep
from typing import Any, TypeAlias

import dask
import distributed
from distributed import CancelledError, KilledWorker, worker_client

from fastgmm.exceptions import ClusterError
from fastgmm.executors.base import Costs, Work
from fastgmm.executors.dask.clients import Client, inside_task
from fastgmm.executors.dask.tasks import Parcel, raise_failure, unwrap
from fastgmm.executors.dask.warming import WarmUp, without_plugin

Future: TypeAlias = Any

log = logging.getLogger("fastgmm")


RETRIES = 2
"""Times a task that raised is run again by Dask: passing faults of a file system."""


INLINE_BYTES = 2**16
INLINE_TOTAL = 2**23
"""What is so small, once and in all tasks together, travels with every task: the result of a task,
which waits for a worker and is passed on from there, is 10 to 20 ms of a pass, and draws tasks to
that worker; but it travels once to a worker, and not 512 times."""

WARM_UP_PATIENCE = 180.0
"""Seconds to wait for workers to compile: more than all kernels of a model take."""

COOL_DOWN_PATIENCE = 10.0
"""Seconds to wait for workers to let go of what warms them up."""

PATIENCE = 10.0
"""Seconds without a result after which to look whether there are workers at all."""

RECOVERY = 60.0
"""Seconds to wait for a worker when there is none, and for a scheduler that a client has given up:
after ``Client(timeout=...)``, 30 s by default, it closes itself."""


class Cluster:
    """A client, and all that is held on its cluster for one placement."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self._given = client
        self._address = getattr(client.scheduler, "address", None)  # a closed client has none
        if self._address is None and client.status == "closed":
            raise ClusterError(
                "the Dask client is closed: give set_client() another one, or None for this machine"
            )
        self._held: list[Held] = []
        self._futures: list[Future] = []
        self._warming: tuple[str, Thread] | None = None
        self._away = ExitStack()
        if inside_task():
            # a task that waits for tasks leaves its thread to them until close(): on a cluster of
            # one thread it would wait for ever
            self._away.enter_context(worker_client())

    def n_threads(self) -> int:
        """Return the workers' threads; waits for the first worker."""
        self.await_worker()
        return max(sum(self._nthreads().values()), 1)

    def memory(self) -> int:
        """Return the sum of the workers' memory limits, where they have one."""
        workers = self.client.scheduler_info(n_workers=-1)["workers"].values()
        return sum(int(worker["memory_limit"] or 0) for worker in workers)

    def await_worker(self, lost: str = "nothing was computed") -> None:
        """Raise ClusterError if no worker comes within a minute."""
        # client.wait_for_workers() would give up at once while a scheduler is being restarted
        give_up = monotonic() + RECOVERY
        while not (arrived := self._nthreads()) and monotonic() < give_up:
            sleep(0.05)
        if not arrived:
            raise ClusterError(
                f"the Dask cluster has no worker or cannot be reached ({lost}): start its "
                "scheduler and workers, or take another cluster, and fit again"
            )

    def _nthreads(self) -> dict[str, int]:
        """Return the threads of every worker, as the scheduler says; none if it does not answer."""
        try:
            if self.client.status == "closed" and self._address is not None:
                self.client = distributed.Client(
                    self._address,
                    timeout=RECOVERY,
                    security=self._given.security,
                    set_as_default=False,
                )
            # client.nthreads() but for the end: a client that looks for its scheduler waits for as
            # long as its own timeout says
            nthreads: dict[str, int] = self.client.sync(
                self.client.scheduler.ncores, callback_timeout=RECOVERY
            )
        except Exception:  # whatever a lost connection raises in this or that version
            return {}
        return nthreads

    def _await_client(self) -> None:
        """Have a client of our own when the given one has given up the scheduler."""
        if self.client.status == "closed":
            self.await_worker()

    def submit(self, what: str, function: Callable[..., Any], *args: Any) -> Future:
        """Submit a task under a name that no other has."""
        self._await_client()
        key = f"fastgmm-{what}-{uuid.uuid4().hex}"
        # a large model is meant to travel in the graph: once
        with dask.config.set({"distributed.admin.large-graph-warning-threshold": "1 TiB"}):
            return self.client.submit(function, *args, key=key, pure=False, retries=RETRIES)

    def submit_all(
        self, what: str, function: Callable[..., Any], calls: Sequence[tuple[Any, ...]]
    ) -> list[Future]:
        """Submit tasks as one graph: 16 took 1 ms instead of 20."""
        if not calls:
            return []
        self._await_client()
        keys = [f"fastgmm-{what}-{uuid.uuid4().hex}" for _ in calls]
        columns = zip(*calls, strict=True)
        futures: list[Future] = self.client.map(
            function, *columns, key=keys, pure=False, retries=RETRIES
        )
        return futures

    def log_pass(self, rows: int, seconds: float, costs: Costs) -> None:
        """Leave a note of a pass in the scheduler's log of events, topic "fastgmm"."""
        note = asdict(costs) | {
            "rows": rows,
            "seconds": seconds,
            "workers": sorted(costs.workers),
        }
        with suppress(Exception):  # a cluster lost meanwhile is for the next pass to notice
            self.client.log_event("fastgmm", note)

    def warm_up(self, works: Sequence[Work[Any]], weighted: bool) -> None:
        """Have every worker, also those to come until :meth:`close`, get its kernels ready."""
        self._cool_down()
        plugin = WarmUp(works, weighted)
        asking = self._asked(partial(self.client.register_plugin, plugin), WARM_UP_PATIENCE)
        self._warming = plugin.name, asking

    def _cool_down(self) -> None:
        if self._warming is None:
            return
        name, asking = self._warming
        late = asking.is_alive()

        def forget() -> None:
            try:
                self.client.unregister_worker_plugin(name)
            finally:
                if late:  # a worker that hung may hear of both in any order
                    asking.join()
                    self.client.run(without_plugin, name)

        self._asked(forget, COOL_DOWN_PATIENCE)
        self._warming = None

    def _asked(self, call: Callable[[], Any], seconds: float) -> Thread:
        """Ask something of every worker, but do not wait for ever for one that hangs."""

        def ask() -> None:
            try:
                call()
            except Exception as error:  # what is lost is for the next pass to notice
                log.debug("not all workers have answered: %s", error)

        asking = Thread(target=ask, name="fastgmm-ask-workers", daemon=True)
        asking.start()
        asking.join(seconds)
        return asking

    def hold(self, what: str, function: Callable[..., Any], *args: Any) -> "Held":
        """Compute something on the cluster and keep it there until :meth:`close`."""
        held = Held(self, what, function, args)
        self._held.append(held)
        return held

    def send(self, what: str, content: Any, n_tasks: int) -> "Sent":
        """Return what so many tasks can be given to have it, and what to :meth:`drop` after."""
        parcel = Parcel(content)
        if parcel.n_bytes() <= min(INLINE_BYTES, INLINE_TOTAL // n_tasks):
            return parcel
        return self.hold(what, unwrap, parcel)

    def persist(self, collections: Sequence[Any]) -> Sequence[Any]:
        """Compute collections on the cluster and keep them until :meth:`close`."""
        from fastgmm.sources.dask_collections import futures_of

        persisted: Sequence[Any] = self.client.persist(list(collections))
        self._futures += futures_of(persisted).values()
        return persisted

    def results(self, held: "Sequence[Held]", names: Sequence[str]) -> Sequence[Any]:
        """Return the values of what is held; an error tells the name of what it is about."""
        futures = [one.future() for one in held]
        try:
            results = self.gather(futures, "the numbers of rows")
        except BaseException as error:
            failed = [future.status == "error" for future in futures]
            self.cancel(futures)
            if isinstance(error, KilledWorker):
                raise ClusterError(
                    f"{names[failed.index(True)]} killed every worker that computed them, or what "
                    "was computed beside them did: look into the workers' logs for a lack of "
                    "memory or a crash in reading these rows"
                ) from error
            if isinstance(error, CancelledError):
                raise ClusterError(
                    "the Dask cluster was lost while it counted the rows of X: look into the "
                    "scheduler's log, or start again on another cluster"
                ) from error
            raise
        for result in results:
            raise_failure(result)
        return results

    def gather(self, futures: Sequence[Future], what: str) -> Sequence[Any]:
        """Return results; raise ClusterError if they got lost and no worker comes to find them."""
        # the client's own gather() waits for ever then; this one is not broken off while a worker
        # is there, since what arrives may be large
        loop = self.client.loop.asyncio_loop
        arriving = asyncio.run_coroutine_threadsafe(self._arrive(futures), loop)
        try:
            while True:
                try:
                    results: Sequence[Any] = arriving.result(PATIENCE)
                    return results
                except TimeoutError:
                    if arriving.done():
                        raise
                    self.await_worker(what)
        except asyncio.CancelledError as error:  # what asyncio makes of the other one
            raise CancelledError(*error.args) from error
        finally:
            arriving.cancel()

    async def _arrive(self, futures: Sequence[Future]) -> Sequence[Any]:
        results: Sequence[Any] = await self.client.gather(list(futures), asynchronous=True)
        return results

    def cancel(self, futures: Sequence[Future]) -> None:
        """Stop tasks that are not wanted any more; a lost cluster has stopped them itself."""
        with suppress(Exception):
            self.client.cancel(list(futures))
        for future in futures:
            future.release()

    def drop(self, sent: "Sequence[Sent]") -> None:
        """Let go of what is held; what was computed from it stays recomputable."""
        for one in sent:
            if isinstance(one, Held):
                one.release()
                self._held.remove(one)

    def close(self) -> None:
        """Let go of everything."""
        self._cool_down()
        for one in self._held:
            one.release()
        for future in self._futures:
            future.release()
        self._held, self._futures = [], []
        self._away.close()
        if self.client is not self._given:
            self.client.close()


class Held:
    """The result of a task that stays on the cluster, and how to get it again."""

    def __init__(
        self, cluster: Cluster, what: str, function: Callable[..., Any], args: Sequence[Any]
    ) -> None:
        self._cluster = cluster
        self._recipe = what, function, args
        self._future: Future | None = None

    def future(self) -> Future:
        """Return its future, submitted anew if the scheduler forgot it or gave it up."""
        if self._future is not None and self._future.status in ("cancelled", "lost", "error"):
            self.release()
        if self._future is None:
            what, function, args = self._recipe
            self._future = self._cluster.submit(what, function, *map(resolve, args))
        return self._future

    def release(self) -> None:
        """Let go of it."""
        if self._future is not None:
            self._future.release()
            self._future = None


Sent: TypeAlias = Held | Parcel[Any]


def resolve(argument: Any) -> Any:
    """Return the future of what is held, also in a list; anything else as it is."""
    if isinstance(argument, list):
        return [resolve(one) for one in argument]
    return argument.future() if isinstance(argument, Held) else argument
