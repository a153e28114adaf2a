"""What users see when something is wrong: one line, an exit code, and no half-written output."""

import os
import re
import signal
import subprocess
import sys
import time
import tomllib
from itertools import combinations
from pathlib import Path

import click
import numpy as np
import pytest
from hanging import LONG

from fastgmm.cli import main
from fastgmm.cli.messages import explain
from fastgmm.cli.options import Log, Output

USAGE, UNUSABLE, INTERRUPTED = 2, 4, 130


def the_line(result):
    """Return the only line on standard error."""
    assert result.stderr.startswith("fastgmm: error: ")
    assert result.stderr.count("\n") == 1
    return result.stderr


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["fit", "DATA", "-o", "out.npz"], "--n-components"),
        (["fit", "-k", "2", "-o", "out.npz"], "DATA"),
        (["fit", "DATA", "-k", "0", "-o", "out.npz"], "0 is not in the range"),
        (["fit", "DATA", "-k", "2", "-o", "out.txt"], "must end in .npz"),
        (["fit", "DATA", "-k", "2", "-o", "nowhere/out.npz"], "nowhere, make it first"),
        (["fit", "DATA", "-k", "2", "-o", "out.npz", "--tol", "soon"], "'statistical'"),
        (["fit", "DATA", "-k", "2", "-o", "out.npz", "--tol", "-1"], "zero or more"),
        (["fit", "DATA", "-k", "2", "-o", "out.npz", "--reg-covar", "nan"], "no finite number"),
        (["fit", "DATA", "-k", "2", "-o", "out.npz", "--reg-covar", "inf"], "no finite number"),
        (["fit", "DATA", "-k", "2", "-o", "out.npz", "--memory-limit", "much"], "such as 2GB"),
        (["fit", "DATA", "-k", "2", "-o", "out.npz", "--memory-limit", "1e999"], "such as 2GB"),
        (["fit", "DATA", "-k", "2", "-o", "out.npz", "--memory-limit", "0"], "'0' is not a byte"),
        (["info", "MODEL", "--json", "--csv"], "exclude each other"),
        (["fit", "DATA", "-k", "2", "-o", "out.npz", "--columns", "a,,b"], "empty column name"),
        (["fit", "DATA", "-k", "2", "-o", "out.npz", "--covariance-type", "round"], "spherical"),
        (["fit", "DATA", "-k", "2", "-o", "out.npz", "--threads", "1", "--workers", "2"], "choose"),
        (["fit", "DATA", "-k", "2", "-o", "out.npz", "--fixed", "means"], "with --start-from"),
        (["select", "DATA", "-o", "out.npz", "--n-folds", "3"], "add --criterion cv"),
        (["fit", "DATA", "-k", "2", "-o", "out.npz", "--fixed", "mean"], "weights, means, cov"),
        (["fit", "DATA", "-k", "3", "-o", "out.npz", "--start-from", "MODEL"], "give -k 2"),
        (
            ["fit", "DATA", "-k", "2", "-o", "out.npz", "--start-from", "MODEL",
             "--covariance-type", "tied_diag"], "give --covariance-type full",
        ),
        (["fit", "DATA", "-k", "2", "-o", "out.npz", "--start-from", "MODEL", "--n-init", "1"],
         "--n-init has no say"),
        (["fit", "DATA", "-k", "2", "-o", "out.npz", "--start-from", "MODEL",
          "--init-params", "random"], "--init-params has no say"),
        (["score", "DATA", "-m", "MODEL", "--per-row"], "go together"),
        (["score", "DATA", "-m", "MODEL", "-o", "out.npy"], "go together"),
        (["predict", "DATA", "-m", "MODEL", "-o", "DATA"], "one of the input files"),
        (["fly"], "No such command"),
    ],
)  # fmt: skip
def test_wrong_usage(run, data, model_file, tmp_path, monkeypatch, arguments, says):
    monkeypatch.chdir(tmp_path)
    before = contents(tmp_path)
    names = {"DATA": data, "MODEL": model_file}
    result = run(*(names.get(word, word) for word in arguments), exit_code=USAGE)
    assert says in the_line(result)
    assert contents(tmp_path) == before


@pytest.mark.parametrize("command", ["predict", "score"])
@pytest.mark.parametrize("place", ["rows", "rows/*.npy", "rows/a*", "../x/rows/"])
@pytest.mark.parametrize("output", ["rows/a2.npy", "rows/deep/../a2.npy"])
def test_what_would_be_read_as_rows_next_time_is_not_written(
    run, data, model_file, tmp_path, monkeypatch, command, place, output
):
    (tmp_path / "x/rows/deep").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "x")
    np.save("rows/a1.npy", np.load(data))
    flags = ["--per-row"] if command == "score" else []
    line = the_line(run(command, place, "-m", model_file, *flags, "-o", output, exit_code=USAGE))
    assert f"{output} would be among the rows of {place} from now on: write it elsewhere" in line
    assert os.listdir("rows/deep") == []
    # nobody looks for these
    for other in ("a2.npy", "rows/_a2.npy"):
        run(command, place, "-m", model_file, *flags, "-o", other)


