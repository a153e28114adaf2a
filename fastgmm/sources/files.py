"""Which files make up a data set: paths, glob patterns and folders, in natural order.

"Natural" means that runs of digits compare as numbers: part-2 comes before part-10.
"""

import glob
import os
import re
import stat
import warnings
from collections.abc import Iterable, Iterator, Sequence
from os import PathLike

from fastgmm.exceptions import DataError

MARKERS = (".", "_")
"""What hidden files and the notes of writers (``_SUCCESS``, ``_metadata``) start with."""


def resolve(
    paths: str | PathLike[str] | Sequence[str | PathLike[str]], endings: Sequence[str]
) -> tuple[list[str], str]:
    """Find the data files of a data set and the ending they have in common.

    Parameters
    ----------
    paths : path, glob pattern, folder, or a list of them
        The files of a pattern, or in a folder and its subfolders, are put in natural order;
        a list keeps the order it was written in. In folders and patterns, files that are empty
        or start with ``.`` or ``_`` are skipped, in folders also those of other formats.
    endings : sequence of str
        The known endings, such as ``(".npy", ".parquet")``; upper and lower case are the same.

    Returns
    -------
    files : list of str
        Absolute paths, so that workers in other folders find them.
    ending : str
        One of ``endings``.

    Raises
    ------
    DataError
        Nothing there, nothing readable, an unknown ending, or several formats at once.

    Warns
    -----
    UserWarning
        A file is named more than once (also through links): it is read once.
    """
    endings = tuple(endings)
    named = [paths] if isinstance(paths, str | PathLike) else list(paths)
    if not named:
        raise DataError("the list of files is empty: name at least one file, folder or pattern")
    files = _once(file for path in named for file in _expand(os.fspath(path), endings))
    if not files:
        raise DataError(f"{_shorten(named)} holds no data files ({_known(endings)})")
    ending = _common_ending(files, endings)
    for file in files:
        _check_readable(file)
    return files, ending


def _expand(path: str, endings: tuple[str, ...]) -> Iterator[str]:
    """Yield the files that one path, folder or pattern stands for."""
    expanded = os.path.expanduser(path)
    if os.path.isdir(expanded):
        yield from _in_folder(expanded, endings)
    elif os.path.lexists(expanded):
        # a list of everything in a folder names the writers' notes too
        if not _is_marker(expanded) or _ending(expanded, endings):
            yield os.path.abspath(expanded)
    elif "://" in path:
        raise DataError(
            f"{path} is not on this file system: read it with Dask "
            "(dask.dataframe.read_parquet) and pass the collection"
        )
    elif glob.has_magic(expanded):
        yield from _matches(expanded, endings)
    else:
        raise DataError(f"{path} does not exist: check the path (now in {os.getcwd()})")


def _in_folder(folder: str, endings: tuple[str, ...]) -> list[str]:
    """Return the data files of a folder and its subfolders."""

    def fail(error: OSError) -> None:
        raise DataError(f"{error.filename} cannot be listed: {error.strerror}") from error

    found: list[str] = []
    for parent, folders, names in os.walk(folder, onerror=fail, followlinks=False):
        folders[:] = [name for name in folders if not name.startswith(MARKERS)]
        found += [os.path.join(parent, name) for name in names if _ending(name, endings)]
    files = [file for file in found if not _is_skipped(file)]
    if not files:
        raise DataError(f"the folder {folder} holds no data files ({_known(endings)})")
    return [os.path.abspath(file) for file in natural_order(files)]


def _matches(pattern: str, endings: tuple[str, ...]) -> Iterator[str]:
    """Yield the files that match a pattern; a folder that matches stands for its files."""
    found = [path for path in glob.glob(pattern, recursive=True) if not _is_skipped(path)]
    # "**" matches a folder and then its files as well: the files are enough
    folders = [] if "**" in pattern else [path for path in found if os.path.isdir(path)]
    files = [path for path in found if not os.path.isdir(path)]
    if not files and not folders:
        raise DataError(
            f"no file matches {pattern} (empty files and names that start with . or _ are skipped)"
        )
    for path in natural_order([*files, *folders]):
        if path in folders:
            yield from _in_folder(path, endings)
        else:
            yield os.path.abspath(path)


def natural_order(paths: Iterable[str]) -> list[str]:
    """Sort paths folder by folder, runs of digits as numbers: part-2 before part-10."""
    return sorted(paths, key=lambda path: ([_natural(name) for name in path.split(os.sep)], path))


def _natural(name: str) -> list[str | int]:
    # texts and numbers alternate, so that like is compared with like
    return [int(part) if i % 2 else part for i, part in enumerate(re.split(r"(\d+)", name))]


def _is_marker(path: str) -> bool:
    return os.path.basename(path).startswith(MARKERS)


def _is_skipped(path: str) -> bool:
    """Whether a file that nobody named is no data: a writer's note, hidden, or empty."""
    if _is_marker(path):
        return True
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


def _common_ending(files: list[str], endings: tuple[str, ...]) -> str:
    found: dict[str, str] = {}
    for file in files:
        ending = _ending(file, endings)
        if ending is None:
            raise DataError(f"{file} has an unknown ending: {_known(endings)} can be read")
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
        if not stat.S_ISREG(status.st_mode):
            raise DataError(f"{file} is not a regular file: copy the data to one")
        os.close(os.open(file, os.O_RDONLY))
    except OSError as error:
        raise unreadable(file, error) from error
    if status.st_size == 0:
        raise DataError(f"{file} is empty: write it again or leave it out")


def unreadable(file: str, error: OSError) -> DataError:
    """Return the error for a file that the system does not let us read."""
    return DataError(f"{file} cannot be read: {error.strerror or error}")


def _ending(file: str, endings: tuple[str, ...]) -> str | None:
    name = file.lower()
    return next((ending for ending in endings if name.endswith(ending)), None)


def _known(endings: tuple[str, ...]) -> str:
    return "files that end in " + " or ".join(endings)


def _shorten(paths: Sequence[str | PathLike[str]]) -> str:
    names = ", ".join(os.fspath(path) for path in paths[:3])
    return names if len(paths) <= 3 else f"{names} and {len(paths) - 3} more"
