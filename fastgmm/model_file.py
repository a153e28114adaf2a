"""The model file: an .npz without pickle, complete or absent, safe to load from strangers.

The same contents are a dictionary for JSON, where a file is not what is wanted.
"""

from collections.abc import Mapping
from os import PathLike
from typing import Any, NamedTuple

import numpy as np

from fastgmm import archive
from fastgmm._typing import Float64Array
from fastgmm.exceptions import FastGMMError, ModelFileError
from fastgmm.parameters import Parameters

KIND = archive.Kind(
    format="fastgmm-model",
    version=1,
    name="model file",
    error=ModelFileError,
    missing="fit a model and save it first",
    damaged="name a file that GaussianMixture.save or fastgmm fit has written",
)

THE_DICTIONARY = "The dictionary"
"""In messages, in the place of a path."""

DICTIONARY_KIND = KIND._replace(
    name="model's", damaged="give one that GaussianMixture.to_dict has made"
)


class ModelFile(NamedTuple):
    """What a model file holds."""

    parameters: Parameters
    header: dict[str, Any]
    """JSON: covariance_type, how the fit ended, the settings, the columns."""


def write(path: str | PathLike[str], parameters: Parameters, header: Mapping[str, Any]) -> None:
    """Write a model file, complete or not at all.

    Raises OSError if the folder cannot be written; what was at ``path`` then is untouched.
    """
    archive.write(path, KIND, archive.plain_header(KIND, header, _plain), parameters._asdict())


def read(path: str | PathLike[str]) -> ModelFile:
    """Read a model file.

    Raises
    ------
    ModelFileError
        The file is missing, damaged, foreign or of a newer format.
    """
    header, arrays = archive.read(path, KIND)
    if not set(Parameters._fields) <= arrays.keys():
        raise damaged(path)
    return ModelFile(Parameters(*(_array(arrays[n], n, path) for n in Parameters._fields)), header)


def as_dictionary(parameters: Parameters, header: Mapping[str, Any]) -> dict[str, Any]:
    """Return what :func:`write` would write as a dictionary of plain values, safe for JSON."""
    arrays = {name: part.tolist() for name, part in parameters._asdict().items()}
    return {**archive.plain_header(KIND, header, _plain), **arrays}


def from_dictionary(dictionary: Any) -> ModelFile:
    """Return what :func:`as_dictionary` was given; ModelFileError as in :func:`read`."""
    archive.check_header(dictionary, THE_DICTIONARY, DICTIONARY_KIND)
    try:
        arrays = [np.array(dictionary[name], dtype=np.float64) for name in Parameters._fields]
    except (KeyError, TypeError, ValueError) as error:
        raise damaged(THE_DICTIONARY) from error
    named = zip(arrays, Parameters._fields, strict=True)
    return ModelFile(Parameters(*(_array(*one, THE_DICTIONARY) for one in named)), dictionary)


def _plain(value: Any) -> Any:
    """Turn what NumPy users set parameters to into what JSON knows."""
    return np.asarray(value).tolist()


def _array(array: Any, name: str, path: str | PathLike[str]) -> Float64Array:
    if array.dtype != np.float64 or not np.isfinite(array).all():
        raise ModelFileError(f"{path} is damaged: its {name} are no finite numbers")
    return np.ascontiguousarray(array)


def damaged(path: str | PathLike[str]) -> FastGMMError:
    """Return the error for a file, or the dictionary, whose contents make no model."""
    return (DICTIONARY_KIND if path is THE_DICTIONARY else KIND).damage(path)
