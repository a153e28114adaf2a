"""The model file: an .npz without pickle, complete or absent, safe to load from strangers.

The same contents are a dictionary for JSON, where a file is not what is wanted.
"""

import json
import os
import zipfile
from collections.abc import Mapping
from os import PathLike
from typing import Any, NamedTuple

import numpy as np

from fastgmm import __version__
from fastgmm._typing import Float64Array
from fastgmm.atomic_file import atomic_file
from fastgmm.exceptions import ModelFileError
from fastgmm.parameters import Parameters

FORMAT = "fastgmm-model"
FORMAT_VERSION = 1

THE_DICTIONARY = "The dictionary"
"""In messages, in the place of a path."""


class ModelFile(NamedTuple):
    """What a model file holds."""

    parameters: Parameters
    header: dict[str, Any]
    """JSON: covariance_type, how the fit ended, the settings, the columns."""


def write(path: str | PathLike[str], parameters: Parameters, header: Mapping[str, Any]) -> None:
    """Write a model file, complete or not at all.

    Raises OSError if the folder cannot be written; what was at ``path`` then is untouched.
    """
    text = np.frombuffer(json.dumps(_complete(header)).encode(), dtype=np.uint8)
    with atomic_file(path) as temporary, open(temporary, "wb") as file:
        np.savez(file, header=text, **parameters._asdict())


def read(path: str | PathLike[str]) -> ModelFile:
    """Read a model file.

    Raises
    ------
    ModelFileError
        The file is missing, damaged, foreign or of a newer format.
    """
    try:
        # opened here: np.load forgets to close what is no archive
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as archive:
            header = json.loads(archive["header"].tobytes())
            arrays = [_array(archive, name, path) for name in Parameters._fields]
    except FileNotFoundError:
        raise ModelFileError(
            f"No model file {os.fspath(path)}: fit a model and save it first"
        ) from None
    except ModelFileError:
        raise
    except (
        OSError,
        ValueError,
        KeyError,
        EOFError,
        TypeError,
        AttributeError,
        zipfile.BadZipFile,
    ) as error:
        raise damaged(path) from error
    _check_header(header, path)
    return ModelFile(Parameters(*arrays), header)


def as_dictionary(parameters: Parameters, header: Mapping[str, Any]) -> dict[str, Any]:
    """Return what :func:`write` would write as a dictionary of plain values, safe for JSON."""
    arrays = {name: part.tolist() for name, part in parameters._asdict().items()}
    return {**_complete(header), **arrays}


def from_dictionary(dictionary: Any) -> ModelFile:
    """Return what :func:`as_dictionary` was given; ModelFileError as in :func:`read`."""
    _check_header(dictionary, THE_DICTIONARY)
    try:
        arrays = {name: np.array(dictionary[name], dtype=np.float64) for name in Parameters._fields}
        parts = [_array(arrays, name, THE_DICTIONARY) for name in Parameters._fields]
    except (KeyError, TypeError, ValueError) as error:
        if isinstance(error, ModelFileError):
            raise
        raise damaged(THE_DICTIONARY) from error
    return ModelFile(Parameters(*parts), dictionary)


def _complete(header: Mapping[str, Any]) -> dict[str, Any]:
    full = {"format": FORMAT, "format_version": FORMAT_VERSION, "fastgmm": __version__, **header}
    plain: dict[str, Any] = json.loads(json.dumps(full, default=_plain))
    return plain


def _plain(value: Any) -> Any:
    """Turn what NumPy users set parameters to into what JSON knows."""
    return np.asarray(value).tolist()


def _array(archive: Any, name: str, path: str | PathLike[str]) -> Float64Array:
    array = archive[name]
    if array.dtype != np.float64 or not np.isfinite(array).all():
        raise ModelFileError(f"{os.fspath(path)} is damaged: its {name} are no finite numbers")
    return np.ascontiguousarray(array)


def _check_header(header: Any, path: str | PathLike[str]) -> None:
    if not isinstance(header, dict) or header.get("format") != FORMAT:
        raise damaged(path)
    version = header.get("format_version")
    if not isinstance(version, int) or version > FORMAT_VERSION:
        raise ModelFileError(
            f"{os.fspath(path)} has format version {version}, this fastgmm reads up to "
            f"{FORMAT_VERSION}: install fastgmm {header.get('fastgmm')} or later"
        )


def damaged(path: str | PathLike[str]) -> ModelFileError:
    """Return the error for a file, or the dictionary, whose contents make no model."""
    if path is THE_DICTIONARY:
        return ModelFileError(
            f"{THE_DICTIONARY} is not a fastgmm model's, or is damaged: give one that "
            "GaussianMixture.to_dict has made"
        )
    return ModelFileError(
        f"{os.fspath(path)} is not a fastgmm model file, or is damaged: name a file that "
        "GaussianMixture.save or fastgmm fit has written"
    )
