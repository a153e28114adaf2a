"""Batch jobs: stopped by a signal or by their time, gone on with by one and the same command."""

import os
import shlex
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hanging import LONG

from fastgmm import GaussianMixture, archive, checkpoint
from fastgmm.cli.stopping import TERMINATED, TIME_UP, Stopped, stoppable
from fastgmm.progress import RowsDone

INTERRUPTED = 130
ROWS = np.random.default_rng(0).normal(size=(60_000, 2))
KEPT = ["--checkpoint", "fit.ckpt", "--resume"]
FIT = ["fit", "rows.npy", "-k", "8", "--tol", "0", "-o", "out.npz"]

SLOW = [pytest.mark.faults, pytest.mark.slow]


@pytest.fixture
def folder(tmp_path):
    np.save(tmp_path / "rows.npy", ROWS)
    # what stops in the midst of an import here is half imported for the tests that follow
    GaussianMixture(1).fit(ROWS)
    return tmp_path


def started(folder, *arguments):
    return subprocess.Popen(
        [sys.executable, "-m", "fastgmm", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=folder,
        start_new_session=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )


def check_advice(errors, folder):
    """The last line names the checkpoint and the command that goes on."""
    assert "Traceback" not in errors
    (line,) = [line for line in errors.splitlines() if "to go on: " in line]
    assert line.startswith("fastgmm: checkpoint fit.ckpt; to go on: ")
    assert errors.endswith(line + "\n")
    words = shlex.split(line.partition("to go on: ")[2])
    assert words.count("--resume") == 1
    archive.read(folder / "fit.ckpt", checkpoint.KIND)
    return words[1:]


@pytest.mark.parametrize(
    ("sent", "code", "where"),
    [
        (signal.SIGTERM, TERMINATED, []),
        pytest.param(signal.SIGINT, INTERRUPTED, [], marks=SLOW),
        pytest.param(signal.SIGINT, INTERRUPTED, ["--workers", "2"], marks=SLOW),
        pytest.param(signal.SIGTERM, TERMINATED, ["--workers", "2"], marks=SLOW),
    ],
)
def test_signals(folder, run, monkeypatch, sent, code, where):
    flags = [*FIT, "--max-iter", "1000000", "--checkpoint", "fit.ckpt", *where]
    process = started(folder, *flags)
    process.stderr.readline()  # a line of progress: it is in the loop
    # Ctrl-C reaches all processes of a terminal, a scheduler's signal often the first alone
    (os.killpg if sent == signal.SIGINT else os.kill)(process.pid, sent)
    _, errors = process.communicate(timeout=LONG)
    assert process.returncode == code, errors
    if where:  # what a cluster logs of a lost connection may come after
        errors = errors[: errors.index("\n", errors.index("to go on")) + 1]
    assert sorted(path.name for path in folder.iterdir()) == ["fit.ckpt", "rows.npy"]
    words = [word for word in check_advice(errors, folder) if word not in where]
    monkeypatch.chdir(folder)
    result = run(*words, "--max-iter", "1000001", "--max-seconds", 0.2, exit_code=TIME_UP)
    assert "time is up after 0.2 s" in result.stderr


def test_a_fit_that_is_over_when_it_is_interrupted_is_kept(folder):
    flags = ["--max-iter", "3", "--checkpoint", "fit.ckpt", "--resume"]
    with started(folder, *FIT, *flags) as process:
        errors = process.stderr.readline()
        while "not converged after 3 iterations" not in errors:
            errors = process.stderr.readline()
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=LONG)
    assert process.returncode in (0, INTERRUPTED)
    if process.returncode == INTERRUPTED:  # its model is not written yet
        check_advice(errors, folder)


@pytest.mark.parametrize("later", [0.0, 0.5])
def test_an_interrupt_is_heard_while_workers_start(folder, later):
    """Ctrl-C reaches them, too, and none of them says anything."""
    process = started(folder, *FIT, "--max-iter", "1000000", "--workers", "2")
    children = Path(f"/proc/{process.pid}/task")
    while not any(file.read_text() for file in children.glob("*/children")):
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.01)
    time.sleep(later)
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=LONG)
    assert process.returncode == INTERRUPTED
    assert errors.split() == ["fastgmm:", "interrupted"]


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("moment", ["importing", "writing"])
def test_predictions_are_stopped_in_one_line_and_leave_nothing(folder, run, sent, moment):
    run("fit", folder / "rows.npy", "-k", 2, "-o", folder / "model.npz", "-q")
    process = started(
        folder, "predict", "--proba", *["rows.npy"] * 200, "-m", "model.npz", "-o", "out.npy"
    )
    wait_for = {
        "importing": lambda: "/llvmlite/" in Path(f"/proc/{process.pid}/maps").read_text(),
        "writing": lambda: any(path.name.startswith(".out") for path in folder.iterdir()),
    }[moment]
    while not wait_for():
        assert process.poll() is None, process.stderr.read()
    process.send_signal(sent)
    _, errors = process.communicate(timeout=LONG)
    reason = "terminated" if sent == signal.SIGTERM else "interrupted"
    assert errors.splitlines()[-1] == f"fastgmm: {reason}"
    assert process.returncode == {"terminated": TERMINATED, "interrupted": INTERRUPTED}[reason]
    assert sorted(path.name for path in folder.iterdir()) == ["model.npz", "rows.npy"]


