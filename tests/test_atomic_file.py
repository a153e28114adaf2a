"""Files that are complete or absent, and what they never take the place of."""

import os
import socket
import stat
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from fastgmm import GaussianMixture, select
from fastgmm.atomic_file import atomic_file, destination, remove_leftovers
from fastgmm.sinks import FILE_SINKS

X = np.random.default_rng(0).normal(size=(60, 2))


@pytest.fixture
def model():
    return GaussianMixture(1).fit(X)


def write(path, text):
    with atomic_file(path) as temporary:
        Path(temporary).write_text(text)


@pytest.mark.parametrize("name", [None, "temporary"])
def test_a_full_disk_names_the_file(tmp_path, name):
    with (
        pytest.raises(OSError, match="No space left") as raised,
        atomic_file(tmp_path / "model.npz") as temporary,
    ):
        raise OSError(28, "No space left on device", temporary if name else None)
    assert raised.value.filename == str(tmp_path / "model.npz")
    assert not list(tmp_path.iterdir())


def make_socket(path):
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(os.fspath(path))


def make_device(path):
    try:
        os.mknod(path, 0o600 | stat.S_IFCHR, os.makedev(1, 3))
    except PermissionError:
        pytest.skip("only root makes devices")


OTHERS = {"folder": os.mkdir, "pipe": os.mkfifo, "socket": make_socket, "device": make_device}


@pytest.mark.parametrize("kind", OTHERS)
def test_what_is_no_file_stays(kind, model, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # names of sockets are short
    names = ["model.npz", "fit.ckpt", *(f"labels{ending}" for ending in FILE_SINKS)]
    for name in names:
        OTHERS[kind](name)
    link = Path("link.npy")
    link.symlink_to("labels.npy")
    before = {path: path.lstat() for path in tmp_path.iterdir()}
    kept = {"checkpoint": "fit.ckpt", "checkpoint_interval": 0}
    for name, write_it in {
        "model.npz": lambda: model.save("model.npz"),
        "fit.ckpt": lambda: GaussianMixture(1, **kept).fit(X),
        "./fit.ckpt": lambda: select(X, 1, **kept | {"checkpoint": "./fit.ckpt"}),
        "link.npy": lambda: model.predict(X, out=link),
        **{name: lambda name=name: model.predict(X, out=name) for name in names[2:]},
    }.items():
        with pytest.raises((OSError, ValueError), match=f"{name} is a {kind} already: choose"):
            write_it()
    assert {path: path.lstat() for path in tmp_path.iterdir()} == before


def test_a_link_is_written_through(model, tmp_path):
    (tmp_path / "far").mkdir()
    (tmp_path / "far" / "there").write_text("old")
    for name in ("there", "not-yet"):
        link = tmp_path / name
        link.symlink_to(tmp_path / "far" / name)
        write(link, "new")
        assert link.is_symlink()
        assert (tmp_path / "far" / name).read_text() == "new"
    for ending in FILE_SINKS:
        link = tmp_path / f"labels{ending}"
        link.symlink_to(tmp_path / "far" / f"written{ending}")
        model.predict(X, out=link)
        assert link.is_symlink()
        assert (tmp_path / "far" / f"written{ending}").exists()
    assert not [path for path in tmp_path.rglob("*") if path.suffix == ".tmp"]


def test_leftovers_are_those_of_this_file(tmp_path):
    left = {}
    for name in ("a", "a.ckpt", "a.b.tmp"):
        with atomic_file(tmp_path / name) as temporary:
            left[name] = tmp_path / Path(temporary).name.replace("-", "-left")
        left[name].touch()
    remove_leftovers(tmp_path / "a")
    assert [name for name, path in left.items() if not path.exists()] == ["a"]


WRITER = """
import sys
from pathlib import Path
from fastgmm.atomic_file import atomic_file
from fastgmm.sinks.folders import atomic_folder
path = Path(sys.argv[1])
with (atomic_file if path.suffix == ".npy" else atomic_folder)(path) as begun:
    print(begun, flush=True)
    sys.stdin.read()
"""


@pytest.mark.parametrize("ending", FILE_SINKS)
def test_what_the_killed_leave_goes_and_what_the_living_write_stays(model, tmp_path, ending):
    """Two processes write the same output as a third; one of them is killed before."""
    out = tmp_path / f"labels{ending}"
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, out],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
        )
        for _ in range(2)
    ]
    killed, living = (Path(writer.stdout.readline().strip()) for writer in writers)
    writers[0].kill()
    writers[0].communicate()
    assert killed.exists()
    model.predict(X, out=out)
    assert not killed.exists()
    assert sorted(tmp_path.iterdir()) == sorted([out, living])
    writers[1].kill()
    writers[1].communicate()


def test_reasons_are_the_systems(tmp_path):
    (tmp_path / "round").symlink_to("round")
    (tmp_path / "file").touch()
    for name, says in (
        ("round", "round: Too many levels of symbolic links"),
        ("n" * 300, "File name too long"),
        ("file/x", "there is no folder .*file, make it first"),
        ("nowhere/x", "there is no folder .*nowhere, make it first"),
    ):
        with pytest.raises(OSError, match=says):
            destination(tmp_path / name)


def test_endings_are_those_that_are_read_in_any_case(model, tmp_path):
    for ending in FILE_SINKS:
        out = tmp_path / f"labels{ending.upper()}"
        assert model.predict(X, out=out) == out
        assert out.exists()
