"""What the subcommands do: the same as the library, on files."""

import csv
import io
import json
import re

import numpy as np
import pytest
import zarr
from reference import as_matrices

from fastgmm import GaussianMixture, open_dataset
from fastgmm.cli.options import Bytes
from fastgmm.covariance import FAMILIES


def test_fit_writes_the_model_that_the_library_makes(run, data, rows, tmp_path):
    output = tmp_path / "out.npz"
    result = run("fit", data, "-k", 2, "-o", output, "--covariance-type", "diag", "--seed", 3)
    expected = GaussianMixture(
        2, covariance_type="diag", random_state=3, tol="statistical", max_iter=1000
    ).fit(rows)
    model = GaussianMixture.load(output)
    np.testing.assert_array_equal(model.means_, expected.means_)
    np.testing.assert_array_equal(model.covariances_, expected.covariances_)
    assert "200 rows x 2 columns from 1 file" in result.stdout
    assert "converged after" in result.stdout
    assert "peak memory" in result.stdout


def test_every_setting_of_fit_reaches_the_estimator(run, data, tmp_path):
    settings = {
        "n_components": 3,
        "covariance_type": "tied",
        "init_params": "random",
        "n_init": 2,
        "tol": 0.25,
        "max_iter": 7,
        "reg_covar": 0.5,
        "chunk_size": 64,
        "memory_limit": 2**30,
    }
    flags = [f"--{name.replace('_', '-')}={value}" for name, value in settings.items()]
    output = tmp_path / "out.npz"
    run("fit", data, "-o", output, *flags, "--seed", 5, "--threads", 1, "--no-persist")
    found = GaussianMixture.load(output).get_params()
    wanted = {**settings, "random_state": 5, "n_threads": 1, "persist": False}
    assert {name: found[name] for name in wanted} == wanted


@pytest.mark.parametrize(
    ("size", "n_bytes"), [("2GB", 2 * 10**9), ("1.5 MiB", 3 * 2**19), ("1e9", 10**9), ("7", 7)]
)
def test_sizes_are_read_as_people_write_them(size, n_bytes):
    assert Bytes().convert(size, None, None) == n_bytes


def test_a_fit_goes_on_from_a_model_and_keeps_what_is_fixed(run, data, rows, model_file, tmp_path):
    output = tmp_path / "out.npz"
    options = [
        "--start-from",
        model_file,
        "--fixed",
        "means,weights",
        "--tol",
        0.0,
        "--max-iter",
        3,
    ]
    np.save(data, rows * [1.0, 1.5])
    run("fit", data, "-k", 2, "-o", output, "-q", *options)
    start, model = GaussianMixture.load(model_file), GaussianMixture.load(output)
    np.testing.assert_array_equal(model.means_, start.means_)
    np.testing.assert_array_equal(model.weights_, start.weights_)
    assert (model.covariances_[:, 1, 1] > 1.2 * start.covariances_[:, 1, 1]).all()
    assert (model.fixed, model.warm_start, model.n_iter_) == (("means", "weights"), False, 3)


@pytest.mark.parametrize("started", [False, True])
@pytest.mark.parametrize("before", ["raise", "drop"])
def test_missing_values_are_treated_as_the_option_says(run, rows, tmp_path, before, started):
    GaussianMixture(2, random_state=0, missing=before).fit(rows).save(tmp_path / "start.npz")
    rows = rows.copy()
    rows[7, 1] = np.nan
    np.save(tmp_path / "holes.npy", rows)
    output = tmp_path / "out.npz"
    fit = ["fit", tmp_path / "holes.npy", "-k", 2, "-o", output]
    fit += ["--start-from", tmp_path / "start.npz"] * started
    assert "row 7, column 1" in run(*fit, exit_code=4).stderr
    assert "dropped 1 of 200 rows" in run(*fit, "--missing", "drop").stdout
    assert GaussianMixture.load(output).missing == "drop"


def test_fit_chooses_columns_weights_and_complete_rows(run, table, tmp_path):
    output = tmp_path / "out.npz"
    options = ["--columns", "b,a", "--weight", "w", "--missing", "drop"]
    result = run("fit", table, "-k", 2, "-o", output, *options)
    model = GaussianMixture.load(output)
    expected = GaussianMixture(2, random_state=0, tol="statistical", max_iter=1000).fit(
        open_dataset(table, columns=["b", "a"], weight="w")
    )
    np.testing.assert_array_equal(model.means_, expected.means_)
    assert list(model.feature_names_in_) == ["b", "a"]
    assert "none of 200 rows has missing values" in result.stdout


