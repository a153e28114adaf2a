"""One line a pass, in the log, in a file and on the cluster."""

import io
import json
import logging
import warnings

import numpy as np
import pytest
from problems import fit

from fastgmm import GaussianMixture
from fastgmm.pass_log import PassLog
from fastgmm.sources import open_dataset


@pytest.fixture
def rows():
    return np.random.default_rng(3).normal(size=(500, 3)) * [1.0, 2.0, 3.0]


def test_every_pass_has_a_line_that_follows_from_the_models(rows, caplog):
    lines = io.StringIO()
    caplog.set_level(logging.INFO, "fastgmm")
    model = GaussianMixture(2, n_init=2, random_state=0, n_threads=1)
    model.set_callbacks(PassLog(lines)).fit(rows)
    records = [json.loads(line) for line in lines.getvalue().splitlines()]
    assert [record["pass"] for record in records] == list(range(1, len(records) + 1))
    assert records[0]["models"] == 2
    assert records[0]["gain"] is None
    assert all(record["retries"] == record["workers"] == 0 for record in records)
    best = max(record["log_likelihood"] for record in records)
    assert best == model.lower_bound_
    last = max(records, key=lambda record: record["pass"])
    for name in ("kernel_seconds", "read_seconds", "reduce_seconds", "bytes_per_second"):
        assert last[name] > 0
    assert last["bytes_per_second"] == pytest.approx(24 * last["rows_per_second"])
    # once by the callback, once because the logger listens
    assert len(caplog.messages) == 2 * len(records)
    assert caplog.messages[0].startswith("pass=1 models=2 log_likelihood=")


class Full(io.StringIO):
    """A file on a disk that has room for so many lines, and again after some more."""

    name = "passes.jsonl"

    def __init__(self, full):
        super().__init__()
        self.full, self.lines = full, 0

    def flush(self):
        self.lines += 1
        if self.lines in self.full:
            raise OSError(28, "No space left on device")


def test_a_log_that_cannot_be_written_is_one_warning_and_the_fit_goes_on(rows):
    settings = {"n_components": 2, "tol": 0.0, "max_iter": 8, "random_state": 0, "n_threads": 1}
    lines = Full(full=(2, 3, 5))
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        model = GaussianMixture(**settings).set_callbacks(PassLog(lines)).fit(rows)
    assert lines.lines == 8
    np.testing.assert_array_equal(model.means_, fit(rows, **settings).means_)
    told = [str(one.message) for one in told if "converge" not in str(one.message)]
    assert len(told) == 1
    assert told[0].startswith("The log passes.jsonl cannot be written (No space left on device): ")


@pytest.mark.parametrize("covariance_type", ["full", "tied", "diag", "spherical"])
def test_smallest_eigenvalue_and_weight(rows, covariance_type):
    lines = io.StringIO()
    model = GaussianMixture(1, covariance_type=covariance_type, max_iter=2, n_threads=1)
    model.set_callbacks(PassLog(lines)).fit(rows)
    record = json.loads(lines.getvalue().splitlines()[-1])
    assert record["smallest_weight"] == pytest.approx(1.0)
    covariance = np.cov(rows.T, bias=True)
    expected = {
        "full": np.linalg.eigvalsh(covariance).min(),
        "tied": np.linalg.eigvalsh(covariance).min(),
        "diag": np.diag(covariance).min(),
        "spherical": np.diag(covariance).mean(),
    }
    assert record["smallest_eigenvalue"] == pytest.approx(expected[covariance_type], rel=1e-5)


def test_nobody_listens(rows, caplog):
    caplog.set_level(logging.WARNING, "fastgmm")
    fit(rows, n_components=2, max_iter=2, n_threads=1, random_state=0)
    assert caplog.messages == []


def test_a_cluster_keeps_notes(rows, tmp_path, two_workers):
    np.save(tmp_path / "rows.npy", rows)
    lines = io.StringIO()
    before = len(two_workers.get_events("fastgmm"))
    model = GaussianMixture(2, random_state=0).set_client(two_workers)
    model.set_callbacks(PassLog(lines)).fit(open_dataset(tmp_path / "rows.npy"))
    record = json.loads(lines.getvalue().splitlines()[-1])
    assert record["workers"] in (1, 2)
    notes = [note for _, note in two_workers.get_events("fastgmm")[before:]]
    assert len(notes) >= model.n_iter_
    assert all(note["rows"] == 500 and note["compute"] > 0 for note in notes)
