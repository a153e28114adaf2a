"""``fastgmm select``: the library's sweep, on files."""

import csv

import numpy as np
import pytest

from fastgmm import GaussianMixture, select
from fastgmm.cli.select import SHARED_WITH_FIT, Sizes
from fastgmm.cli.select import select as command
from fastgmm.cli.stopping import TIME_UP


def test_select_writes_the_model_that_the_library_chooses(run, data, rows, tmp_path):
    output, table = tmp_path / "best.npz", tmp_path / "scores.csv"
    result = run("select", data, "-k", "1:3", "-o", output, "--table", table, "--seed", 3)
    expected = select(rows, range(1, 4), random_state=3, tol="statistical", max_iter=1000)
    model = GaussianMixture.load(output)
    assert model.n_components == expected.best.n_components == 2
    np.testing.assert_array_equal(model.means_, expected.best.means_)
    with open(table, newline="") as file:
        lines = list(csv.DictReader(file))
    assert [line["best"] for line in lines].count("True") == 1
    for line, candidate in zip(lines, expected.table, strict=True):
        assert int(line["n_components"]) == candidate.n_components
        assert line["covariance_type"] == candidate.covariance_type
        assert float(line["bic"]) == candidate.bic
        assert line["cv"] == ""
    assert "200 rows x 2 columns" in result.stdout
    assert f"best by bic: 2 components, {model.covariance_type}" in result.stdout
    assert f"{expected.passes.em} of EM" in result.stdout
    marked = [line for line in result.stdout.splitlines() if line.startswith("best  ")]
    assert len(marked) == 1
    assert model.covariance_type in marked[0]


def test_fit_with_the_chosen_size_makes_the_same_model(run, data, tmp_path):
    chosen, again = tmp_path / "chosen.npz", tmp_path / "again.npz"
    run("select", data, "-k", "2,4", "--covariance-type", "diag", "-o", chosen, "--n-init", 2)
    k = GaussianMixture.load(chosen).n_components
    run("fit", data, "-k", k, "--covariance-type", "diag", "-o", again, "--n-init", 2)
    found, expected = GaussianMixture.load(chosen), GaussianMixture.load(again)
    np.testing.assert_array_equal(found.covariances_, expected.covariances_)
    assert {option.name for option in command.params} >= set(SHARED_WITH_FIT)


def test_cross_validation_degenerate_candidates_and_a_picture(run, data, tmp_path):
    output, picture = tmp_path / "best.npz", tmp_path / "criteria.png"
    options = ["--criterion", "cv", "--n-folds", 2, "--n-init", 1, "--max-iter", 20]
    # no component is wider than ten times this
    result = run(
        "select", data, "-k", "2:3", "-o", output, "--plot", picture, *options, "--reg-covar", 9
    )
    assert "held out per row" in result.stdout
    assert "! degenerate: a component of no more rows than columns" in result.stdout
    assert "warning: all candidates are degenerate" in result.stderr
    assert picture.read_bytes().startswith(b"\x89PNG")
    drawn = tmp_path / "cv.svg"
    run("select", data, "-k", "2:3", "-o", output, "--plot", drawn, *options)
    assert "<!-- held-out log likelihood per row (nats) -->" in drawn.read_text()
    quiet = run("select", data, "-k", 2, "-o", output, "--n-init", 1, "--quiet")
    assert quiet.stdout == ""


def test_a_candidate_that_fails_is_marked_and_the_others_are_chosen_from(run, tmp_path):
    rows = np.random.default_rng(0).normal(size=(60, 2))
    rows[:20] = 90.0  # a component of its own, without any spread
    np.save(tmp_path / "rows.npy", rows)
    table = tmp_path / "scores.csv"
    options = ["-k", "1:2", "--covariance-type", "diag", "--n-init", 1, "--reg-covar", 0]
    result = run(
        "select", tmp_path / "rows.npy", "-o", tmp_path / "m.npz", "--table", table, *options
    )
    assert "warning: 1 of 2 candidates failed: diag 2; diag 2 thus: Fitting" in result.stderr
    assert "x 2 diag failed: Fitting the mixture model failed" in result.stdout
    assert GaussianMixture.load(tmp_path / "m.npz").n_components == 1
    with open(table, newline="") as file:
        sound, failed = csv.DictReader(file)
    assert (sound["failure"], sound["best"]) == ("", "True")
    assert "ill-defined" in failed["failure"]


def test_clusters(run, data, two_workers, tmp_path):
    output = tmp_path / "best.npz"
    options = ["-k", "1:2", "--covariance-type", "full", "--n-init", 1]
    options += ["--scheduler", two_workers.scheduler.address]
    run("select", data, "-o", output, *options)
    assert GaussianMixture.load(output).n_components == 2


# time may be up between the opening of a checkpoint and the "with" that closes it
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_sweep_that_is_queued_until_it_is_done(run, data, tmp_path):
    """The first slots are too short for anything; model and table are those of one go."""
    model, table = tmp_path / "best.npz", tmp_path / "scores.csv"
    sweep = ["select", data, "-k", "2:3", "--covariance-type", "full", "--n-init", 1, "--quiet"]
    sweep += ["--tol", 0, "--max-iter", 400, "-o", model, "--table", table]

    def outcome():
        with open(table, newline="") as file:
            lines = [{**line, "seconds": 0} for line in csv.DictReader(file)]
        return {name: array.tobytes() for name, array in np.load(model).items()}, lines

    run(*sweep)
    whole = outcome()
    model.unlink()
    kept = ["--checkpoint", tmp_path / "sweep.ckpt", "--checkpoint-interval", 0, "--resume"]
    codes, slot = [TIME_UP], 0.001
    while codes[-1] == TIME_UP:
        result = run(*sweep, *kept, "--max-seconds", slot, exit_code=None)
        codes.append(result.exit_code)
        slot *= 3.0
    assert codes[1] == TIME_UP
    assert codes[-1] == 0
    assert outcome() == whole
    refused = run(*sweep, *kept, "-k", "2,4", exit_code=4).stderr
    assert "n_components is 2, 3 there and 2, 4 here" in refused
    assert "start anew without --resume" in refused


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (["--resume"], "need --checkpoint FILE"),
        (["--max-seconds", 3], "need --checkpoint FILE"),
        (["--checkpoint", "scores.csv", "--table", "scores.csv"], "choose two names"),
    ],
)
def test_options_that_do_not_go_together(run, data, tmp_path, monkeypatch, flags, says):
    monkeypatch.chdir(tmp_path)
    assert says in run("select", data, "-o", "best.npz", *flags, exit_code=2).stderr


@pytest.mark.parametrize(
    ("text", "sizes"), [("1:4", [1, 2, 3, 4]), ("2,8,2", [2, 8]), ("1:9:4,3", [1, 5, 9, 3])]
)
def test_sizes(text, sizes):
    assert Sizes().convert(text, None, None) == sizes


@pytest.mark.parametrize("text", ["", "a", "0", "3:1", "1:2:0", "1:2:3:4", "2,", "-1"])
def test_sizes_that_are_none(run, data, tmp_path, text):
    result = run("select", data, "-k", text, "-o", tmp_path / "m.npz", exit_code=2)
    assert "range" in result.stderr or "number" in result.stderr
