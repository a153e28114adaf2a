"""A fit that was interrupted goes on to the bits of one that was not."""

import itertools
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import time
import warnings
from contextlib import suppress
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from interrupting import fit_until, fit_until_line
from problems import blobs, fingerprint, fit

from fastgmm import GaussianMixture, archive, checkpoint, open_dataset
from fastgmm.exceptions import (
    CheckpointError,
    DataError,
    InvalidParameterError,
    UnreadableError,
)
from fastgmm.progress import ComponentsReseeded, IterationDone, PassBegan
from fastgmm.sources import ArraySource

pytestmark = pytest.mark.usefixtures("no_brief_passes")

X, MEANS = blobs(700, 3, 3)
WEIGHTS = np.random.default_rng(0).gamma(2.0, size=len(X))
SLOW = [pytest.mark.faults, pytest.mark.slow]
SETTINGS = {"n_components": 3, "max_iter": 4, "tol": 0, "random_state": 0, "chunk_size": 60}

FITS = {
    "several starts": ({"n_init": 3}, None),
    "weights": ({"init_params": "random"}, WEIGHTS),
    "tied, relative": ({"covariance_type": "tied", "regularization": "relative"}, None),
    "a start far away": ({"means_init": MEANS + 1e7}, None),
    "components that start anew": (
        {"n_components": 40, "covariance_type": "diag", "init_params": "random_from_data",
         "on_collapse": "reseed"}, None),
    "a start that is given": ({"init_params": np.arange(len(X)) % 3, "means_init": MEANS}, None),
    "a start from all rows": ({"init_params": "k-means||", "max_iter": 1}, None),
    "fixed means": ({"init_params": (np.full(3, 1 / 3), MEANS, np.stack([np.eye(3)] * 3)),
                     "fixed": ("means",)}, None),
    "a RandomState": ({"random_state": np.random.RandomState(3)}, None),
}  # fmt: skip


@pytest.fixture
def path(tmp_path):
    return tmp_path / "fit.npz"


def settings_of(name, path, **more):
    more_settings, weights = FITS[name]
    kept = {"checkpoint": path, **more} if path is not None else more
    settings = {**SETTINGS, **more_settings, **kept}
    if isinstance(settings["random_state"], np.random.RandomState):
        settings["random_state"] = np.random.RandomState(3)
    return settings, weights


@pytest.mark.parametrize("name", FITS)
def test_interrupted_at_its_events(name, path):
    settings, weights = settings_of(name, None)
    whole = fit(X, weights, n_threads=2, **settings)
    reached, resumed, numbers = True, [], itertools.count(2, 7)
    while reached:
        path.unlink(missing_ok=True)
        # 0: written at every step; 1e9: written when the interruption comes
        interval = 0 if len(resumed) % 2 else 1e9
        settings, _ = settings_of(name, path, checkpoint_interval=interval, n_threads=2)
        reached = fit_until(next(numbers), X, weights, **settings)
        settings, _ = settings_of(name, path, resume=True, n_threads=1)
        resumed.append(fit(X, weights, **settings))
        state = settings["random_state"]
        if isinstance(state, np.random.RandomState):
            assert state.uniform() == settings_after(whole)
    assert len(resumed) > 4
    assert {fingerprint(model) for model in resumed} == {fingerprint(whole)}
    for model in resumed:
        assert model.n_iter_ == whole.n_iter_
        assert model.collapsed_.tolist() == whole.collapsed_.tolist()
        lines = [line._replace(seconds=0.0) for line in model.history_]
        assert sorted(lines) == sorted(line._replace(seconds=0.0) for line in whole.history_)


def settings_after(whole):
    """Return the next draw of the generator after an undisturbed fit."""
    state = np.random.RandomState()
    state.set_state(whole.random_state.get_state())
    return state.uniform()


def test_the_fits_above_have_the_passes_they_are_there_for():
    events = []
    for name in ("a start far away", "components that start anew"):
        settings, weights = settings_of(name, None)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            GaussianMixture(**settings).set_callbacks(events.append).fit(X, sample_weight=weights)
    passes = [event.name for event in events if isinstance(event, PassBegan)]
    assert passes.count("iteration") > 2 * SETTINGS["max_iter"]  # repeated about the new means
    assert any(isinstance(event, ComponentsReseeded) for event in events)


