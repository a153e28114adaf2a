"""Models that come from elsewhere and go elsewhere: known parameters, files, JSON, scikit-learn."""

import math
import numbers
from collections.abc import Sequence
from os import PathLike
from typing import Any, Self

import numpy as np

from fastgmm import _sklearn, model_file
from fastgmm._typing import IntArray
from fastgmm.covariance import FAMILIES
from fastgmm.estimators.mixtures.mixture import Ended, Mixture
from fastgmm.estimators.settings import SETTINGS, check_settings, names_of
from fastgmm.model_file import ModelFile
from fastgmm.parameters import Parameters
from fastgmm.validation import check_array, check_setting, check_weights

DTYPES = ("float64", "float32")
"""What the public attributes of a model may be in."""

INFINITY = "inf"
"""In model files: a setting that is infinite, such as ``tol``."""


class PortableMixture(Mixture):
    """A mixture that is built from numbers and handed over as numbers."""

    init_params: Any

    @classmethod
    def from_parameters(
        cls,
        weights: Any,
        means: Any,
        covariances: Any = None,
        *,
        precisions: Any = None,
        covariance_type: str = "full",
    ) -> Self:
        """Return a model with the given parameters, without fitting.

        Parameters
        ----------
        weights : (k,) array-like
            In [0, 1], summing to 1.
        means : (k, d) array-like
        covariances, precisions : array-like
            One of the two, in the shape of ``covariance_type``.
        covariance_type : {"full", "tied", "diag", "spherical", "tied_diag", "tied_spherical"}

        Raises
        ------
        ValueError
            A shape is wrong, a number is not finite, the weights do not sum to 1, a covariance is
            not symmetric or not positive definite; the message names the component.

        Examples
        --------
        >>> from fastgmm import GaussianMixture
        >>> gm = GaussianMixture.from_parameters([0.25, 0.75], [[0.0], [2.0]], [[[1.0]], [[1.0]]])
        >>> gm.score_samples([[1.0]]).round(6)
        array([-1.418939])
        """
        check_setting(cls.__name__, "covariance_type", covariance_type, SETTINGS["covariance_type"])
        family = FAMILIES[covariance_type]
        shape = np.shape(means)
        if len(shape) != 2 or 0 in shape:
            raise ValueError(
                "The parameter 'means' should have the shape of (n_components, n_features), but "
                f"got {shape}: give a row for each component"
            )
        k, d = shape
        if (covariances is None) == (precisions is None):
            raise ValueError("Give either covariances or precisions")
        if covariances is None:
            precisions = check_array(f"{covariance_type} precision", precisions, family.shape(k, d))
            covariances = family.from_precisions(precisions)
        covariances = check_array("covariances", covariances, family.shape(k, d))
        family.check(covariances, "covariance")
        parameters = Parameters(
            check_weights(weights, k).copy(),
            check_array("means", means, (k, d)).copy(),
            covariances.copy(),
        )
        model = cls._made({})
        return model._with(parameters, np.dtype(np.float64), covariance_type=covariance_type)

    def _with(self, parameters: Parameters, dtype: np.dtype[np.floating], **settings: Any) -> Self:
        """Return a model with this one's settings, but for ``settings``, and these parameters.

        It has no checkpoint: that is the file of this one's fit.
        """
        kept = {"checkpoint": None, "resume": False}
        model = self._made({**self._all_settings(), **kept, **settings})
        model.n_components = len(parameters.weights)
        ended = Ended(False, 0, -math.inf, [], [])
        vars(model).update(model._attributes(parameters, dtype, ended))
        model._client = self._client
        return model

    def _all_settings(self) -> dict[str, Any]:
        """Return the settings, and what a subclass's constructor takes besides."""
        return {**self.get_params(), **self._settings()}

    @classmethod
    def _made(cls, settings: dict[str, Any]) -> Self:
        """Return a model of these settings: attributes where a subclass's constructor lacks them.

        Raises RuntimeError where a subclass's constructor wants what there is not.
        """
        names = cls._parameter_names()
        try:
            model = cls(**{name: settings[name] for name in names if name in settings})
        except TypeError as error:
            raise RuntimeError(
                f"{cls.__name__} cannot be made of a GaussianMixture's settings: {error}; give "
                "its own parameters defaults, or make a GaussianMixture"
            ) from error
        vars(model).update({name: settings[name] for name in settings if name not in names})
        return model

    def save(self, path: str | PathLike[str]) -> None:
        """Write the model to an ``.npz`` file without pickle, complete or not at all.

        The settings go along but for a RandomState and an ``init_params`` that is no name.
        """
        model_file.write(path, self._current(), self._header())

    @classmethod
    def load(cls, path: str | PathLike[str]) -> Self:
        """Read a model that :meth:`save` wrote.

        Raises
        ------
        fastgmm.exceptions.ModelFileError
            (a ValueError) The file is missing, damaged, foreign or of a newer format. Nothing in
            it is ever executed.
        """
        contents = model_file.read(path)
        try:
            return cls._restored(contents)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise model_file.damaged(path) from error

    def to_dict(self) -> dict[str, Any]:
        """Return the model as a dictionary of plain values, which JSON keeps bit for bit.

        Its parameters are the float64 ones; settings as in :meth:`save`.

        Examples
        --------
        >>> import json
        >>> from fastgmm import GaussianMixture
        >>> gm = GaussianMixture.from_parameters([0.1, 0.9], [[0.0], [2.0]], [[[1.0]], [[1.0]]])
        >>> text = json.dumps(gm.to_dict())
        >>> GaussianMixture.from_dict(json.loads(text)).weights_
        array([0.1, 0.9])
        """
        return model_file.as_dictionary(self._current(), self._header())

    @classmethod
    def from_dict(cls, dictionary: dict[str, Any]) -> Self:
        """Return the model that :meth:`to_dict` was called of.

        Raises
        ------
        fastgmm.exceptions.ModelFileError
            (a ValueError) The dictionary is not such a one, or is of a newer format.
        """
        contents = model_file.from_dictionary(dictionary)
        try:
            return cls._restored(contents)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise model_file.damaged(model_file.THE_DICTIONARY) from error

    def _header(self) -> dict[str, Any]:
        """Return what a model file says besides the parameters."""
        lower_bound = float(self.lower_bound_)
        return {
            "covariance_type": self.covariance_type,
            "dtype": np.asarray(self.means_).dtype.name,
            "converged": bool(self.converged_),
            "n_iter": int(self.n_iter_),
            "lower_bound": lower_bound if math.isfinite(lower_bound) else None,
            "lower_bounds": list(self.lower_bounds_),
            "collapsed": self.collapsed_.tolist(),
            "feature_names": list(getattr(self, "feature_names_in_", [])) or None,
            "settings": {
                name: _finite(value)
                for name, value in self._all_settings().items()
                if _is_saved(name, value)
            },
        }

    @classmethod
    def _restored(cls, contents: ModelFile) -> Self:
        """Return the model of a file; errors of many kinds where it is damaged."""
        parameters, header = contents
        model = cls._made(_restored_settings(header["settings"], cls._parameter_names()))
        check_settings(cls.__name__, model._settings())
        family = model._family
        k, d = parameters.means.shape
        dtype = DTYPES[DTYPES.index(header["dtype"])]
        weights = check_array("weights", parameters.weights, (k,))
        # given ones of float32 miss 1 by 1e-6; of a start where rows begin in no component by more
        if weights.min() < 0.0 or not 0.0 < weights.sum() <= 1.0 + 2e-6:
            raise ValueError(f"weights of {weights.tolist()} are no proportions")
        check_array("covariances", parameters.covariances, family.shape(k, d))
        family.check(parameters.covariances, "covariance")
        lower_bound = header["lower_bound"]
        ended = Ended(
            bool(header["converged"]),
            int(header["n_iter"]),
            -math.inf if lower_bound is None else float(lower_bound),
            [float(bound) for bound in header["lower_bounds"]],
            [],
            _components(header.get("collapsed", []), k),
        )
        vars(model).update(model._attributes(parameters, np.dtype(dtype), ended))
        if header["feature_names"]:
            model.feature_names_in_ = np.array(header["feature_names"], dtype=object)
        return model

    def to_sklearn(self) -> Any:
        """Return a fitted ``sklearn.mixture.GaussianMixture`` that predicts the same.

        Settings that scikit-learn has go along, ``tol="statistical"`` and an ``init_params`` that
        is no name do not. A shape that it lacks becomes "full".

        Raises
        ------
        ImportError
            scikit-learn is not installed.

        Examples
        --------
        >>> from fastgmm import GaussianMixture
        >>> gm = GaussianMixture.from_parameters([0.25, 0.75], [[0.0], [2.0]], [[[1.0]], [[1.0]]])
        >>> gm.to_sklearn().predict([[-1.0], [3.0]])
        array([0, 1])
        """
        try:
            theirs = _sklearn.asked_for("sklearn.mixture").GaussianMixture
        except ImportError:
            raise ImportError("to_sklearn needs scikit-learn: pip install scikit-learn") from None
        parameters, covariance_type = self._current(), self.covariance_type
        if covariance_type not in _sklearn.COVARIANCE_TYPES:
            parameters = parameters._replace(covariances=self.covariance_matrices())
            covariance_type = "full"
        model = theirs(**self._settings_for(theirs().get_params(), covariance_type))
        family, dtype = FAMILIES[covariance_type], np.asarray(self.means_).dtype
        factors = family.precisions_cholesky(parameters)
        for name, part in (
            *parameters._asdict().items(),
            ("precisions_cholesky", factors),
            ("precisions", family.precisions(factors)),
        ):
            setattr(model, f"{name}_", part.astype(dtype))
        for name in ("converged_", "n_iter_", "lower_bound_", "lower_bounds_", "n_features_in_"):
            setattr(model, name, getattr(self, name))
        if hasattr(self, "feature_names_in_"):
            model.feature_names_in_ = self.feature_names_in_
        return model

    def _settings_for(self, defaults: dict[str, Any], covariance_type: str) -> dict[str, Any]:
        """Return the settings that scikit-learn has, with its own values where it lacks ours."""
        mine = self._settings()
        settings = {name: mine[name] for name in defaults}
        settings["n_components"] = len(self.weights_)
        for name in ("tol", "init_params"):
            if isinstance(settings[name], str) != isinstance(defaults[name], str):
                settings[name] = defaults[name]
        if covariance_type != self.covariance_type:
            settings |= {"covariance_type": covariance_type, "precisions_init": None}
        return settings


def _is_saved(name: str, value: Any) -> bool:
    if isinstance(value, np.random.RandomState) or name in ("checkpoint", "resume"):
        return False
    return name != "init_params" or isinstance(value, str)


def _finite(value: Any) -> Any:
    """Return a setting as strict JSON has it, which knows no infinity."""
    return INFINITY if isinstance(value, numbers.Real) and value == math.inf else value


def _restored_settings(saved: dict[str, Any], own: Sequence[str]) -> dict[str, Any]:
    """Return those of the saved settings that a model has, as :func:`_finite` was given them."""
    known = {*SETTINGS, *own}
    settings: dict[str, Any] = {
        name: math.inf if value == INFINITY else value
        for name, value in saved.items()
        if name in known
    }
    if "fixed" in settings:  # JSON made the tuple a list
        settings["fixed"] = names_of(settings["fixed"])
    return settings


def _components(numbers: list[int], k: int) -> IntArray:
    components = np.array(numbers, np.int64)
    if not np.isin(components, np.arange(k)).all():
        raise ValueError("no such component")
    return components
