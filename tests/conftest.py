"""For all tests: clusters of real worker processes, passes that are never brief, and an end.

A test that hangs is ended, and so are the processes that it has started.
"""

import os
import signal
from collections.abc import Iterator

import pytest
from clusters import cluster
from distributed import Client
from hanging import Watch

from fastgmm.executors import threads

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # as where a shell's script starts the tests in the background: what they start inherits it,
    # and could not be interrupted
    signal.signal(signal.SIGINT, signal.default_int_handler)

# what tests start writes through buffers, as it does for users: one that cannot be emptied when
# Python ends makes its exit code 120
os.environ.pop("PYTHONUNBUFFERED", None)

# what aborts, tells where
os.environ.setdefault("PYTHONFAULTHANDLER", "1")

watch = Watch()


def pytest_sessionstart() -> None:
    watch.start()


def pytest_runtest_logstart() -> None:
    watch.begin()


@pytest.fixture
def no_brief_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cut all passes for all threads: fast machines tell of as many events as slow ones."""
    monkeypatch.setattr(threads, "BRIEF_SECONDS", 0.0)


@pytest.fixture(scope="session")
def two_workers() -> Iterator[Client]:
    with cluster(2) as client:
        yield client


@pytest.fixture(scope="session")
def one_worker() -> Iterator[Client]:
    with cluster(1) as client:
        yield client