def contents(folder):
    return {path: path.read_bytes() for path in Path(folder).rglob("*") if path.is_file()}


def broken_rows(folder, kind):
    """Write data that cannot be used; return the path and what the message has to say."""
    rows = np.random.default_rng(0).normal(size=(100, 2))
    path = folder / "bad.npy"
    if kind == "NaN":
        rows[17, 1] = np.nan
        np.save(path, rows)
        return path, ["17", "column 1"]
    if kind == "infinity":
        rows[18, 0] = np.inf
        np.save(path, rows)
        return path, ["18", "column 0"]
    if kind == "truncated":
        np.save(path, rows)
        os.truncate(path, 1000)
        return path, ["bad.npy", "truncated"]
    if kind == "empty":
        path.touch()
        return path, ["bad.npy", "empty"]
    if kind == "no rows":
        np.save(path, rows[:0])
        return path, ["bad.npy", "no rows"]
    if kind == "few rows":
        np.save(path, rows[:1])
        return path, ["1"]
    if kind == "unknown ending":
        path = folder / "bad.xls"
        path.write_text("1,2")
        return path, ["bad.xls", ".npy"]
    if kind == "missing":
        return folder / "not-there.npy", ["not-there.npy", "does not exist"]
    raise AssertionError(kind)


@pytest.mark.parametrize(
    "kind",
    [
        "NaN",
        "infinity",
        "truncated",
        "empty",
        "no rows",
        "few rows",
        "unknown ending",
        "missing",
    ],
)
def test_data_that_cannot_be_fitted(run, tmp_path, kind):
    path, says = broken_rows(tmp_path, kind)
    before = contents(tmp_path)
    line = the_line(run("fit", path, "-k", 2, "-o", tmp_path / "out.npz", exit_code=UNUSABLE))
    assert all(word in line for word in says), line
    assert contents(tmp_path) == before


def test_text_and_unknown_columns(run, table, tmp_path):
    fit = ("fit", table, "-k", 2, "-o", tmp_path / "out.npz")
    assert "'name'" in the_line(run(*fit, "--columns", "a,name", exit_code=UNUSABLE))
    assert "'z'" in the_line(run(*fit, "--columns", "a,z", exit_code=UNUSABLE))
    assert not (tmp_path / "out.npz").exists()


def test_other_numbers_of_columns_than_the_model(run, tmp_path, model_file):
    np.save(tmp_path / "wide.npy", np.zeros((5, 3)))
    output = tmp_path / "out.npy"
    arguments = ("predict", tmp_path / "wide.npy", "-m", model_file, "-o", output)
    assert "3 features" in the_line(run(*arguments, exit_code=UNUSABLE))
    assert not output.exists()


@pytest.mark.parametrize("damage", ["missing", "cut", "foreign", "text"])
def test_models_that_cannot_be_loaded(run, data, model_file, damage):
    if damage == "missing":
        model_file.unlink()
    elif damage == "cut":
        os.truncate(model_file, 700)
    elif damage == "foreign":
        np.savez(model_file, x=np.zeros(3))
    else:
        model_file.write_text("no model")
    for arguments in (("info", model_file), ("score", data, "-m", model_file)):
        assert "model.npz" in the_line(run(*arguments, exit_code=UNUSABLE))


def test_a_failed_prediction_leaves_the_old_file(run, rows, model_file, tmp_path):
    rows = rows.copy()
    rows[199] = np.nan
    np.save(tmp_path / "bad.npy", rows)
    (tmp_path / "out.npy").write_bytes(b"precious")
    before = contents(tmp_path)
    arguments = ("predict", tmp_path / "bad.npy", "-m", model_file, "-o", tmp_path / "out.npy")
    assert "199" in the_line(run(*arguments, exit_code=UNUSABLE))
    assert contents(tmp_path) == before


OUTPUTS = [
    (command, option.opts[-1], option.type)
    for command, known in main.commands.items()
    for option in known.params
    if isinstance(option.type, Output)
]


@pytest.mark.parametrize(
    ("command", "option", "kind"),
    [one for one in OUTPUTS if not isinstance(one[2], Log)],  # a log may well go to a pipe
)
def test_no_output_takes_the_place_of_what_is_no_file(run, tmp_path, command, option, kind):
    output = tmp_path / f"x{(*kind.endings, '')[0]}"
    os.mkfifo(output)
    line = the_line(run(command, option, output, exit_code=USAGE))
    assert f"{output} is a pipe already: choose another name" in line
    assert output.is_fifo()


