"""The model file: an .npz without pickle, complete or absent, safe to load from strangers."""

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


class ModelFile(NamedTuple):
    """What a model file holds."""

    parameters: Parameters
    header: dict[str, Any]
    """JSON: covariance_type, how the fit ended, the settings, the columns."""


def write(path: str | PathLike[str], parameters: Parameters, header: Mapping[str, Any]) -> None:
    """Write a model file, complete or not at all.

    Raises OSError if the folder cannot be written; what was at ``path`` then is untouched.
    """
    full = {"format": FORMAT, "format_version": FORMAT_VERSION, "fastgmm": __version__, **header}
    text = np.frombuffer(json.dumps(full, default=_plain).encode(), dtype=np.uint8)
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
        raise ModelFileError(f"{os.fspath(path)} is not a fastgmm model file")
    version = header.get("format_version")
    if not isinstance(version, int) or version > FORMAT_VERSION:
        raise ModelFileError(
            f"{os.fspath(path)} has format version {version}, this fastgmm reads up to "
            f"{FORMAT_VERSION}: install fastgmm {header.get('fastgmm')} or later"
        )


def damaged(path: str | PathLike[str]) -> ModelFileError:
    """Return the error for a file whose contents make no model."""
    return ModelFileError(
        f"{os.fspath(path)} is not a fastgmm model file, or is damaged: name a file that "
        "GaussianMixture.save or fastgmm fit has written"
    )
