"""A sweep that was interrupted goes on to the bits of one that was not."""

import itertools

import numpy as np
import pytest
from problems import blobs, fingerprint, fit

from fastgmm import archive, select
from fastgmm.checkpoint import KIND
from fastgmm.exceptions import CheckpointError, InvalidParameterError
from fastgmm.progress import (
    Event,
    FitBegan,
    IterationDone,
    ModelResumed,
    PassBegan,
    RowsDone,
    StartMade,
)

pytestmark = [
    pytest.mark.filterwarnings("ignore:Best performing:UserWarning"),
    pytest.mark.usefixtures("no_brief_passes"),
]

X, _ = blobs(600, 3, 4, seed=2, spread=4.0)
SWEEP = {
    "n_components": (1, 4),
    "covariance_type": ("full", "diag"),
    "criterion": "cv",
    "n_folds": 2,
    "n_init": 2,
    "random_state": 5,
    "max_iter": 6,
    "tol": 1e-4,
    "chunk_size": 50,
}
N_STARTS = 4 * 2 * 3


@pytest.fixture
def path(tmp_path):
    return tmp_path / "sweep.ckpt"


def facts(found):
    """What does not depend on when a sweep was interrupted."""
    return [
        (
            fingerprint(model),
            [line._replace(seconds=0.0) for line in model.history_],
            candidate._replace(seconds=0.0),
        )
        for model, candidate in zip(found.models, found.table, strict=True)
    ], found.best_index


def interrupted(number, kind=Event, after=None, X=X, **sweep):
    """Interrupt a sweep at the n-th event of a kind, from the first pass of a name on."""
    count, begun = itertools.count(1), after is None

    def stop(event):
        nonlocal begun
        begun = begun or (isinstance(event, PassBegan) and event.name == after)
        if begun and isinstance(event, kind) and next(count) == number:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt) as caught:
        select(X, **sweep, callbacks=[stop])
    assert "resume=True" in caught.value.__notes__[0]


WHERE = {
    "before the first row": (1, FitBegan, None),
    "in the first pass": (5, RowsDone, None),
    "at a start": (7, StartMade, None),
    "at an iteration": (30, IterationDone, None),
    "in a pass of EM": (17, RowsDone, "iteration"),
    "while held-out rows are scored": (3, RowsDone, "scoring"),
}


@pytest.fixture(scope="module")
def undisturbed():
    return facts(select(X, **SWEEP))


@pytest.mark.parametrize("where", WHERE)
def test_interrupted_at_its_events(where, path, undisturbed):
    number, kind, after = WHERE[where]
    # 0: written at every step; 1e9: written when the interruption comes
    interval = 0 if list(WHERE).index(where) % 2 else 1e9
    kept = {**SWEEP, "checkpoint": path, "checkpoint_interval": interval}
    interrupted(number, kind, after, **kept, n_threads=2)
    assert facts(select(X, **kept, n_threads=1, resume=True)) == undisturbed


def test_interrupted_again_and_again(path, undisturbed):
    kept = {**SWEEP, "checkpoint": path, "resume": True}
    for number in (6, 9, 30, 70, 31):
        interrupted(number, n_threads=2, **kept)
    assert facts(select(X, **kept)) == undisturbed


def test_threads_and_a_cluster_take_turns(tmp_path, path, undisturbed, two_workers):
    np.save(tmp_path / "rows.npy", X)
    kept = {**SWEEP, "checkpoint": path, "checkpoint_interval": 0, "resume": True}
    file = tmp_path / "rows.npy"
    interrupted(21, IterationDone, X=file, **kept)
    interrupted(1, RowsDone, "iteration", X=file, client=two_workers, **kept)
    assert facts(select(file, **kept, client=two_workers)) == undisturbed


def test_starts_that_read_all_rows(path):
    sweep = {**SWEEP, "init_params": "k-means||", "max_iter": 1, "criterion": "bic", "n_init": 1}
    expected = facts(select(X, **sweep))
    for number in (3, 40):
        interrupted(number, RowsDone, "start", **sweep, checkpoint=path)
        assert facts(select(X, **sweep, checkpoint=path, resume=True)) == expected
        path.unlink()


