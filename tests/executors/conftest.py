"""A cluster on which every test cleans up behind itself."""

from collections.abc import Iterator

import pytest
from distributed import Client
from leftovers import left


@pytest.fixture
def client(two_workers: Client) -> Iterator[Client]:
    """Two workers, on which a test must leave nothing behind."""
    yield two_workers
    assert left(two_workers) == []
