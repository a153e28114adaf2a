"""A mixture with parameters: published, changed by hand, made without a fit, saved and loaded."""

import math
from os import PathLike
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from fastgmm import model_file
from fastgmm._typing import Float64Array, IntArray, LabelArray
from fastgmm.covariance import FAMILIES, CovarianceFamily
from fastgmm.estimators.callbacks import Iteration
from fastgmm.estimators.scikit_learn import ScikitLearnEstimator
from fastgmm.estimators.settings import SETTINGS, check_settings
from fastgmm.exceptions import NotFittedError
from fastgmm.parameters import Parameters
from fastgmm.validation import as_random_state, check_array, check_setting, check_weights


class Ended(NamedTuple):
    """How a fit ended: public attributes of the same names."""

    converged_: bool
    n_iter_: int
    lower_bound_: float
    lower_bounds_: list[float]
    history_: list[Iteration]
    collapsed_: IntArray = np.empty(0, np.int64)


class Mixture(ScikitLearnEstimator):
    """A mixture of k normal distributions in d features.

    The float64 parameters are kept beside the public attributes, which have the data's dtype; an
    attribute that was changed by hand counts.
    """

    n_components: int
    covariance_type: str
    random_state: Any
    _exact: Parameters
    _factors: NDArray[np.floating[Any]]
    """``precisions_cholesky_`` as it was published."""
    _fitted_type: str
    weights_: Float64Array
    means_: Float64Array
    covariances_: Float64Array
    precisions_: Float64Array
    precisions_cholesky_: Float64Array
    converged_: bool
    n_iter_: int
    lower_bound_: float
    lower_bounds_: list[float]
    history_: list[Iteration]
    collapsed_: IntArray
    n_features_in_: int
    feature_names_in_: NDArray[np.object_]

    @property
    def _family(self) -> CovarianceFamily:
        return FAMILIES[self.covariance_type]

    def _attributes(
        self, parameters: Parameters, dtype: np.dtype[np.floating], ended: Ended
    ) -> dict[str, Any]:
        """Return what a fitted model is: attributes in the data's dtype, and the float64 ones."""
        exact_factors = self._family.precisions_cholesky(parameters)
        factors = exact_factors.astype(dtype)
        return {
            "_exact": parameters,
            "_factors": factors,
            "_fitted_type": self.covariance_type,
            "weights_": parameters.weights.astype(dtype),
            "means_": parameters.means.astype(dtype),
            "covariances_": parameters.covariances.astype(dtype),
            "precisions_cholesky_": factors,
            "precisions_": self._family.precisions(exact_factors).astype(dtype),
            "n_features_in_": parameters.means.shape[1],
            **ended._asdict(),
        }

    def _current(self) -> Parameters:
        """Return the float64 parameters, or the public attributes where the user set them."""
        self._check_is_fitted()
        exact: Parameters | None = getattr(self, "_exact", None)
        if exact is not None and self._is_as_published(exact):
            return exact
        k, d = (self.n_components, np.shape(self.means_)[1]) if exact is None else exact.means.shape
        fitted_type = getattr(self, "_fitted_type", self.covariance_type)
        shapes = (k,), (k, d), self._family.shape(k, d)
        public = self.weights_, self.means_, self._public_covariances(exact)
        for name, part, shape in zip(Parameters._fields, public, shapes, strict=True):
            if self.covariance_type != fitted_type or np.shape(part) != shape:
                raise ValueError(
                    f"{name}_ has shape {np.shape(part)} and is of covariance_type "
                    f"{fitted_type!r}, but {shape} of type {self.covariance_type!r} is "
                    "needed: set all parameters alike, or fit again"
                )
        return Parameters(*(np.ascontiguousarray(part, dtype=np.float64) for part in public))

    def _is_as_published(self, exact: Parameters) -> bool:
        public = self.weights_, self.means_, self.covariances_
        return (
            self.covariance_type == self._fitted_type
            and self.precisions_cholesky_ is self._factors
            and all(
                np.array_equal(shown, part.astype(np.asarray(shown).dtype))
                for shown, part in zip(public, exact, strict=True)
            )
        )

    def _public_covariances(self, exact: Parameters | None) -> Any:
        """Return ``covariances_``; what precisions_cholesky_ says where only that was set."""
        covariances = getattr(self, "covariances_", None)
        factors = getattr(self, "precisions_cholesky_", None)
        untouched = covariances is None or (
            exact is not None
            and np.array_equal(covariances, exact.covariances.astype(np.asarray(covariances).dtype))
        )
        if untouched and factors is not getattr(self, "_factors", None):
            precisions = self._family.precisions(np.asarray(factors, dtype=np.float64))
            return self._family.from_precisions(precisions)
        return covariances

    def _check_is_fitted(self) -> None:
        names = ("covariances_", "precisions_cholesky_")
        shape = any(hasattr(self, name) for name in names)
        if not (hasattr(self, "weights_") and hasattr(self, "means_") and shape):
            raise NotFittedError(
                f"This {type(self).__name__} instance is not fitted yet. Call 'fit' with "
                "appropriate arguments before using this estimator."
            )

    def _n_parameters(self) -> int:
        """Return the number of free parameters."""
        k, d = self._current().means.shape
        return self._family.n_parameters(k, d) + k * d + k - 1

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
        covariance_type : {"full", "tied", "diag", "spherical"}

        Raises
        ------
        ValueError
            A shape is wrong, the weights do not sum to 1, a matrix is not positive definite.

        Examples
        --------
        >>> from fastgmm import GaussianMixture
        >>> gm = GaussianMixture.from_parameters([0.25, 0.75], [[0.0], [2.0]], [[[1.0]], [[1.0]]])
        >>> gm.score_samples([[1.0]]).round(6)
        array([-1.418939])
        """
        check_setting(cls.__name__, "covariance_type", covariance_type, SETTINGS["covariance_type"])
        family = FAMILIES[covariance_type]
        means = np.atleast_2d(np.asarray(means, dtype=np.float64))
        k, d = means.shape
        if (covariances is None) == (precisions is None):
            raise ValueError("Give either covariances or precisions")
        if covariances is None:
            name = f"{covariance_type} precision"
            covariances = family.from_precisions(check_array(name, precisions, family.shape(k, d)))
        parameters = Parameters(
            check_weights(weights, k),
            check_array("means", means, (k, d)),
            check_array("covariances", covariances, family.shape(k, d)),
        )
        full = family.dense(parameters.covariances, k, d)
        if not np.allclose(full, np.swapaxes(full, 1, 2)):
            raise ValueError(f"'{covariance_type} covariance' should be symmetric")
        model = cls().set_params(n_components=k, covariance_type=covariance_type)
        ended = Ended(False, 0, -math.inf, [], [])
        vars(model).update(model._attributes(parameters, np.dtype(np.float64), ended))
        return model

    def sample(self, n_samples: int = 1) -> tuple[Float64Array, LabelArray]:
        """Draw rows from the mixture, grouped by component, with ``random_state``.

        Parameters
        ----------
        n_samples : int
            Number of rows; an integer ``random_state`` gives the same ones at every call.

        Returns
        -------
        X : (n_samples, d) float64 array
        y : (n_samples,) int64 array
            The component of each row.

        Raises
        ------
        NotFittedError, ValueError
            There are no parameters; ``n_samples`` is less than 1.

        Examples
        --------
        >>> from fastgmm import GaussianMixture
        >>> gm = GaussianMixture.from_parameters([0.25, 0.75], [[0.0], [2.0]], [[[1.0]], [[1.0]]])
        >>> X, y = gm.set_params(random_state=0).sample(1000)
        >>> bool(0.7 < y.mean() < 0.8)
        True
        """
        parameters = self._current()
        if n_samples < 1:
            raise ValueError(
                f"Invalid value for 'n_samples': {n_samples} . The sampling requires at least one "
                "sample."
            )
        random_state = as_random_state(self.random_state)
        # normalised once more: float32 weights need not sum to 1 in float64
        counts = random_state.multinomial(n_samples, parameters.weights / parameters.weights.sum())
        rows = self._family.draw(parameters, counts, random_state)
        return rows, np.repeat(np.arange(len(counts)), counts)

    def save(self, path: str | PathLike[str]) -> None:
        """Write the model to an ``.npz`` file without pickle, complete or not at all.

        The settings go along but for a RandomState and an ``init_params`` that is no name.
        """
        parameters = self._current()
        header = {
            "covariance_type": self.covariance_type,
            "dtype": self.means_.dtype.name,
            "converged": self.converged_,
            "n_iter": self.n_iter_,
            "lower_bound": self.lower_bound_,
            "lower_bounds": list(self.lower_bounds_),
            "collapsed": self.collapsed_.tolist(),
            "feature_names": list(getattr(self, "feature_names_in_", [])) or None,
            "settings": {
                name: value.tolist() if isinstance(value, np.ndarray) else value
                for name, value in self.get_params().items()
                if _is_saved(name, value)
            },
        }
        model_file.write(path, parameters, header)

    @classmethod
    def load(cls, path: str | PathLike[str]) -> Self:
        """Read a model that :meth:`save` wrote.

        Raises
        ------
        fastgmm.exceptions.ModelFileError
            (a ValueError) The file is missing, damaged, foreign or of a newer format. Nothing in
            it is ever executed.
        """
        parameters, header = model_file.read(path)
        try:
            known = set(cls._parameter_names())
            model = cls(**{n: v for n, v in header["settings"].items() if n in known})
            check_settings(cls.__name__, model.get_params())
            k, d = parameters.means.shape
            check_array("weights", parameters.weights, (k,))
            check_array("covariances", parameters.covariances, model._family.shape(k, d))
            ended = Ended(
                bool(header["converged"]),
                int(header["n_iter"]),
                float(header["lower_bound"]),
                [float(bound) for bound in header["lower_bounds"]],
                [],
                np.array(header.get("collapsed", []), np.int64),
            )
            dtype = np.dtype(header["dtype"])
            vars(model).update(model._attributes(parameters, dtype, ended))
            if header["feature_names"]:
                model.feature_names_in_ = np.array(header["feature_names"], dtype=object)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise model_file.damaged(path) from error
        return model


def _is_saved(name: str, value: Any) -> bool:
    if isinstance(value, np.random.RandomState) or name in ("checkpoint", "resume"):
        return False
    return name != "init_params" or isinstance(value, str)
