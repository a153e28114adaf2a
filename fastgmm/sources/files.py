"""Which files make up a data set: paths, glob patterns and folders, in natural order.

"Natural" means that runs of digits compare as numbers: part-2 comes before part-10.
"""

import errno
import glob
import os
import re
import stat
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from fnmatch import fnmatch
from os import PathLike
from pathlib import Path
from typing import Any, Protocol, TypeAlias, cast

from fastgmm.exceptions import DataError, DataTypeError, UnreadableError

MARKERS = (".", "_")
"""What hidden files and the notes of writers (``_SUCCESS``, ``_metadata``) start with."""


class Kind(Protocol):
    """What has to be known of a kind of file to find it."""

    @property
    def holds_arrays(self) -> bool:
        """Whether it is a folder or file of named arrays, so that a path may go on inside it."""


Kinds: TypeAlias = Mapping[str, Kind]
"""By the endings of their names, in lower case."""


def resolve(
    paths: str | PathLike[str] | Sequence[str | PathLike[str]], kinds: Kinds
) -> tuple[list[str], str]:
    """Find the data files of a data set and the ending they have in common.

    Parameters
    ----------
    paths : path, glob pattern, folder, or a list of them
        The files of a pattern, or in a folder and its subfolders, are put in natural order;
        a list keeps the order it was written in. In folders and patterns, files that start with
        ``.`` or ``_``, or are empty (with a warning), are skipped, in folders also those of
        other formats. A folder that is itself of a known kind counts as a file.
    kinds : mapping
        The known endings, such as ``.npy``; upper and lower case are the same.

    Returns
    -------
    files : list of str
        Absolute paths, so that workers in other folders find them.
    ending : str
        One of ``kinds``.

    Raises
    ------
    DataError
        Nothing there, nothing readable, an unknown ending, or several formats at once.
    DataTypeError
        Something that names no file, such as rows.

    Warns
    -----
    UserWarning
        A file is named more than once (also through links): it is read once. Files in a folder or
        of a pattern are empty: they are left out.
    """
    several = isinstance(paths, Iterable) and not isinstance(paths, str | PathLike)
    named: list[Any] = [*cast(Iterable[Any], paths)] if several else [paths]
    for path in named:
        if not isinstance(path, str | PathLike):
            raise DataTypeError(
                f"files are named by texts or paths, not by {type(path).__name__}: rows in memory "
                "go to an estimator as they are"
            )
    if not named:
        raise DataError("the list of files is empty: name at least one file, folder or pattern")
    empty: list[str] = []
    files = _once(file for path in named for file in _expand(os.fspath(path), kinds, empty))
    if empty:
        warnings.warn(
            f"{_shorten(empty)}: empty, and left out: write it again if it has rows",
            UserWarning,
            stacklevel=3,  # who called open_dataset
        )
    if not files:
        raise DataError(f"{_shorten(named)} holds no data files ({_known(kinds)})")
    ending = _common_ending(files, kinds)
    for file in files:
        _check_readable(on_disk(file, kinds))
    return files, ending


def _expand(path: str, kinds: Kinds, empty: list[str]) -> Iterator[str]:
    """Yield the files that one path, folder or pattern stands for; note those left out as empty."""
    expanded = os.path.expanduser(path)
    if _holds_arrays(expanded, kinds) and os.path.exists(on_disk(expanded, kinds)):
        yield os.path.abspath(expanded)
    elif os.path.isdir(expanded):
        yield from _in_folder(expanded, kinds, empty)
    elif os.path.lexists(expanded):
        # a list of everything in a folder names the writers' notes too
        if not _is_marker(expanded) or _ending(expanded, kinds):
            yield os.path.abspath(expanded)
    elif "://" in path:
        raise DataError(
            f"{path} is not on this file system: read it with Dask "
            "(dask.dataframe.read_parquet) and pass the collection"
        )
    elif glob.has_magic(expanded):
        yield from _matches(expanded, kinds, empty)
    else:
        raise _unreached(path, expanded)


