"""The model file: parameters and how they came about, safe to load from strangers."""

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
    name="model",
    error=ModelFileError,
    missing="fit a model and save it first",
    damaged="name a file that GaussianMixture.save or fastgmm fit has written",
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
    archive.write(path, KIND, header, parameters._asdict(), _plain)


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


def _plain(value: Any) -> Any:
    """Turn what NumPy users set parameters to into what JSON knows."""
    return np.asarray(value).tolist()


def _array(array: Any, name: str, path: str | PathLike[str]) -> Float64Array:
    if array.dtype != np.float64 or not np.isfinite(array).all():
        raise ModelFileError(f"{path} is damaged: its {name} are no finite numbers")
    return np.ascontiguousarray(array)


def damaged(path: str | PathLike[str]) -> FastGMMError:
    """Return the error for a file whose contents make no model."""
    return KIND.damage(path)