def test_starts_that_are_made_are_not_made_again(path):
    events = []
    interrupted(8, StartMade, **SWEEP, checkpoint=path)
    select(X, **SWEEP, checkpoint=path, resume=True, callbacks=[events.append])
    # two a candidate, of whom three were done with theirs
    assert sum(isinstance(event, StartMade) for event in events) == N_STARTS - 6
    # nor is what they are made from gathered again: the pass is known at once
    assert next(event.rows for event in events if isinstance(event, RowsDone)) == len(X)


def test_a_sweep_that_has_ended_reads_nothing(path, undisturbed):
    first = select(X, **SWEEP, checkpoint=path)
    events = []
    again = select(X, **SWEEP, checkpoint=path, resume=True, callbacks=[events.append])
    assert facts(again) == facts(first) == undisturbed
    assert [event.name for event in events if isinstance(event, PassBegan)] == ["scoring"]
    # known at once, not range by range
    assert [event.rows for event in events if isinstance(event, RowsDone)] == [len(X)]
    assert sum(isinstance(event, ModelResumed) for event in events) == N_STARTS
    assert again.passes == (0, 0, 0, 1)
    for candidate, model in zip(again.table, again.models, strict=True):
        seconds = max(
            sum(line.seconds for line in model.history_ if line.start == start) for start in (0, 1)
        )
        assert candidate.seconds >= seconds > 0.0


@pytest.mark.parametrize("random_state", [None, 3], ids=["no seed", "a generator"])
def test_a_seed_that_was_drawn_is_kept(random_state, path):
    def state():
        return None if random_state is None else np.random.RandomState(random_state)

    sweep = {**SWEEP, "checkpoint": path}
    interrupted(7, StartMade, **{**sweep, "random_state": state()})
    seed = archive.read(path, KIND)[0]["standing"]["outcomes"]["seed"]
    found = select(X, **{**sweep, "random_state": state()}, resume=True)
    assert found.best.random_state == seed
    assert facts(found) == facts(select(X, **{**SWEEP, "random_state": seed}))


OTHERS = {
    "n_components": ({"n_components": (1, 3)}, "n_components is 1, 4 there and 1, 3 here"),
    "shape": ({"covariance_type": "full"}, "covariance_type is full, diag there and full here"),
    "criterion": ({"criterion": "bic"}, "criterion is cv there and bic here"),
    "folds": ({"n_folds": 3}, "n_folds is 2 there and 3 here"),
    "starts": ({"n_init": 1}, "n_init is 2 there and 1 here"),
    "seed": ({"random_state": 1}, "random_state is 5 there and 1 here"),
}


@pytest.mark.parametrize("what", OTHERS)
def test_checkpoints_of_other_sweeps_are_refused(what, path):
    interrupted(1, StartMade, **SWEEP, checkpoint=path)
    before, (others, says) = path.read_bytes(), OTHERS[what]
    with pytest.raises(CheckpointError, match=f"{path}.* other settings: {says}"):
        select(X, **{**SWEEP, **others}, checkpoint=path, resume=True)
    with pytest.raises(CheckpointError, match="other data: rows_hash is"):
        select(X + 1e-9, **SWEEP, checkpoint=path, resume=True)
    assert path.read_bytes() == before


def test_a_fit_is_no_sweep(path):
    single = {"n_components": 4, "random_state": 5, "max_iter": 1, "n_init": 2}
    fit(X, **single, checkpoint=path)
    with pytest.raises(CheckpointError, match="criterion is None there and bic here"):
        select(X, **single, covariance_type="full", checkpoint=path, resume=True)


def test_resume_begins_where_there_is_no_file_and_needs_a_name(path, undisturbed):
    assert facts(select(X, **SWEEP, checkpoint=path, resume=True)) == undisturbed
    assert path.exists()
    with pytest.raises(InvalidParameterError, match="checkpoint=path"):
        select(X, **SWEEP, resume=True)
    with pytest.raises(InvalidParameterError, match="'checkpoint_interval' parameter of select"):
        select(X, **SWEEP, checkpoint=path, checkpoint_interval=-1)
