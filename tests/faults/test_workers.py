"""Whatever happens to workers, a fit has the bits of one thread and leaves nothing behind."""

import math
import re
from collections.abc import Iterator
from pathlib import Path

import dask
import pytest
from clusters import cluster
from distributed import Client
from executors.leftovers import await_workers, left
from faults import scenarios
from faults.scenarios import (
    TROUBLES,
    Scene,
    Trouble,
    always_dies,
    collection,
    computed,
    dies_alone,
    fit,
    fit_in_a_task,
    fit_with,
    nothing,
    undisturbed,
)
from hanging import LONG, ends_within

from fastgmm.exceptions import ClusterError

# not caught in fits: threads would take each other's filters away
pytestmark = [pytest.mark.faults, pytest.mark.filterwarnings("ignore:Best performing")]


@pytest.fixture(autouse=True)
def _ends() -> Iterator[None]:
    """A fit that hangs is an error."""
    with ends_within():
        yield


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> str:
    return undisturbed(tmp_path_factory.mktemp("undisturbed"))


@pytest.fixture
def client(request: pytest.FixtureRequest) -> Iterator[Client]:
    """Two workers that the quick half shares; the others may leave theirs in any state."""
    if request.node.get_closest_marker("slow") is None:
        yield request.getfixturevalue("two_workers")
        return
    with (
        # four kills are more than Dask allows a task by default
        dask.config.set({"distributed.scheduler.allowed-failures": 10}),
        cluster(2) as client,
    ):
        yield client


@pytest.mark.parametrize(
    "trouble",
    [
        pytest.param(one, id=one.name, marks=[] if one.quick else pytest.mark.slow)
        for one in TROUBLES
    ],
)
def test_trouble(client: Client, tmp_path: Path, expected: str, trouble: Trouble) -> None:
    await_workers(client, 2)
    assert fit_with(trouble, Scene(client, tmp_path, 2)) == expected
    assert left(client) == []
    marks = {"computed", "kills", "failures", "company"}
    assert {file.name for file in tmp_path.iterdir()} <= marks


def test_every_fault_has_a_test_that_is_there() -> None:
    assert scenarios.__doc__ is not None
    sources = "".join(path.read_text() for path in Path(__file__).parents[1].rglob("test_*.py"))
    named = re.findall(r"test_\w+", scenarios.__doc__)
    assert len(named) > 15
    assert [name for name in named if f"def {name}(" not in sources] == []
    names = {one.name for one in TROUBLES}
    quoted = re.findall(r'"([^".]+)"', scenarios.__doc__)
    assert [name for name in quoted if name not in names] == []


def test_a_fit_inside_a_task(one_worker: Client, tmp_path: Path, expected: str) -> None:
    assert one_worker.submit(fit_in_a_task, tmp_path).result(timeout=LONG) == expected


def test_a_kill_costs_the_work_of_one_shard(
    two_workers: Client, tmp_path: Path, expected: str
) -> None:
    await_workers(two_workers, 2)
    passes = 4  # three iterations, and one that looks at the rows
    kill = Trouble("", nothing, reading=dies_alone)
    assert fit_with(kill, Scene(two_workers, tmp_path, 2)) == expected
    # a shard is four partitions, and it died in the last of them
    assert computed(tmp_path) - passes * 64 == 4


@pytest.mark.slow
@pytest.mark.parametrize("persist", [False, True])
@pytest.mark.parametrize("lengths_known", [True, False])
def test_a_partition_that_kills_every_worker_is_named(
    client: Client, tmp_path: Path, persist: bool, lengths_known: bool
) -> None:
    client.cluster.scheduler.allowed_failures = 0
    X = collection(tmp_path, always_dies)
    if not lengths_known:
        X._chunks = ((math.nan,) * X.npartitions, X.chunks[1])
    named = r"block 7 \(rows 700 to 799\)" if lengths_known else r"partitions \d+ to \d+ of X"
    with pytest.raises(ClusterError, match=f"{named} killed every worker"):
        fit(X, client, persist)
    assert left(client) == []
