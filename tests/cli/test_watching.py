"""What a command leaves for those who watch it: a line of JSON a pass, Dask's report."""

import json
import os
import resource
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from fastgmm import GaussianMixture, select

NAMES = {
    "pass",
    "models",
    "log_likelihood",
    "gain",
    "seconds",
    "rows_per_second",
    "bytes_per_second",
    "read_seconds",
    "kernel_seconds",
    "reduce_seconds",
    "smallest_weight",
    "smallest_eigenvalue",
    "at_floor",
    "retries",
    "workers",
}


ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}


def with_short_files(n_bytes, folder, *words):
    """A command in a folder, none of whose files may be longer than so many bytes."""
    return subprocess.run(
        [sys.executable, "-m", "fastgmm", *map(str, words)],
        env=ENVIRONMENT,
        cwd=folder,
        capture_output=True,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, n_bytes)),
    )


def records_in(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.mark.parametrize("quiet", [[], ["--quiet"]])
def test_a_fit_writes_a_line_of_json_a_pass(run, data, tmp_path, quiet):
    log, output = tmp_path / "log.jsonl", tmp_path / "m.npz"
    run("fit", data, "-k", 2, "--n-init", 2, "-o", output, "--log-json", log, *quiet)
    records = records_in(log)
    assert all(record.keys() == NAMES for record in records)
    assert [record["pass"] for record in records] == [*range(1, len(records) + 1)]
    assert [record["models"] for record in records[:2]] == [2, 2]
    assert len(records) >= GaussianMixture.load(output).n_iter_


def test_a_sweep_writes_a_line_of_json_a_pass(run, data, rows, tmp_path):
    log = tmp_path / "log.jsonl"
    options = ["-k", "1:2", "--covariance-type", "full", "--n-init", 1, "--max-iter", 5]
    run("select", data, "-o", tmp_path / "m.npz", "--log-json", log, *options)
    records = records_in(log)
    expected = select(rows, (1, 2), "full", n_init=1, max_iter=5, tol="statistical", random_state=0)
    assert len(records) == expected.passes.em
    assert [record["models"] for record in records[:2]] == [2, 2]
    assert all(record.keys() == NAMES for record in records)


def test_a_log_that_cannot_be_written_is_told_before_the_fit(run, data, tmp_path):
    log = tmp_path / "nowhere" / "log.jsonl"
    result = run("fit", data, "-k", 2, "-o", tmp_path / "m.npz", "--log-json", log, exit_code=2)
    assert "there is no folder" in result.stderr
    assert not (tmp_path / "m.npz").exists()


@pytest.mark.parametrize("kept", [b"a day of passes", b""])
def test_a_log_is_begun_when_nothing_else_is_wrong(run, data, model_file, tmp_path, kept):
    log = tmp_path / "log.jsonl"
    log.write_bytes(kept)
    fit = ("fit", data, "-o", tmp_path / "m.npz", "--log-json", log)
    run(*fit, "-k", 2, "--columns", "0,7", exit_code=4)
    run(*fit, "-k", 3, "--start-from", model_file, exit_code=2)
    run(*fit, "-k", 2, "--resume", exit_code=2)
    assert log.read_bytes() == kept


@pytest.mark.parametrize("command", ["fit", "select"])
def test_the_log_of_a_job_that_is_queued_again_goes_on(run, data, tmp_path, command):
    log, kept = tmp_path / "log.jsonl", tmp_path / "fit.ckpt"
    job = (command, data, "-k", 2, "-o", tmp_path / "m.npz", "--log-json", log, "--tol", 0)
    run(*job, "--max-iter", 2, "--checkpoint", kept)
    first = log.read_text()
    run(*job, "--max-iter", 5, "--checkpoint", kept, "--resume")
    assert first
    assert log.read_text().startswith(first)
    assert len(log.read_text()) > len(first)
    run(*job, "--max-iter", 2)
    assert len(log.read_text().splitlines()) == len(first.splitlines())


def test_a_log_is_also_a_pipe_or_standard_output(run, data, tmp_path):
    fit = ("fit", data, "-k", 2, "-o", tmp_path / "m.npz", "--max-iter", 3, "--tol", 0, "-q")
    lines = run(*fit, "--log-json", "-").stdout.splitlines()
    assert [json.loads(line)["pass"] for line in lines] == [1, 2, 3]
    reading, writing = os.pipe()
    with open(reading) as pipe, open(writing, "w"):
        run(*fit, "--log-json", f"/dev/fd/{writing}")
        assert json.loads(pipe.readline())["pass"] == 1


def test_a_log_on_a_full_disk_is_one_warning(data, tmp_path):
    # which the model is not and the log would be
    words = ["fit", data, "-k", 2, "-o", "m.npz", "--tol", 0, "--max-iter", 60, "-q"]
    done = with_short_files(2**13, tmp_path, *words, "--log-json", "log.jsonl")
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("The log log.jsonl cannot be written (File too large)") == 1
    assert GaussianMixture.load(tmp_path / "m.npz").n_iter_ == 60
    assert (tmp_path / "log.jsonl").stat().st_size == 2**13


def full():
    return open("/dev/full", "w")


def unread():
    """A pipe whose reader has gone."""
    reading, writing = os.pipe()
    os.close(reading)
    return open(writing, "w")


DEAF = {
    "full": {"stderr": full},
    "unread": {"stderr": unread, "stdout": unread},
    "summary": {"stdout": full},
    "closed": {},
}


@pytest.mark.parametrize("how", DEAF)
@pytest.mark.parametrize("command", ["fit", "select", "predict"])
def test_a_command_that_nobody_listens_to_does_its_work(data, model_file, tmp_path, command, how):
    output = tmp_path / ("out.npy" if command == "predict" else "out.npz")
    what = ["-m", model_file] if command == "predict" else ["-k", "2", "--max-iter", "1"]
    words = [sys.executable, "-m", "fastgmm", command, data, "-o", output, *what]
    if how == "closed":
        words = ["sh", "-c", '"$@" 2>&-', "sh", *words]
    with ExitStack() as stack:
        streams = {name: stack.enter_context(opened()) for name, opened in DEAF[how].items()}
        streams = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL} | streams
        # a line of progress whenever there is something to say, and a warning
        code = subprocess.run(list(map(str, words)), env=ENVIRONMENT, **streams).returncode
    assert code == 0
    assert output.stat().st_size > 0


