"""What a client has left behind on its cluster, and waiting until that has its workers again."""

import gc
import os
import signal
import time
from typing import Any

from distributed import Client
from hanging import LONG


def left(client: Client, prefix: str = "") -> list[str]:
    """Return the futures that stay alive; the client lets go of them a little later."""
    for attempt in range(1500):
        keys = [key for key in map(str, list(client.futures)) if key.startswith(prefix)]
        if not keys:
            break
        time.sleep(0.02)
        if attempt % 20 == 10:
            gc.collect()
    return keys


def await_workers(client: Client, n: int) -> None:
    """Wait until a local cluster has so many workers again after some were killed.

    About one in ten that a nanny of distributed 2026.8 starts anew never registers (without
    fastgmm, too): it is killed, for its nanny to try again, and a nanny that has given its worker
    up is replaced. Looks are counted, not seconds: those in which nobody could start, since this
    process was stopped with all others, are no reason.
    """
    patience = until = 200
    for look in range(20 * LONG):
        known = client.nthreads()
        if len(known) == n:
            return
        if look == until:
            patience *= 2  # it may be the machine that is slow
            until += patience
            for name, nanny in list(client.cluster.workers.items()):
                if nanny.worker_address not in known:
                    _start_again(client.cluster, name, nanny)
            client.cluster.scale(n)
        time.sleep(0.05)
    raise AssertionError(f"{n} workers are expected, there are {known}")


def _start_again(cluster: Any, name: Any, nanny: Any) -> None:
    if nanny.is_alive():
        os.kill(nanny.process.pid, signal.SIGKILL)
    else:
        cluster.worker_spec.pop(name, None)
