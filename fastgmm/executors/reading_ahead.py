"""Reading ahead: a thread fetches the next blocks while kernels work on one."""

import _thread
from collections.abc import Generator, Iterator
from queue import SimpleQueue

from fastgmm.sources import BUFFERS, Chunk

READ_AHEAD = BUFFERS - 2
"""Blocks waiting for the kernel: a source's buffers less the one being read and the one in use."""


class Room:
    """What the consumer grants: reading a block each, until there is no consumer any more."""

    def __init__(self, depth: int) -> None:
        self.grants: SimpleQueue[bool] = SimpleQueue()
        for _ in range(depth):
            self.grants.put(True)

    def __del__(self) -> None:
        # a signal may come before the consumer says so itself: the thread would wait for ever; or
        # before there is anything to wait for
        if hasattr(self, "grants"):
            self.grants.put(False)


def read_ahead(chunks: Iterator[Chunk], depth: int = READ_AHEAD) -> Generator[Chunk, None, None]:
    """Read ``chunks`` on a thread of their own, up to ``depth`` ahead of the consumer."""
    # queues written in C, for the reason that ``pool`` gives
    ready: SimpleQueue[Chunk | BaseException | None] = SimpleQueue()
    room = Room(depth)
    grants = room.grants
    ended: SimpleQueue[None] = SimpleQueue()
    over = False

    def read() -> None:
        try:
            for chunk in chunks:
                ready.put(chunk)
                if not grants.get() or over:
                    return
            ready.put(None)
        except BaseException as error:  # handed to the consumer, whatever it is
            ready.put(error)
        finally:
            ended.put(None)

    # a threading.Thread waits for its start by a condition written in Python, which a signal may
    # leave half done: "release unlocked lock" instead of KeyboardInterrupt
    _thread.start_new_thread(read, ())
    try:
        while (item := ready.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            grants.put(True)
            yield item
    finally:
        over = True
        grants.put(False)
        ended.get()
