"""What a command leaves for those who watch it: a line of JSON a pass, Dask's report."""

import json

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
    assert "No such file" in result.stderr
    assert not (tmp_path / "m.npz").exists()


@pytest.mark.parametrize("command", ["fit", "select"])
def test_dasks_report_is_of_the_fit(run, data, tmp_path, two_workers, command):
    pytest.importorskip("bokeh")
    report = tmp_path / "report.html"
    where = ["--scheduler", two_workers.scheduler.address, "--performance-report", report]
    run(command, data, "-k", 2, "-o", tmp_path / "m.npz", "--max-iter", 2, *where)
    assert "fastgmm-reduce" in report.read_text()


@pytest.mark.parametrize("command", ["fit", "select"])
def test_a_report_needs_a_cluster(run, data, tmp_path, command):
    wanted = ["--performance-report", tmp_path / "report.html"]
    result = run(command, data, "-k", 2, "-o", tmp_path / "m.npz", *wanted, exit_code=2)
    assert "--performance-report is Dask's: name --workers" in result.stderr