READERS = [
    one for one in OUTPUTS if "data" in {option.name for option in main.commands[one[0]].params}
]
REST = {
    "fit": ["-k", "2", "--workers", "1"],
    "select": ["--workers", "1"],
    "predict": ["-m", "model.npz"],
    "score": ["-m", "model.npz", "--per-row"],
}


@pytest.mark.parametrize(("command", "option", "kind"), READERS)
@pytest.mark.parametrize("link", [os.symlink, os.link])
def test_no_output_is_an_input(
    run, data, model_file, tmp_path, monkeypatch, command, option, kind, link
):
    monkeypatch.chdir(tmp_path)
    same = f"same{(*kind.endings, '')[0]}"
    link(data, same)
    before = contents(tmp_path)
    own = {"fit": "out.npz", "select": "out.npz"}.get(command, "out.npy")
    words = [command, data, *REST[command], option, same]
    words += [] if option == "--output" else ["-o", own]
    line = the_line(run(*words, exit_code=USAGE))
    assert f"{option}: {same} is one of the input files: choose another name" in line
    assert contents(tmp_path) == before


@pytest.mark.parametrize("command", ["fit", "select"])
def test_no_two_outputs_have_one_name(run, data, tmp_path, monkeypatch, command):
    monkeypatch.chdir(tmp_path)
    os.symlink("one", "two")
    before = contents(tmp_path)
    options = [option for of, option, kind in OUTPUTS if of == command and not kind.endings]
    for one, other in combinations(options, 2):
        line = the_line(run(command, data, one, "one", other, "two", exit_code=USAGE))
        assert f"is the file of {one}, too: choose two names" in line
    assert len(options) == 3
    assert contents(tmp_path) == before


@pytest.mark.parametrize("option", ["--log-json", "--checkpoint", "--performance-report"])
def test_the_model_that_a_fit_starts_from_is_not_written_meanwhile(run, data, model_file, option):
    before = model_file.read_bytes()
    started = ("fit", data, "-k", 2, "--start-from", model_file, "--workers", 1)
    line = the_line(run(*started, "-o", "new.npz", option, model_file, exit_code=USAGE))
    assert f"{option}: {model_file} is the model of --start-from" in line
    assert model_file.read_bytes() == before


def test_a_log_is_not_the_file_that_holds_the_dataset(run, tmp_path, rows):
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "rows.h5", "w") as file:
        file["x"] = rows
    before = contents(tmp_path)
    fit = ("fit", tmp_path / "rows.h5" / "x", "-k", 2, "-o", tmp_path / "out.npz")
    line = the_line(run(*fit, "--log-json", tmp_path / "rows.h5", exit_code=USAGE))
    assert "rows.h5 is one of the input files" in line
    assert contents(tmp_path) == before


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_cannot_be_written(run, data, tmp_path):
    locked = tmp_path / "locked"
    locked.mkdir(mode=0o500)
    arguments = ("fit", data, "-k", 2, "-o", locked / "out.npz")
    assert "not writeable" in the_line(run(*arguments, exit_code=USAGE))


def test_a_scheduler_that_is_not_there(run, data, tmp_path):
    fit = ("fit", data, "-k", 2, "-o", tmp_path / "out.npz")
    line = the_line(run(*fit, "--scheduler-file", tmp_path / "none.json", exit_code=UNUSABLE))
    assert "none.json" in line


def test_a_real_process_shows_no_traceback_unless_asked(run_process, tmp_path):
    arguments = ("fit", "nowhere.npy", "-k", 2, "-o", "out.npz")
    result = run_process(*arguments, folder=tmp_path)
    assert result.returncode == UNUSABLE
    assert "nowhere.npy" in the_line(result)
    result = run_process(*arguments, folder=tmp_path, FASTGMM_TRACEBACK="1")
    assert result.returncode == 1
    assert "Traceback" in result.stderr