def _unreached(path: str, expanded: str) -> DataError:
    """Return the error for a file that is not seen: there is none, or none of the way to it."""
    try:
        os.lstat(expanded)
    except OSError as error:
        if not isinstance(error, FileNotFoundError | NotADirectoryError):
            return UnreadableError(f"{path} cannot be reached: {error.strerror}")
    return DataError(f"{path} does not exist: check the path (now in {os.getcwd()})")


def _in_folder(folder: str, kinds: Kinds, empty: list[str]) -> list[str]:
    """Return the data files of a folder and its subfolders."""

    def fail(error: OSError) -> None:
        raise DataError(f"{error.filename} cannot be listed: {error.strerror}") from error

    found: list[str] = []
    for parent, folders, names in os.walk(folder, onerror=fail, followlinks=False):
        names += [name for name in folders if _holds_arrays(name, kinds)]
        folders[:] = [name for name in folders if name not in names and name[0] not in MARKERS]
        found += [os.path.join(parent, name) for name in names if _ending(name, kinds)]
    files = _with_content(found, kinds, empty)
    if not files:
        raise DataError(f"the folder {folder} holds no data files ({_known(kinds)})")
    return [os.path.abspath(file) for file in natural_order(files)]


def _matches(pattern: str, kinds: Kinds, empty: list[str]) -> Iterator[str]:
    """Yield the files that match a pattern; a folder that matches stands for its files."""
    for folder in glob.glob(os.path.dirname(pattern) or os.curdir, recursive=True):
        if os.path.isdir(folder) and not os.access(folder, os.R_OK | os.X_OK):
            raise UnreadableError(f"{folder} cannot be listed: {os.strerror(errno.EACCES)}")
    found = _with_content(glob.glob(pattern, recursive=True), kinds, empty)
    if "**" in pattern:  # matches what is in a store as well: the store is enough
        found = [path for path in found if on_disk(path, kinds) == path]
    folders = [path for path in found if os.path.isdir(path) and not _holds_arrays(path, kinds)]
    files = [path for path in found if path not in folders]
    if "**" in pattern:  # matches a folder and then its files as well: the files are enough
        folders = []
    if not files and not folders:
        raise DataError(
            f"no file matches {pattern} (empty files and names that start with . or _ are skipped)"
        )
    for path in natural_order([*files, *folders]):
        if path in folders:
            yield from _in_folder(path, kinds, empty)
        else:
            yield os.path.abspath(path)


def would_find(path: str, new: str | PathLike[str], kinds: Kinds) -> bool:
    """Return whether a folder, or a pattern of names in one, would find a file that is new."""
    folder, own = os.path.expanduser(path), os.path.realpath(new)
    if _is_marker(own) or _ending(own, kinds) is None:
        return False
    if os.path.isdir(folder):
        return not _holds_arrays(folder, kinds) and Path(folder).resolve() in Path(own).parents
    folder, pattern = os.path.split(folder)
    in_it = os.path.realpath(folder or os.curdir) == os.path.dirname(own)
    return glob.has_magic(pattern) and in_it and fnmatch(os.path.basename(own), pattern)


def natural_order(paths: Iterable[str]) -> list[str]:
    """Sort paths folder by folder, runs of digits as numbers: part-2 before part-10."""
    return sorted(paths, key=lambda path: ([_natural(name) for name in path.split(os.sep)], path))


def _natural(name: str) -> list[str | int]:
    # texts and numbers alternate, so that like is compared with like
    return [int(part) if i % 2 else part for i, part in enumerate(re.split(r"(\d+)", name))]


def _is_marker(path: str) -> bool:
    return os.path.basename(path).startswith(MARKERS)


def _with_content(found: Iterable[str], kinds: Kinds, empty: list[str]) -> list[str]:
    """Leave out what nobody named and is no data: writers' notes, hidden and empty files."""
    files = []
    for path in found:
        if _is_marker(path):
            continue
        if _is_empty(path):
            empty += [path] if _ending(path, kinds) else []
        else:
            files.append(path)
    return files


