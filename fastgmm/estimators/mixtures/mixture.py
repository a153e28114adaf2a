"""A mixture with parameters: published, changed by hand, counted, drawn from."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastgmm._typing import Float64Array, IntArray, LabelArray
from fastgmm.covariance import FAMILIES, CovarianceFamily, Density
from fastgmm.estimators.callbacks import Iteration
from fastgmm.estimators.scikit_learn import ScikitLearnEstimator
from fastgmm.estimators.settings import SETTINGS, names_of
from fastgmm.exceptions import NotFittedError
from fastgmm.maximization import n_free_parameters
from fastgmm.parameters import Parameters
from fastgmm.validation import as_random_state, whole_number


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
    fixed: Any
    _exact: Parameters
    _factors: NDArray[np.floating[Any]]
    """``precisions_cholesky_`` as it was published."""
    _densities: dict[np.dtype[np.floating], Density]
    """What predictions are made with, by the dtype of rows: of the parameters as published."""
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

    def _settings(self) -> dict[str, Any]:
        """Return GaussianMixture's settings, of which a subclass's constructor may lack some."""
        return {name: getattr(self, name) for name in SETTINGS}

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
            "_factors": factors.copy(),  # the public ones may be changed in place
            "_densities": {},
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
            # of two types they may have the same shape
            typed = name == "covariances" and fitted_type != self.covariance_type
            if typed or np.shape(part) != shape:
                given, wanted = f"shape {np.shape(part)}", f"shape {shape}"
                if typed:
                    given += f" of covariance_type {fitted_type!r}"
                    wanted += f" of covariance_type {self.covariance_type!r}"
                raise ValueError(
                    f"{name}_ has {given}, but {wanted} is needed: set all parameters alike, or "
                    "fit again"
                )
        return Parameters(*(np.ascontiguousarray(part, dtype=np.float64) for part in public))

    def _is_as_published(self, exact: Parameters) -> bool:
        public = self.weights_, self.means_, self.covariances_
        return (
            self.covariance_type == self._fitted_type
            and np.array_equal(self.precisions_cholesky_, self._factors)
            and all(
                np.array_equal(shown, part.astype(np.asarray(shown).dtype, copy=False))
                for shown, part in zip(public, exact, strict=True)
            )
        )

    def _public_covariances(self, exact: Parameters | None) -> Any:
        """Return ``covariances_``; what precisions_cholesky_ says where only that was set."""
        covariances = getattr(self, "covariances_", None)
        factors: Any = getattr(self, "precisions_cholesky_", None)
        published: Any = getattr(self, "_factors", None)
        untouched = covariances is None or (
            exact is not None
            and np.array_equal(covariances, exact.covariances.astype(np.asarray(covariances).dtype))
        )
        if untouched and not np.array_equal(factors, published):
            precisions = self._family.precisions(np.asarray(factors, dtype=np.float64))
            return self._family.from_precisions(precisions)
        return covariances

    def __getstate__(self) -> dict[str, Any]:
        state = super().__getstate__()
        if "_densities" in state:
            state["_densities"] = {}
        return state

    def _check_is_fitted(self) -> None:
        names = ("covariances_", "precisions_cholesky_")
        shape = any(hasattr(self, name) for name in names)
        if not (hasattr(self, "weights_") and hasattr(self, "means_") and shape):
            raise NotFittedError(
                f"This {type(self).__name__} instance is not fitted yet. Call 'fit' with "
                "appropriate arguments before using this estimator."
            )

    def covariance_matrices(self) -> Float64Array:
        """Return the covariances as matrices (k, d, d) in float64, whatever their type.

        Examples
        --------
        >>> from fastgmm import GaussianMixture
        >>> gm = GaussianMixture.from_parameters(
        ...     [0.5, 0.5], [[0.0, 1.0], [2.0, 3.0]], [4.0, 9.0], covariance_type="spherical")
        >>> gm.covariance_matrices()[1]
        array([[9., 0.],
               [0., 9.]])
        """
        parameters = self._current()
        matrices = self._family.dense(parameters.covariances, *parameters.means.shape)
        return np.array(matrices)  # not the model's own

    def _n_parameters(self) -> int:
        """Return the number of free parameters: without those that are fixed."""
        k, d = self._current().means.shape
        return n_free_parameters(self._family, k, d, names_of(self.fixed))

    def sample(
        self, n_samples: int = 1, *, random_state: Any = None
    ) -> tuple[Float64Array, LabelArray]:
        """Draw rows from the mixture, grouped by component.

        Parameters
        ----------
        n_samples : int
            Number of rows.
        random_state : int, RandomState or None
            None: the estimator's own, which gives the same rows at every call if it is an integer.

        Returns
        -------
        X : (n_samples, d) float64 array
        y : (n_samples,) int64 array
            The component of each row.

        Raises
        ------
        NotFittedError, ValueError
            There are no parameters; ``n_samples`` is no whole number or less than 1;
            ``random_state`` is no seed.

        Examples
        --------
        >>> from fastgmm import GaussianMixture
        >>> gm = GaussianMixture.from_parameters([0.25, 0.75], [[0.0], [2.0]], [[[1.0]], [[1.0]]])
        >>> X, y = gm.sample(1000, random_state=0)
        >>> bool(0.7 < y.mean() < 0.8)
        True
        """
        parameters = self._current()
        n_samples = whole_number("n_samples", n_samples)
        if n_samples < 1:
            raise ValueError(
                f"Invalid value for 'n_samples': {n_samples} . The sampling requires at least one "
                "sample."
            )
        draws = as_random_state(self.random_state if random_state is None else random_state)
        # normalised once more: float32 weights need not sum to 1 in float64
        counts = draws.multinomial(n_samples, parameters.weights / parameters.weights.sum())
        rows = self._family.draw(parameters, counts, draws)
        return rows, np.repeat(np.arange(len(counts)), counts)