@pytest.mark.parametrize("where", [[], ["--workers", "2"]])
def test_an_interrupted_fit_leaves_nothing(tmp_path, where):
    rows = np.random.default_rng(0).normal(size=(200_000, 2))
    np.save(tmp_path / "rows.npy", rows)
    flags = ["-k", "8", "--tol", "0", "--max-iter", "1000000", "-o", "out.npz"]
    process = subprocess.Popen(
        [sys.executable, "-m", "fastgmm", "fit", "rows.npy", *flags, *where],
        stderr=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
        start_new_session=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )
    assert process.stderr is not None
    process.stderr.readline()  # a line of progress: it is in the loop
    time.sleep(0.1)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to the workers, too
    _, errors = process.communicate(timeout=LONG)
    assert process.returncode == INTERRUPTED
    assert "fastgmm: interrupted\n" in errors
    # what a cluster logs of a lost connection may come after it
    assert where or errors.endswith("fastgmm: interrupted\n")
    assert "Traceback" not in errors
    assert [path.name for path in tmp_path.iterdir()] == ["rows.npy"]


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("can't start new thread")])
@pytest.mark.parametrize("command", main.commands)
def test_scarce_memory_is_answered_with_options_of_the_command(run, monkeypatch, command, error):
    def invoke(context):
        raise error

    known = main.commands[command]
    monkeypatch.setattr(known, "params", [])  # none is needed to get there
    monkeypatch.setattr(known, "invoke", invoke)
    assert the_line(run(command, exit_code=UNUSABLE)).endswith("memory: free some\n")
    monkeypatch.undo()
    monkeypatch.setattr(known, "make_context", lambda *_, **__: click.Context(known))
    monkeypatch.setattr(known, "invoke", invoke)
    named = re.findall(r" (-\S+)", the_line(run(command, exit_code=UNUSABLE)))
    assert set(named) <= {name for option in known.params for name in option.opts}
    assert bool(named) == (command not in ("info", "demo", "warmup"))


def test_more_rows_than_there_is_memory_for(run, model_file, tmp_path):
    sample = ("sample", "-m", model_file, "-o", tmp_path / "rows.npy", "-n")
    assert "try a smaller -n" in the_line(run(*sample, 2**48, exit_code=UNUSABLE))
    assert "is not in the range" in the_line(run(*sample, 10**30, exit_code=USAGE))


def test_data_that_cannot_be_reached(run, tmp_path):
    (tmp_path / "round").symlink_to("round")
    (tmp_path / "locked").mkdir(mode=0)
    reasons = {"round": "Too many levels of symbolic links", "n" * 300: "File name too long"}
    if os.geteuid() != 0:
        reasons["locked"] = "Permission denied"
    for name, reason in reasons.items():
        path = tmp_path / name / "rows.npy"
        line = the_line(run("fit", path, "-k", 2, "-o", tmp_path / "out.npz", exit_code=UNUSABLE))
        assert f"{path} cannot be reached: {reason}" in line


def test_an_interrupt_while_the_command_is_imported(tmp_path):
    """In the place of click is a module that Ctrl-C comes in."""
    (tmp_path / "click.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGINT)\n")
    folders = [os.fspath(tmp_path), os.fspath(Path(__file__).parents[2])]
    script = "import sys; from fastgmm.__main__ import main; sys.exit(main())"  # as pip makes it
    for words in (["-m", "fastgmm", "--help"], ["-c", script]):
        done = subprocess.run(
            [sys.executable, *words],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(folders)},
            capture_output=True,
            text=True,
        )
        assert (done.returncode, done.stderr) == (INTERRUPTED, "fastgmm: interrupted\n")
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())
    assert project["project"]["scripts"] == {"fastgmm": "fastgmm.__main__:main"}


def test_what_is_imported_before_interrupts_are_caught_is_next_to_nothing():
    """``typing`` alone would take several times as long."""
    script = "import sys; from fastgmm.__main__ import main; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-S", "-c", script],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
        check=True,
    )
    loaded = set(done.stdout.split())
    assert {name for name in loaded if name.startswith("fastgmm")} == {
        "fastgmm",
        "fastgmm.__main__",
    }
    assert not loaded & {"typing", "click", "numpy", "re"}


def test_words_in_paths_and_options_stay_as_they_are(run, tmp_path, data, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for path in ("fixed/nope.npy", "n_init.npy", "my-max_iter/fixed", "a.fixed"):
        fit = ("fit", path, "-k", 2, "-o", "out.npz")
        assert f"error: {path} does not exist" in the_line(run(*fit, exit_code=UNUSABLE))
        fit = ("fit", data, "-k", 2, "-o", f"nowhere/{path}.npz")
        assert f"Cannot write nowhere/{path}.npz: " in the_line(run(*fit, exit_code=USAGE))
    fit = ("fit", data, "-k", 2, "-o", "out.npz", "--fixed", "foo")
    assert "Invalid value for '--fixed'" in the_line(run(*fit, exit_code=USAGE))
    advice = "increase reg_covar, or scale (init_params, set on_collapse='reseed'); max_iter."
    assert explain(ValueError(advice))[1].endswith(
        "increase --reg-covar, or scale (--init-params, set --on-collapse reseed); --max-iter."
    )


def test_what_nobody_expected_is_one_line_too():
    code, line = explain(KeyError("surprise"))
    assert code == 1
    assert "KeyError" in line
    assert "FASTGMM_TRACEBACK=1" in line
    disk_full = OSError(28, "No space left on device", "out.npz")
    assert explain(disk_full) == (UNUSABLE, "fastgmm: error: out.npz: No space left on device")
