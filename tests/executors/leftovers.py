"""What a client has left behind on its cluster, and waiting until that has its workers again."""

import gc
import time

from distributed import Client


def left(client: Client, prefix: str = "") -> list[str]:
    """Return the futures that stay alive; the client lets go of them a little later."""
    for attempt in range(100):
        keys = [key for key in map(str, list(client.futures)) if key.startswith(prefix)]
        if not keys:
            break
        time.sleep(0.02)
        if attempt % 20 == 10:
            gc.collect()
    return keys


def await_workers(client: Client, n: int, seconds: float = 60.0) -> None:
    """Wait until the scheduler knows so many workers; wait_for_workers may miss a restarted one."""
    give_up = time.monotonic() + seconds
    while len(client.nthreads()) != n:
        assert time.monotonic() < give_up, client.nthreads()
        time.sleep(0.05)