# time may be up between the opening of a checkpoint and the "with" that closes it
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_job_that_is_queued_until_it_is_done(folder, run, monkeypatch):
    """The first slots are too short for anything; the model is that of a fit in one go."""
    monkeypatch.chdir(folder)
    limited = [*FIT, "--max-iter", "100", "-q"]
    run(*limited)
    whole = dict(np.load("out.npz"))
    os.remove("out.npz")
    codes, slot = [TIME_UP], 0.001
    while codes[-1] == TIME_UP:
        result = run(*limited, *KEPT, "--max-seconds", slot, exit_code=None)
        codes.append(result.exit_code)
        if result.exit_code == TIME_UP:
            assert result.stderr.startswith("fastgmm: time is up")
            if Path("fit.ckpt").exists():
                check_advice(result.stderr, folder)
            else:
                assert "\nfastgmm: nothing is kept yet; to begin again: " in result.stderr
        slot *= 3.0
    assert codes[1] == TIME_UP
    assert codes[-1] == 0
    for name in ("weights", "means", "covariances"):
        assert np.array_equal(np.load("out.npz")[name], whole[name])


def test_a_job_that_starts_from_another_model_is_refused(run, data, model_file, tmp_path):
    start = GaussianMixture.load(model_file)
    start.means_ = start.means_ + 1.0
    start.save(tmp_path / "other.npz")
    kept = ["--fixed", "means", "--checkpoint", tmp_path / "fit.ckpt", "--resume", "-q"]
    fit = ["fit", data, "-k", 2, "-o", tmp_path / "out.npz", *kept, "--start-from"]
    run(*fit, model_file)
    before = (tmp_path / "out.npz").read_bytes()
    result = run(*fit, tmp_path / "other.npz", exit_code=4)
    assert "other starting parameters: means_ is " in result.stderr
    run(*fit, model_file)
    assert (tmp_path / "out.npz").read_bytes() == before


@pytest.mark.faults
@pytest.mark.slow
def test_a_job_on_workers_of_its_own_is_queued_until_it_is_done(folder):
    """The first slot ends while the workers start; the model is that of threads."""
    fit = [*FIT, "--max-iter", "100", "-q"]
    started(folder, *fit).communicate(timeout=LONG)
    whole = dict(np.load(folder / "out.npz"))
    os.remove(folder / "out.npz")
    codes, slot = [TIME_UP], 0.5
    while codes[-1] == TIME_UP:
        flags = [*KEPT, "--workers", "2", "--max-seconds", str(slot)]
        process = started(folder, *fit, *flags)
        _, errors = process.communicate(timeout=LONG)
        assert "Traceback" not in errors
        codes.append(process.returncode)
        slot *= 4.0
    assert codes[1] == TIME_UP
    assert codes[-1] == 0, errors
    for name in ("weights", "means", "covariances"):
        assert np.array_equal(np.load(folder / "out.npz")[name], whole[name])


def test_usage(folder, run, monkeypatch):
    monkeypatch.chdir(folder)
    for flags, says in (
        (["--resume"], "need --checkpoint FILE"),
        (["--max-seconds", 3], "need --checkpoint FILE"),
        ([*KEPT, "--max-seconds", "inf"], "no time that ends"),
        ([*KEPT, "--max-seconds", "nan"], "no time that ends"),
        (["--checkpoint", "out.npz"], "choose two names"),
        (["--checkpoint", "nowhere/fit.ckpt"], "there is no folder"),
        (["--checkpoint", "rows.npy"], "one of the input files"),
    ):
        assert says in run(*FIT, *flags, exit_code=2).stderr
    run(*FIT, "--max-iter", 2, *KEPT, "--max-seconds", "1e30")
    line = run(*FIT, "--max-iter", 2, *KEPT, "--seed", 1, exit_code=4).stderr
    assert "random_state is 0 there and 1 here" in line
    assert "start anew without --resume" in line
    Path("fit.ckpt").write_text("no checkpoint")
    assert "fit.ckpt" in run(*FIT, *KEPT, exit_code=4).stderr


def test_a_stop_that_got_lost_comes_at_the_next_event():
    with stoppable(None) as stop:
        with suppress(Stopped):  # as a finaliser or a bare except would
            os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(Stopped, match="terminated"):
            stop(RowsDone(1))
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_a_lock_that_an_interrupt_has_broken_is_an_interrupt():
    def wait(error):
        try:
            raise KeyboardInterrupt
        finally:
            error.add_note("checkpoint kept")
            raise error

    with pytest.raises(KeyboardInterrupt) as stopped, stoppable(None):
        wait(RuntimeError("cannot release un-acquired lock"))
    assert stopped.value.__notes__ == ["checkpoint kept"]
    # what goes wrong while a fit is ended is worth knowing
    with pytest.raises(OSError, match="disk full"), stoppable(None):
        wait(OSError("disk full"))
    with pytest.raises(RuntimeError, match="of its own"), stoppable(None):
        raise RuntimeError("of its own")