def test_errors_keep_their_code_where_nobody_hears_them(tmp_path):
    for stream in (full, unread):
        with stream() as deaf:
            words = [sys.executable, "-m", "fastgmm", "info", "nowhere.npz"]
            done = subprocess.run(words, env=ENVIRONMENT, cwd=tmp_path, stdout=deaf, stderr=deaf)
        assert done.returncode == 4


@pytest.mark.parametrize("command", ["fit", "select"])
def test_a_report_that_cannot_be_written_costs_no_model(data, tmp_path, two_workers, command):
    pytest.importorskip("bokeh")
    words = [command, data, "-k", 2, "-o", "m.npz", "--max-iter", 2, "-q"]
    where = ["--scheduler", two_workers.scheduler.address, "--performance-report", "r.html"]
    # which the model is not and the report would be
    done = with_short_files(2**14, tmp_path, *words, *where)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("r.html is not written: File too large") == 1
    assert GaussianMixture.load(tmp_path / "m.npz").n_iter_ == 2
    assert sorted(file.name for file in tmp_path.glob("*.html*")) == []


@pytest.mark.parametrize("command", ["fit", "select"])
def test_dasks_report_is_of_the_fit(run, data, tmp_path, two_workers, command):
    pytest.importorskip("bokeh")
    report = tmp_path / "report.html"
    where = ["--scheduler", two_workers.scheduler.address, "--performance-report", report]
    run(command, data, "-k", 2, "-o", tmp_path / "m.npz", "--max-iter", 2, *where)
    assert "fastgmm-reduce" in report.read_text()


@pytest.mark.parametrize("command", ["fit", "select"])
@pytest.mark.parametrize("wanted", [["--performance-report", "report.html"], ["--persist"]])
def test_what_needs_a_cluster(run, data, tmp_path, command, wanted, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = run(command, data, "-k", 2, "-o", "m.npz", *wanted, exit_code=2)
    assert f"{wanted[0]} is Dask's: name --workers" in result.stderr