def _is_empty(path: str) -> bool:
    try:
        status = os.stat(path)
    except OSError:
        return False  # a broken link is told apart where the files are checked
    return stat.S_ISREG(status.st_mode) and status.st_size == 0


def _once(files: Iterable[str]) -> list[str]:
    """Leave out files that came before under this or another name, with a warning."""
    seen: dict[str, str] = {}
    repeated: dict[str, None] = {}
    for file in files:
        if seen.setdefault(os.path.realpath(file), file) is not file:
            repeated[file] = None
    if repeated:
        warnings.warn(
            f"{_shorten(list(repeated))}: named more than once, read once",
            UserWarning,
            stacklevel=4,  # who called open_dataset
        )
    return list(seen.values())


_TEXT = (
    "; write it as Parquet once, by pandas (read_csv, to_parquet) or, where it is larger than "
    "memory, by pyarrow (csv.open_csv, parquet.ParquetWriter)"
)
OTHERS = {
    **dict.fromkeys((".csv", ".tsv", ".txt", ".dat"), _TEXT),
    ".npz": "; save its array as .npy",
}
"""What is said of endings that people try."""


def _common_ending(files: list[str], kinds: Kinds) -> str:
    found: dict[str, str] = {}
    for file in files:
        ending = _ending(file, kinds)
        if ending is None:
            other = OTHERS.get(os.path.splitext(file)[1].lower(), "")
            raise DataError(f"{file} has an unknown ending: {_known(kinds)} can be read{other}")
        found.setdefault(ending, file)
    if len(found) > 1:
        raise DataError(
            f"{' and '.join(found.values())} have different endings: name files of one format only"
        )
    return next(iter(found))


def _check_readable(file: str) -> None:
    """Raise DataError for what cannot be opened, and for empty files somebody named."""
    try:
        status = os.stat(file)
        if not stat.S_ISREG(status.st_mode) and not stat.S_ISDIR(status.st_mode):
            raise DataError(f"{file} is not a regular file: copy the data to one")
        os.close(os.open(file, os.O_RDONLY))
    except OSError as error:
        raise unreadable(file, error) from error
    if stat.S_ISREG(status.st_mode) and status.st_size == 0:
        raise DataError(f"{file} is empty: write it again or leave it out")


def unreadable(file: str, error: OSError) -> UnreadableError:
    """Return the error for a file that the system does not let us read."""
    return UnreadableError(f"{file} cannot be read: {error.strerror or error}")


def size_on_disk(path: str) -> int:
    """Return the bytes of a file, or of all files in a folder; 0 of an array within a file."""
    if not os.path.isdir(path):
        return os.path.getsize(path) if os.path.exists(path) else 0
    return sum(
        os.path.getsize(os.path.join(parent, name))
        for parent, _, names in os.walk(path)
        for name in names
    )


def _ending(file: str, kinds: Kinds) -> str | None:
    """Return the known ending of a file, or of what holds the array that a path names."""
    name = file.lower()
    for ending in kinds:
        if name.endswith(ending) or (kinds[ending].holds_arrays and ending + os.sep in name):
            return ending
    return None


def _holds_arrays(path: str, kinds: Kinds) -> bool:
    ending = _ending(path, kinds)
    return ending is not None and kinds[ending].holds_arrays


def on_disk(path: str, kinds: Kinds) -> str:
    """Return the file or folder of a path that may go on inside it."""
    ending = _ending(path, kinds)
    if ending is None or not kinds[ending].holds_arrays:
        return path
    return path[: (path.lower() + os.sep).index(ending + os.sep) + len(ending)]


def _known(kinds: Kinds) -> str:
    return "files that end in " + " or ".join(kinds)


def _shorten(paths: Sequence[str | PathLike[str]]) -> str:
    names = ", ".join(os.fspath(path) for path in paths[:3])
    return names if len(paths) <= 3 else f"{names} and {len(paths) - 3} more"