def test_quiet_says_nothing(run, data, tmp_path):
    result = run("fit", data, "-k", 2, "-o", tmp_path / "out.npz", "--quiet")
    assert result.output == ""


def test_a_fit_that_does_not_converge_warns_and_is_kept(run, data, tmp_path):
    output = tmp_path / "out.npz"
    options = ["--max-iter", 1, "--init-params", "random", "-q"]
    result = run("fit", data, "-k", 2, "-o", output, *options)
    assert result.stderr.startswith("fastgmm: warning: ")
    assert result.stderr.count("\n") == 1
    assert not GaussianMixture.load(output).converged_


@pytest.mark.parametrize("ending", [".npy", ".parquet", ".zarr"])
def test_predictions_are_those_of_the_library(run, data, rows, model_file, tmp_path, ending):
    model = GaussianMixture.load(model_file)
    for name, flags, expected in (
        ("labels", [], model.predict(rows)),
        ("responsibilities", ["--proba"], model.predict_proba(rows)),
    ):
        output = tmp_path / f"{name}{ending}"
        run("predict", data, "-m", model_file, "-o", output, *flags)
        np.testing.assert_array_equal(read(output), expected)


def read(path):
    if path.suffix == ".npy":
        return np.load(path)
    if path.suffix == ".zarr":
        return np.asarray(zarr.open_array(path, mode="r")[:])
    from pyarrow import parquet

    columns = [column.to_numpy() for column in parquet.read_table(path).columns]
    return columns[0] if len(columns) == 1 else np.column_stack(columns)


def test_rows_with_missing_values_keep_their_places(run, rows, model_file, tmp_path):
    rows = rows.copy()
    rows[7, 1] = np.nan
    np.save(tmp_path / "holes.npy", rows)
    model = GaussianMixture.load(model_file)
    for name, arguments, expected, mark in (
        ("labels", ["predict"], model.predict, -1),
        ("responsibilities", ["predict", "--proba"], model.predict_proba, np.nan),
        ("densities", ["score", "--per-row"], model.score_samples, np.nan),
    ):
        output = tmp_path / f"{name}.npy"
        options = ("-m", model_file, "-o", output, "--missing", "drop")
        run(*arguments, tmp_path / "holes.npy", *options)
        marked = np.load(output)
        np.testing.assert_array_equal(marked[7], np.full_like(marked[7], mark))
        complete = np.delete(rows, 7, axis=0)
        np.testing.assert_array_equal(np.delete(marked, 7, axis=0), expected(complete))
    mean = run("score", tmp_path / "holes.npy", "-m", model_file, "--missing", "drop").stdout
    assert float(mean) == model.score(complete)


def test_outputs_are_replaced_if_files_and_refused_if_folders(run, data, model_file, tmp_path):
    for command in (["predict", data], ["sample", "-n", 5], ["score", data, "--per-row"]):
        for ending in (".npy", ".parquet", ".zarr"):
            output = tmp_path / f"{command[0]}{ending}"
            run(*command, "-m", model_file, "-o", output)
            before = sorted(path.stat().st_ino for path in tmp_path.rglob("*"))
            result = run(*command, "-m", model_file, "-o", output, exit_code=2 * output.is_dir())
            if output.is_dir():
                assert f"{output} is a folder already: choose another name" in result.stderr
                assert sorted(path.stat().st_ino for path in tmp_path.rglob("*")) == before


def test_a_model_finds_its_columns_again(run, table, tmp_path):
    model, labels = tmp_path / "out.npz", tmp_path / "labels.npy"
    run("fit", table, "-k", 2, "-o", model, "--columns", "b,a")
    run("predict", table, "-m", model, "-o", labels)  # the text column is not asked for
    expected = GaussianMixture.load(model).predict(open_dataset(table, columns=["b", "a"]))
    np.testing.assert_array_equal(np.load(labels), expected)


