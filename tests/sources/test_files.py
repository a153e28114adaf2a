"""Which files a path, a pattern, a folder or a list stands for."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fastgmm import open_dataset
from fastgmm.exceptions import DataError, DataTypeError
from fastgmm.sources.files import natural_order, resolve
from fastgmm.sources.opening import Format

KINDS = {
    ".npy": Format("npy"),
    ".parquet": Format("parquet"),
    ".zarr": Format("zarr", holds_arrays=True),
}

Touch = Callable[..., list[str]]


@pytest.fixture
def touch(tmp_path: Path) -> Touch:
    def make(*names: str, content: bytes = b"data") -> list[str]:
        for name in names:
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        return [str(tmp_path / name) for name in names]

    return make


def refuse(paths: object, *words: str) -> None:
    """Check that the paths are refused in one sentence with the given words."""
    with pytest.raises(DataError) as caught:
        resolve(paths, KINDS)  # type: ignore[arg-type]
    message = str(caught.value)
    for word in words:
        assert word in message
    assert "\n" not in message
    assert not message.endswith(".")


def test_natural_order_compares_numbers_as_numbers_folder_by_folder() -> None:
    ordered = [
        "a/2/part-10",
        "a/10/part-2",
        "a-1/x",
        "b",
        "part-02",
        "part-2",
        "part-2a",
        "part-10",
    ]
    assert natural_order(reversed(ordered)) == ordered
    assert natural_order(sorted(ordered)) == ordered


@pytest.mark.parametrize("kind", [str, Path])
def test_a_single_file(touch: Touch, kind: type) -> None:
    [file] = touch("x.npy")
    assert resolve(kind(file), KINDS) == ([file], ".npy")


def test_a_relative_path_becomes_absolute(touch: Touch, monkeypatch: pytest.MonkeyPatch) -> None:
    [file] = touch("deep/x.npy")
    monkeypatch.chdir(Path(file).parent)
    assert resolve("x.npy", KINDS) == ([file], ".npy")
    assert resolve("*.npy", KINDS) == ([file], ".npy")
    assert resolve(".", KINDS) == ([file], ".npy")


def test_the_home_folder_is_known(touch: Touch, monkeypatch: pytest.MonkeyPatch) -> None:
    [file] = touch("x.npy")
    monkeypatch.setenv("HOME", str(Path(file).parent))
    assert resolve("~/x.npy", KINDS) == ([file], ".npy")
    assert resolve("~/*.npy", KINDS) == ([file], ".npy")


def test_upper_case_endings_are_known(touch: Touch) -> None:
    files = touch("a.NPY", "b.npy")
    assert resolve(files, KINDS) == (files, ".npy")


def test_a_pattern_is_put_in_natural_order(touch: Touch, tmp_path: Path) -> None:
    files = touch("part-2.npy", "part-10.npy", "part-100.npy")
    touch("other.npy")
    assert resolve(str(tmp_path / "part-*.npy"), KINDS)[0] == files


def test_a_pattern_may_match_folders(touch: Touch, tmp_path: Path) -> None:
    files = touch("year=2/a.parquet", "year=10/b.parquet", "year=10/c/d.parquet")
    assert resolve(tmp_path / "year=*", KINDS)[0] == files
    assert resolve(tmp_path / "**", KINDS)[0] == files
    assert resolve(tmp_path / "**" / "*.parquet", KINDS)[0] == files


def test_a_file_whose_name_looks_like_a_pattern(touch: Touch) -> None:
    [file, _] = touch("x[1].npy", "x1.npy")
    assert resolve(file, KINDS)[0] == [file]


def test_a_folder_as_spark_and_dask_write_it(touch: Touch, tmp_path: Path) -> None:
    files = touch("out.parquet/part-2.parquet", "out.parquet/part-10.parquet")
    touch(
        "out.parquet/_SUCCESS",
        "out.parquet/_metadata",
        "out.parquet/.part-2.parquet.crc",
        "out.parquet/.hidden.parquet",
        "out.parquet/_temporary/part-3.parquet",
        "out.parquet/.checkpoints/part-2.parquet",
        "out.parquet/README.txt",
    )
    assert resolve(tmp_path / "out.parquet", KINDS) == (files, ".parquet")


def test_a_pattern_skips_what_a_folder_skips(touch: Touch, tmp_path: Path) -> None:
    files = touch("part-2.npy")
    touch("_SUCCESS", "_x.npy")
    touch("notes.txt", content=b"")
    assert resolve(tmp_path / "*", KINDS)[0] == files
    assert resolve(tmp_path / "*.npy", KINDS)[0] == files


@pytest.mark.parametrize("named", ["", "*", "*.npy", "**/*.npy"])
def test_an_empty_file_is_left_out_in_words(touch: Touch, tmp_path: Path, named: str) -> None:
    """As a writer leaves it that was killed."""
    files = touch("part-2.npy")
    (empty,) = touch("part-3.npy", content=b"")
    with pytest.warns(UserWarning, match=f"{empty}: empty, and left out") as told:
        assert open_dataset(_saved(files[0]).parent / named).n_samples == 1
    assert len(told) == 1
    assert told[0].filename == __file__


def _saved(file: str) -> Path:
    np.save(file, np.zeros((1, 1)))
    return Path(file)


@pytest.mark.parametrize("pattern", ["closed/*.npy", "*/*.npy", "**/*.npy"])
def test_a_folder_that_cannot_be_listed_is_not_passed_over(
    touch: Touch, tmp_path: Path, pattern: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    touch("a.npy", "open/b.npy", "closed/c.npy")
    # root may list everything
    monkeypatch.setattr(os, "access", lambda path, mode: not str(path).endswith("closed"))
    refuse(tmp_path / pattern, "closed cannot be listed: Permission denied")


def test_a_list_keeps_its_order(touch: Touch, tmp_path: Path) -> None:
    files = touch("z.npy", "part-10.npy", "part-2.npy")
    assert resolve(files, KINDS)[0] == files
    mixed = [files[0], tmp_path / "part-*.npy"]
    assert resolve(mixed, KINDS)[0] == [files[0], files[2], files[1]]


def test_a_list_may_name_the_writers_notes(touch: Touch) -> None:
    files = touch("_SUCCESS", "_x.npy", "y.npy")
    assert resolve(files, KINDS)[0] == files[1:]


def test_a_file_named_twice_is_read_once(touch: Touch, tmp_path: Path) -> None:
    files = touch("a.npy", "b.npy")
    with pytest.warns(UserWarning, match=r"/a\.npy: named more than once, read once$"):
        assert resolve([files[0], str(tmp_path / "*.npy")], KINDS)[0] == files


def test_a_file_named_twice_through_a_link_is_read_once(touch: Touch, tmp_path: Path) -> None:
    [file] = touch("a.npy")
    (tmp_path / "b.npy").symlink_to(file)
    with pytest.warns(UserWarning, match=r"/b\.npy: named more than once"):
        assert resolve(tmp_path, KINDS)[0] == [file]


def test_many_files_named_twice_are_one_warning(touch: Touch, tmp_path: Path) -> None:
    files = touch(*(f"{i}.npy" for i in range(9)))
    with pytest.warns(UserWarning, match=r"/2\.npy and 6 more: named") as caught:
        assert resolve([tmp_path, tmp_path / "*.npy"], KINDS)[0] == files
    assert len(caught) == 1


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    refuse(tmp_path / "x.npy", str(tmp_path / "x.npy"), "does not exist")


def test_a_missing_file_in_a_list_is_refused(touch: Touch, tmp_path: Path) -> None:
    refuse([*touch("x.npy"), tmp_path / "y.npy"], str(tmp_path / "y.npy"), "does not exist")


def test_a_pattern_without_match_is_refused(touch: Touch, tmp_path: Path) -> None:
    touch("x.npy")
    refuse(tmp_path / "*.parquet", str(tmp_path / "*.parquet"), "no file matches")


def test_an_unknown_ending_is_refused(touch: Touch, tmp_path: Path) -> None:
    [file] = touch("x.csv")
    refuse(file, file, "unknown ending", ".npy or .parquet")
    refuse(tmp_path / "*", file, "unknown ending", ".npy or .parquet")


@pytest.mark.parametrize(
    ("name", "advice"),
    [("x.csv", "write it as Parquet once"), ("x.npz", "save its array as .npy")],
)
def test_endings_that_people_try_are_refused_with_a_way_out(
    tmp_path: Path, name: str, advice: str
) -> None:
    (tmp_path / name).write_text("1,2")
    refuse(tmp_path / name, name, "unknown ending", advice)


def test_a_name_without_ending_is_refused(touch: Touch) -> None:
    [file] = touch("npy")
    refuse(file, file, "unknown ending")


def test_mixed_endings_are_refused(touch: Touch, tmp_path: Path) -> None:
    files = touch("a.npy", "b.parquet")
    refuse(files, *files, "different endings")
    refuse(tmp_path, *files, "different endings")


def test_an_empty_file_that_was_named_is_refused(touch: Touch) -> None:
    [file] = touch("x.npy", content=b"")
    refuse(file, file, "is empty")
    refuse([*touch("y.npy"), file], file, "is empty")


@pytest.mark.parametrize("others", [(), ("README.md",), ("_SUCCESS", ".x.npy")])
def test_a_folder_without_data_files_is_refused(
    touch: Touch, tmp_path: Path, others: tuple[str, ...]
) -> None:
    (tmp_path / "folder.npy").mkdir()
    touch(*(f"folder.npy/{name}" for name in others))
    refuse(tmp_path / "folder.npy", str(tmp_path / "folder.npy"), "no data files", ".npy")


def test_an_empty_list_is_refused() -> None:
    refuse([], "the list of files is empty")


def test_a_list_of_notes_alone_is_refused(touch: Touch) -> None:
    [file] = touch("_SUCCESS")
    refuse(file, file, "no data files")


def test_an_address_on_the_net_is_refused() -> None:
    refuse("s3://bucket/*.parquet", "s3://bucket/*.parquet", "Dask")


def test_a_link_in_a_circle_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.npy").symlink_to("x.npy")
    refuse(tmp_path / "x.npy", str(tmp_path / "x.npy"), "cannot be read")
    refuse(tmp_path, str(tmp_path / "x.npy"), "cannot be read")


def test_a_broken_link_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.npy").symlink_to("y.npy")
    refuse(tmp_path / "x.npy", str(tmp_path / "x.npy"), "cannot be read", "No such file")
    refuse(tmp_path / "*.npy", str(tmp_path / "x.npy"), "cannot be read", "No such file")


@pytest.mark.parametrize("rows", [np.zeros((3, 2)), None, 3, ["x.npy", 3]])
def test_what_names_no_file_is_refused(rows: Any) -> None:
    with pytest.raises(DataTypeError, match="rows in memory go to an estimator as they are"):
        open_dataset(rows)


def test_a_pipe_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "x.npy")
    refuse(tmp_path / "x.npy", str(tmp_path / "x.npy"), "not a regular file")


def test_a_file_without_permission_is_refused(
    touch: Touch, monkeypatch: pytest.MonkeyPatch
) -> None:
    [file] = touch("x.npy")

    def deny(*_: object) -> int:
        raise PermissionError(13, "Permission denied", file)

    if os.geteuid() == 0:  # permission bits do not bind root
        monkeypatch.setattr(os, "open", deny)
    else:
        Path(file).chmod(0)
    refuse(file, file, "cannot be read", "Permission denied")


def test_a_folder_without_permission_is_refused(
    touch: Touch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    touch("x.npy")

    def deny(path: object) -> object:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(os, "scandir", deny)
    refuse(tmp_path, str(tmp_path), "cannot be listed", "Permission denied")