def test_interrupted_between_any_two_lines(path):
    """In the midst of a merge, of writing the file, of taking note of either."""
    settings = SETTINGS | {"n_init": 2, "max_iter": 2, "n_threads": 1}
    expected = fingerprint(fit(X, **settings))
    hit, number = True, 1
    while hit:
        for interval in (0, 1e9):
            path.unlink(missing_ok=True)
            kept = {**settings, "checkpoint": path}
            hit = fit_until_line(number, X, **kept, checkpoint_interval=interval)
            assert {file.name for file in path.parent.iterdir()} <= {path.name}
            assert fingerprint(fit(X, **kept, resume=True)) == expected, (number, interval)
        number += 433
    assert number > 2000


def test_a_fit_that_has_ended_is_not_made_again(path):
    settings = SETTINGS | {"checkpoint": path, "tol": 1e-2, "max_iter": 50}
    model = GaussianMixture(**settings).fit(X)
    events = []
    again = GaussianMixture(**settings, resume=True).set_callbacks(events.append).fit(X)
    assert fingerprint(again) == fingerprint(model)
    assert again.converged_
    assert not any(isinstance(event, PassBegan) for event in events)


def test_a_fit_that_stopped_at_max_iter_goes_on(path):
    fit(X, **SETTINGS, checkpoint=path)
    longer = SETTINGS | {"max_iter": 9}
    assert fingerprint(fit(X, **longer, checkpoint=path, resume=True)) == fingerprint(
        fit(X, **longer)
    )


def test_a_warm_start_goes_on_from_the_model_it_began_with(path):
    settings = SETTINGS | {"warm_start": True, "n_threads": 2}
    cold = GaussianMixture(**settings)
    with pytest.warns(UserWarning, match="did not converge"):
        cold.fit(X)
    cold.save(path.with_name("cold.npz"))
    with pytest.warns(UserWarning, match="did not converge"):
        expected = fingerprint(cold.fit(X))
    for number in (2, 5, 25, 40):
        warm = GaussianMixture.load(path.with_name("cold.npz"))
        warm.set_params(checkpoint=path).set_callbacks(raising_at(number))
        with pytest.raises(KeyboardInterrupt):
            warm.fit(X)
        assert fingerprint(fit(X, **settings, checkpoint=path, resume=True)) == expected
        path.unlink()


@pytest.mark.parametrize("what", ["weights_", "means_", "covariances_", "lower_bound_"])
def test_a_warm_start_from_another_model_is_refused(what, path):
    settings = SETTINGS | {"warm_start": True, "n_threads": 2}
    kept = {"checkpoint": path, "resume": True}
    cold = fit(X, **settings)
    fit(X, **settings, **kept)
    path.unlink()
    cold.set_params(**kept)
    cold.set_callbacks(raising_at(20))
    with pytest.raises(KeyboardInterrupt):
        cold.fit(X)
    before, changed = path.read_bytes(), getattr(cold, what)
    setattr(cold, what, changed[::-1] if what != "lower_bound_" else changed - 1.0)
    with pytest.raises(CheckpointError, match=f"starting parameters: {what} is .* there and .*,"):
        cold.fit(X)
    assert path.read_bytes() == before


def test_an_estimator_goes_on_with_its_own_fit(path):
    settings = SETTINGS | {"warm_start": True, "checkpoint": path, "resume": True}
    model = fit(X, **settings)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.set_params(max_iter=9).fit(X)
    assert fingerprint(model) == fingerprint(fit(X, **SETTINGS | {"max_iter": 9}))


def raising_at(number):
    events = []

    def stop(event):
        events.append(event)
        if len(events) == number:
            raise KeyboardInterrupt

    return stop


@pytest.fixture
def file(tmp_path):
    np.save(tmp_path / "rows.npy", X)
    return open_dataset(tmp_path / "rows.npy")