def test_score_prints_the_mean_or_writes_every_row(run, data, rows, model_file, tmp_path):
    model = GaussianMixture.load(model_file)
    assert float(run("score", data, "-m", model_file).stdout) == model.score(rows)
    output = tmp_path / "densities.npy"
    run("score", data, "-m", model_file, "--per-row", "-o", output)
    np.testing.assert_array_equal(np.load(output), model.score_samples(rows))


def test_score_weighs_rows(run, table, model_file):
    model = GaussianMixture.load(model_file)
    expected = model.score(open_dataset(table, columns=["a", "b"], weight="w"))
    options = ["--columns", "a,b", "--weight", "w"]
    assert float(run("score", table, "-m", model_file, *options).stdout) == expected


@pytest.mark.parametrize("ending", [".npy", ".parquet", ".zarr"])
def test_samples_are_those_of_the_library(run, model_file, tmp_path, ending):
    output = tmp_path / f"drawn{ending}"
    run("sample", "-m", model_file, "-n", 30, "-o", output, "--seed", 9)
    model = GaussianMixture.load(model_file).set_params(random_state=9)
    np.testing.assert_array_equal(read(output), model.sample(30)[0])


@pytest.mark.parametrize("covariance_type", FAMILIES)
def test_info_prints_what_is_in_the_file(run, rows, tmp_path, covariance_type):
    file = tmp_path / "model.npz"
    model = GaussianMixture(2, covariance_type=covariance_type, random_state=0).fit(rows)
    model.save(file)

    table = run("info", file).stdout
    assert f"2 components, 2 features, {covariance_type} covariances" in table
    assert f"{model.means_[1, 0]:.6g}" in table

    contents = json.loads(run("info", file, "--json").stdout)
    np.testing.assert_array_equal(contents["covariances"], model.covariances_)
    assert contents["n_iter"] == model.n_iter_

    lines = list(csv.DictReader(io.StringIO(run("info", file, "--csv").stdout)))
    np.testing.assert_array_equal([float(line["mean x1"]) for line in lines], model.means_[:, 1])
    variance = float(lines[0]["cov x0 x0"])
    expected = as_matrices(model.covariances_, covariance_type, 2, 2)[0, 0, 0]
    assert variance == pytest.approx(expected, rel=1e-12)


def test_info_of_many_columns_fits_the_terminal(run, tmp_path):
    file = tmp_path / "model.npz"
    rows = np.random.default_rng(0).normal(size=(100, 9))
    GaussianMixture(1, random_state=0).fit(rows).save(file)
    assert "(and 3 more columns: fastgmm info --json or --csv)" in run("info", file).stdout


def test_the_demonstration_finds_the_truth(run_process, tmp_path):
    result = run_process("demo", "--folder", tmp_path / "new", "--rows", 20_000)
    assert result.returncode == 0, result.stderr
    farthest = re.findall(r"the farthest of (\d+) is ([0-9.]+) from the truth", result.stdout)
    assert [count for count, _ in farthest] == ["6", "45"]
    # of so few rows one in 51 parameters may well be beyond 3 standard errors
    assert all(float(distance) < 4 for _, distance in farthest)
    assert (tmp_path / "new" / "two-normals.png").stat().st_size > 1000


def test_collapsed_components_are_told_of(run, rows, tmp_path):
    """Rows a hundred times: as many components as distinct rows have no spread of their own."""
    np.save(tmp_path / "rows.npy", np.repeat(rows[:3], 100, axis=0))
    fit = ("fit", tmp_path / "rows.npy", "-k", 3, "-o", tmp_path / "out.npz")
    says = "3 components collapsed: 0, 1, 2 (see fastgmm fit --on-collapse; if --reg-covar is wide"
    assert says in run(*fit).stdout
    assert says in run("info", tmp_path / "out.npz").stdout
    assert json.loads(run("info", tmp_path / "out.npz", "--json").stdout)["collapsed"] == [0, 1, 2]
    complaint = run(*fit, "--on-collapse", "raise", exit_code=4).stderr
    assert complaint.startswith(
        "fastgmm: error: Component 0 collapsed in iteration 1: it holds 100 "
    )
    assert "--on-collapse reseed" in complaint
    rough = run(*fit, "--regularization", "relative", "--reg-covar", 0.5)
    assert "3 components collapsed" in rough.stdout
    assert np.all(GaussianMixture.load(tmp_path / "out.npz").covariances_.max(axis=(1, 2)) > 1.0)