def test_threads_and_a_cluster_take_turns(file, path, two_workers):
    expected = fingerprint(fit(file, **SETTINGS))
    kept = {**SETTINGS, "checkpoint": path, "checkpoint_interval": 0}
    turns = ((16, None, two_workers), (9, two_workers, None), (20, two_workers, two_workers))
    for number, first, second in turns:
        path.unlink(missing_ok=True)
        assert fit_until(number, file, client=first, **kept)
        assert fit_until(number // 2, file, client=first, resume=True, **kept)
        model = GaussianMixture(**kept, resume=True).set_client(second)
        with pytest.warns(UserWarning, match="did not converge"):
            assert fingerprint(model.fit(file)) == expected


ROWS_READ = []


class Counting(ArraySource):
    """Counts the rows it hands out."""

    def chunks(self, grid, first, last):
        for chunk in super().chunks(grid, first, last):
            ROWS_READ.append(len(chunk.rows))
            time.sleep(0.002)  # so that a pass lasts
            yield chunk


def test_what_is_lost_is_what_was_under_way(path):
    def rows_read(function):
        ROWS_READ.clear()
        function()
        return sum(ROWS_READ)

    source = Counting(X)
    settings = SETTINGS | {"n_threads": 2}
    whole = rows_read(lambda: fit(source, **settings))
    assert whole == (1 + SETTINGS["max_iter"]) * len(X)
    kept = {**settings, "checkpoint": path}
    for number in range(3, 48, 11):
        path.unlink(missing_ok=True)
        first = rows_read(lambda: fit_until(number, source, **kept))  # noqa: B023
        second = rows_read(lambda: fit(source, **kept, resume=True))
        assert first + second - whole <= 2 * SETTINGS["chunk_size"], number


OTHERS = {
    "rows_hash": (X + 1e-9, None, {}),
    "rows": (X[:-1], None, {}),
    "columns": (X[:, :2], None, {}),
    "dtype": (X.astype(np.float32), None, {}),
    "weighted": (X, WEIGHTS, {}),
    "n_components": (X, None, {"n_components": 2}),
    "covariance_type": (X, None, {"covariance_type": "diag"}),
    "tol": (X, None, {"tol": 1e-3}),
    "chunk_size": (X, None, {"chunk_size": 61}),
    "random_state": (X, None, {"random_state": 1}),
    "means_init": (X, None, {"means_init": MEANS}),
    "init_params": (X, None, {"init_params": "random"}),
}


@pytest.mark.parametrize("what", OTHERS)
def test_checkpoints_of_other_fits_are_refused(what, path):
    fit(X, **SETTINGS, checkpoint=path)
    before = path.read_bytes()
    rows, weights, others = OTHERS[what]
    with pytest.raises(CheckpointError, match=f"{path}.* {what} is .* there and .* here"):
        fit(rows, weights, **SETTINGS | others, checkpoint=path, resume=True)
    assert path.read_bytes() == before


def test_a_checkpoint_that_has_gone_further_is_refused(path):
    kept = {**SETTINGS, "tol": 0.0, "checkpoint": path, "resume": True}
    made = fit(X, **kept | {"max_iter": 5}).n_iter_
    assert made == 5
    with pytest.raises(CheckpointError, match=f"{path} has made 5 iterations, max_iter=3 is fewer"):
        fit(X, **kept | {"max_iter": 3})
    assert fit(X, **kept | {"max_iter": 5}).n_iter_ == 5


def halves(rows, n_components, random_state, shift):
    return (np.arange(len(rows)) + shift) % n_components


def test_another_function_of_the_same_name_is_refused(path):
    kept = {**SETTINGS, "checkpoint": path, "resume": True}
    expected = fingerprint(fit(X, **kept, init_params=partial(halves, shift=0)))
    assert fingerprint(fit(X, **kept, init_params=partial(halves, shift=0))) == expected
    with pytest.raises(CheckpointError, match=r"init_params is functools.partial .* there and"):
        fit(X, **kept, init_params=partial(halves, shift=1))


def test_settings_that_mean_the_same_are_the_same(path):
    start = {"weights_init": [0.2, 0.3, 0.5], "means_init": MEANS}
    kept = {**SETTINGS, **start, "checkpoint": path, "resume": True}
    expected = fingerprint(fit(X, **kept, fixed="weights"))
    assert fingerprint(fit(X, **kept, fixed=("weights",))) == expected
    path.unlink()
    fit(X, **kept, fixed=("weights", "means"))
    fit(X, **kept, fixed=["means", "weights"])
    with pytest.raises(CheckpointError, match=r"fixed is .* there and"):
        fit(X, **kept, fixed="weights")


def rewritten(path, change):
    header, arrays = archive.read(path, checkpoint.KIND)
    change(header)
    text = np.frombuffer(json.dumps(header).encode(), np.uint8)
    np.savez(path, header=text, **arrays)


def test_versions_and_processors(path):
    fit(X, **SETTINGS, checkpoint=path)
    resumed = {**SETTINGS, "checkpoint": path, "resume": True}
    rewritten(path, lambda header: header["identity"]["machine"].update(processor="Z80"))
    with pytest.warns(UserWarning, match=r"processor Z80, this is .*last digits"):
        fit(X, **resumed)
    for change, says in (
        ({"fastgmm": "0.0.1"}, "written by fastgmm 0.0.1"),
        ({"format_version": 99}, "format version 99"),
        ({"format": "fastgmm-model"}, "not a fastgmm checkpoint"),
    ):
        path.unlink()
        fit(X, **SETTINGS, checkpoint=path)
        rewritten(path, lambda header: header.update(change))  # noqa: B023
        with pytest.raises(CheckpointError, match=says):
            fit(X, **resumed)


def test_a_checkpoint_is_not_lost_in_silence_and_other_files_not_at_all(path):
    first = fit(X, **SETTINGS, checkpoint=path)
    with pytest.warns(
        UserWarning, match=f"{path} is the checkpoint of an earlier fit.*{path}.earlier; resume"
    ):
        fit(X, **SETTINGS | {"random_state": 1}, checkpoint=path)
    other, earlier = path.read_bytes(), path.with_name(f"{path.name}.earlier")
    resumed = fit(X, **SETTINGS, checkpoint=earlier, resume=True)
    assert fingerprint(resumed) == fingerprint(first)
    assert path.read_bytes() == other
    path.rename(path.with_name("elsewhere"))
    path.symlink_to("elsewhere")
    with pytest.warns(UserWarning, match="elsewhere.earlier; resume"):
        fit(X, **SETTINGS, checkpoint=path)
    assert path.is_symlink()
    assert path.with_name("elsewhere.earlier").read_bytes() == other
    path.unlink()
    path.write_bytes(b"")  # as mktemp makes them
    for resume in (True, False):
        assert fingerprint(fit(X, **SETTINGS, checkpoint=path, resume=resume)) == fingerprint(first)
        path.write_bytes(b"")
    first.save(path)
    model = path.read_bytes()
    for content in (model, b"dear diary"):
        path.write_bytes(content)
        with pytest.raises(
            CheckpointError, match=f"{path} would be replaced, and is no checkpoint"
        ):
            fit(X, **SETTINGS, checkpoint=path)
        assert path.read_bytes() == content


def test_damaged_files_are_refused_and_never_believed(path):
    resumed = {**SETTINGS, "checkpoint": path, "resume": True}
    assert fit_until(20, X, **SETTINGS, checkpoint=path)
    expected, good = fingerprint(fit(X, **SETTINGS)), path.read_bytes()
    rng = np.random.default_rng(0)
    for kept in rng.integers(0, len(good), size=15):
        path.write_bytes(good[:kept])
        with pytest.raises(CheckpointError, match=str(path)):
            fit(X, **resumed)
    refused = 0
    for at in rng.integers(0, len(good), size=40):
        path.write_bytes(good[:at] + bytes([good[at] ^ 0x55]) + good[at + 1 :])
        try:
            assert fingerprint(fit(X, **resumed)) == expected  # a byte that nobody reads
        except CheckpointError:
            refused += 1
    assert refused > 20


def test_resume_begins_where_there_is_no_file_and_needs_a_name(path):
    assert fingerprint(fit(X, **SETTINGS, checkpoint=path, resume=True)) == fingerprint(
        fit(X, **SETTINGS)
    )
    assert path.exists()
    with pytest.raises(InvalidParameterError, match="checkpoint=path"):
        fit(X, **SETTINGS, resume=True)
    with pytest.raises(FileNotFoundError, match="no folder"):
        fit(X, **SETTINGS, checkpoint=path / "deeper.npz")


def test_an_error_of_the_data_leaves_no_checkpoint_and_others_say_where_it_is(path):
    bad = X.copy()
    bad[600] = np.nan
    with pytest.raises(DataError, match="row 600"):
        fit(bad, **SETTINGS, checkpoint=path)
    assert not path.exists()
    model = GaussianMixture(**SETTINGS, checkpoint=path).set_callbacks(raising_at(9))
    with pytest.raises(KeyboardInterrupt) as caught:
        model.fit(X)
    assert f"{path}: fit again with resume=True" in caught.value.__notes__[0]
    assert path.exists()


def test_a_file_that_changes_between_passes_is_noticed(tmp_path, path):
    np.save(tmp_path / "rows.npy", X)

    def rewrite(event):
        if isinstance(event, PassBegan) and event.name == "iteration":
            np.save(tmp_path / "rows.npy", X + 1.0)

    model = GaussianMixture(**SETTINGS).set_callbacks(rewrite)
    with pytest.raises(DataError, match=r"rows\.npy has changed since it was opened"):
        model.fit(tmp_path / "rows.npy")


def test_a_file_that_is_away_for_a_while_costs_no_iteration(tmp_path, path):
    rows, away = tmp_path / "rows.npy", tmp_path / "away.npy"
    np.save(rows, X)
    expected, done = fingerprint(fit(rows, **SETTINGS)), []

    def move(event):
        if isinstance(event, IterationDone):
            done.append(event.iteration)
            if event.iteration == 2 and rows.exists():
                rows.rename(away)

    model = GaussianMixture(**SETTINGS, checkpoint=path, resume=True).set_callbacks(move)
    with pytest.raises(UnreadableError, match=r"rows\.npy cannot be read any more") as caught:
        model.fit(rows)
    assert f"{path}: fit again with resume=True" in caught.value.__notes__[0]
    away.rename(rows)
    with pytest.warns(UserWarning, match="did not converge"):
        assert fingerprint(model.fit(rows)) == expected
    assert done == [1, 2, 3, 4]


LONG = SETTINGS | {"max_iter": 60, "n_init": 2, "checkpoint_interval": 0, "resume": True}
"""A fit that does little else but write its checkpoint: 0.5 s."""


def fit_in_a_child(path):
    fit(X, **LONG, n_threads=1, checkpoint=path)


def fit_on_a_full_disk(path):
    """Fit in a process that may write no more than 1000 bytes to a file."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        model = fit(X, **LONG, n_threads=1, checkpoint=path)
    warned = [one for one in told if "cannot be written" in str(one.message)]
    same = fingerprint(model) == fingerprint(fit(X, **LONG | {"resume": False}))
    sys.exit(0 if same and len(warned) == 1 else 1)


def nurse():
    """Fork a child for every line, that has imported and loaded everything; tell how it ends."""
    fit(X, **SETTINGS, n_threads=1)
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            what, path = line.split(maxsplit=1)
            globals()[what](path.strip())
            os._exit(0)
        print(child, flush=True)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


@pytest.fixture(scope="module")
def nursery():
    folder = Path(__file__).parent
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(folder.parent), str(folder)])}
    process = subprocess.Popen(
        [sys.executable, "-c", "import test_checkpoint; test_checkpoint.nurse()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    )
    with process:
        yield process
        process.stdin.close()


def child_of(nursery, function, path):
    """Have a function called in a new process and return its number."""
    print(function.__name__, path, file=nursery.stdin, flush=True)
    return int(nursery.stdout.readline())


def exit_code_of_the_child(nursery):
    return int(nursery.stdout.readline())


def test_a_full_disk_is_one_warning_and_the_fit_goes_on(nursery, path):
    child_of(nursery, fit_on_a_full_disk, path)
    assert exit_code_of_the_child(nursery) == 0
    assert list(path.parent.iterdir()) == []


@pytest.mark.parametrize("n_kills", [3, pytest.param(40, marks=SLOW)])
def test_killed_at_random_points(n_kills, nursery, path):
    """Among them inside the writing of the file, which is complete or absent every time."""
    expected = fingerprint(fit(X, **LONG | {"resume": False}))
    delays, killed = random.Random(n_kills), 0
    for _ in range(n_kills):
        child = child_of(nursery, fit_in_a_child, path)
        time.sleep(delays.uniform(0.0, 0.1))
        with suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)
        killed += exit_code_of_the_child(nursery) == -signal.SIGKILL
        if path.exists():
            archive.read(path, checkpoint.KIND)
    assert killed > 0
    assert fingerprint(fit(X, **LONG, checkpoint=path)) == expected
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_large_checkpoints_are_written_less_often(path, monkeypatch):
    """Twenty times what writing takes goes by before the next one, whatever the interval."""
    now, written = [0.0], []
    monkeypatch.setattr(checkpoint.time, "monotonic", lambda: now[0])

    def slow(*_):
        written.append(now[0])
        now[0] += 3.0

    monkeypatch.setattr(archive, "write", slow)
    kept = checkpoint.Checkpoint(path, 10.0, {})
    for _ in range(200):
        kept.keep("stage", lambda: 1)
        now[0] += 1.0
    assert written == [10.0, 73.0, 136.0, 199.0]


def test_a_copy_of_the_files_is_the_same_data(tmp_path, path):
    np.save(tmp_path / "rows.npy", X)
    assert fit_until(20, str(tmp_path / "rows.npy"), **SETTINGS, checkpoint=path)
    (tmp_path / "elsewhere").mkdir()
    shutil.move(tmp_path / "rows.npy", tmp_path / "elsewhere" / "rows.npy")
    model = fit(str(tmp_path / "elsewhere"), **SETTINGS, checkpoint=path, resume=True)
    assert fingerprint(model) == fingerprint(fit(X, **SETTINGS))
