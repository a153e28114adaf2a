"""GaussianMixture: scikit-learn's estimator, on data of any size."""

import math
import time
import warnings
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from os import PathLike
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from fastgmm import em, model_file, sinks
from fastgmm._typing import Float64Array, IntArray, LabelArray
from fastgmm.collapse import ON_COLLAPSE
from fastgmm.covariance import FAMILIES, CovarianceFamily, Density
from fastgmm.estimators.base import Estimator
from fastgmm.estimators.verbose import Verbose
from fastgmm.exceptions import ConvergenceWarning, DataError, NotFittedError
from fastgmm.executors import Placement, executor_for
from fastgmm.executors.threads import available_threads
from fastgmm.expectation import PREDICTIONS, Scoring, column_names
from fastgmm.initialization import STARTS, StartRows, first_parameters, survey
from fastgmm.maximization import REGULARIZATIONS, count_floor
from fastgmm.parameters import Parameters
from fastgmm.progress import Event, FitBegan, FitEnded, Observer, PassBegan, RowsDone
from fastgmm.sources import Source, as_source, check_columns
from fastgmm.validation import (
    check_array,
    check_choice,
    check_integer,
    check_random_state,
    check_real,
    check_weights,
)


class GaussianMixture(Estimator):
    """Gaussian mixture fitted by expectation-maximisation, in memory, out of core or on a cluster.

    The parameters up to ``verbose_interval`` are scikit-learn's, with its names, order and
    defaults; the others are ours and keyword-only. All of them are plain values.

    Parameters
    ----------
    n_components : int
        Number of components k.
    covariance_type : {"full", "tied", "diag", "spherical"}
        Shape of the covariance matrices.
    tol : float or "statistical"
        Stop when the mean log likelihood per row (nats) gains less than this in an iteration.
        ``"statistical"``: when less than 0.01 nats of *total* log likelihood are left to gain
        (projected by Aitken's rule), which leaves every parameter well within its standard error
        at any number of rows.
    reg_covar : float
        Added to the diagonal of every covariance matrix.
    max_iter : int
        Most EM iterations; 0 gives the start.
    n_init : int
        Number of starts; they share the passes over the data, and the best is kept.
    init_params : {"kmeans", "k-means++", "random", "random_from_data"}
        How starts are made. Up to 2^23 elements (n d) from all rows with scikit-learn's draws;
        above from a sample of rows drawn by a hash of their index.
    weights_init, means_init, precisions_init : array-like, optional
        Start parameters, (k,), (k, d) and the shape of ``precisions_``; they replace those of the
        start by ``init_params``.
    random_state : int, RandomState or None
        Seed of starts and of :meth:`sample`.
    warm_start : bool
        Go on from the parameters of the last fit.
    verbose : int
        0 silent, 1 a line every ``verbose_interval`` iterations, 2 with seconds and gains.
    verbose_interval : int
        Iterations between two lines.
    n_threads : int, optional
        Threads in this process; by default the processors it may use.
    chunk_size : int, optional
        Rows a block. The same data with the same block size give the same bits anywhere.
    persist : {"auto", True, False}
        On a cluster: whether a Dask collection is kept in the workers' memory between passes.
        "auto" keeps what fits in half of it.
    missing : {"raise", "drop"}
        Whether rows with NaN are an error or left out of ``fit``.
    regularization : {"absolute", "relative"}
        "absolute": ``reg_covar`` is a variance, the same in every column. "relative": it is a share
        of each column's variance, so that a fit does not depend on the columns' units (1e-6 then
        bounds standard deviations at a thousandth of the column's); a constant column counts as of
        variance 1, and a wild outlier widens its columns' ridge with their variance. A positive
        ``reg_covar`` that is lost in the rounding of a covariance is raised there, with a warning.
    on_collapse : {"keep", "raise", "reseed"}
        What is done about a component that has collapsed: one that holds at most m + 1/2 rows (m is
        n_features for "full", 1 for "diag" and "spherical", 0 for "tied"; a row counts by the mean
        weight), or whose variance in every column is at most twice what ``reg_covar`` adds. "keep"
        goes on, "raise" raises CollapseError, "reseed" starts the component anew on the rows of the
        lowest log density, at most 5 times; the lower bound may fall at such an iteration.

    Attributes
    ----------
    weights_ : (k,) array
    means_ : (k, d) array
    covariances_ : array
        full (k, d, d), tied (d, d), diag (k, d), spherical (k,).
    precisions_, precisions_cholesky_ : array
        Inverses of the covariances and their Cholesky factors, in the same shapes; matrices U are
        upper triangular with U U^T = precision.
    converged_ : bool
    n_iter_ : int
    lower_bound_ : float
        Mean log likelihood per row (nats) in the last E-step, before the last M-step.
    lower_bounds_ : list of float
        The same after each iteration of the best start.
    collapsed_ : (m,) array of int
        Components that had collapsed (see ``on_collapse``) in the last iteration and were kept.
    n_features_in_ : int
    feature_names_in_ : (d,) array of str
        Only where the data have column names.

    Raises
    ------
    fastgmm.exceptions.DataError
        (a ValueError) The rows cannot be used; the message names row and column.
    fastgmm.exceptions.IllDefinedCovarianceError
        (a ValueError) A covariance is not positive definite and ``reg_covar`` is 0.
    fastgmm.exceptions.CollapseError
        (a ValueError) A component has collapsed and ``on_collapse`` is "raise".

    Notes
    -----
    EM and the update formulas: Bishop, Pattern Recognition and Machine Learning (2006), 9.2.

    Examples
    --------
    >>> import numpy as np
    >>> from fastgmm import GaussianMixture
    >>> X = np.array([[1, 2], [1, 4], [1, 0], [10, 2], [10, 4], [10, 0]])
    >>> gm = GaussianMixture(n_components=2, random_state=0).fit(X)
    >>> gm.means_.round(6)
    array([[10.,  2.],
           [ 1.,  2.]])
    >>> gm.predict([[0, 0], [12, 3]])
    array([1, 0])
    """

    weights_: Float64Array
    means_: Float64Array
    covariances_: Float64Array
    precisions_: Float64Array
    precisions_cholesky_: Float64Array
    converged_: bool
    n_iter_: int
    lower_bound_: float
    lower_bounds_: list[float]
    collapsed_: IntArray
    n_features_in_: int
    feature_names_in_: NDArray[np.object_]

    def __init__(
        self,
        n_components: int = 1,
        *,
        covariance_type: str = "full",
        tol: float | str = 1e-3,
        reg_covar: float = 1e-6,
        max_iter: int = 100,
        n_init: int = 1,
        init_params: str = "kmeans",
        weights_init: Any = None,
        means_init: Any = None,
        precisions_init: Any = None,
        random_state: Any = None,
        warm_start: bool = False,
        verbose: int = 0,
        verbose_interval: int = 10,
        n_threads: int | None = None,
        chunk_size: int | None = None,
        persist: bool | str = "auto",
        missing: str = "raise",
        regularization: str = "absolute",
        on_collapse: str = "keep",
    ) -> None:
        self.n_components = n_components
        self.covariance_type = covariance_type
        self.tol = tol
        self.reg_covar = reg_covar
        self.max_iter = max_iter
        self.n_init = n_init
        self.init_params = init_params
        self.weights_init = weights_init
        self.means_init = means_init
        self.precisions_init = precisions_init
        self.random_state = random_state
        self.warm_start = warm_start
        self.verbose = verbose
        self.verbose_interval = verbose_interval
        self.n_threads = n_threads
        self.chunk_size = chunk_size
        self.persist = persist
        self.missing = missing
        self.regularization = regularization
        self.on_collapse = on_collapse

    # ------------------------------------------------------------------ fitting

    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> Self:
        """Estimate the parameters.

        Parameters
        ----------
        X : (n, d) array, memory map, data frame, path, data set or Dask collection
            The rows. A data set is what :func:`fastgmm.open_dataset` returns.
        y : ignored
        sample_weight : (n,) array, optional
            Frequencies of the rows: integer weights equal repeated rows. For files, name a column
            in ``open_dataset``.

        Returns
        -------
        self
        """
        with closing(self._place(X, sample_weight)) as placement:
            self._fit(placement)
        return self

    def fit_predict(self, X: Any, y: Any = None, sample_weight: Any = None) -> LabelArray:
        """Fit and return the labels (n,) of the rows: one more pass, equal to ``predict``."""
        with closing(self._place(X, sample_weight)) as placement:
            if getattr(placement.source, "n_dropped", 0):
                raise DataError(
                    "fit_predict cannot label rows with missing values: fit with missing='drop', "
                    "then predict complete rows"
                )
            self._fit(placement)
            labels: LabelArray = sinks.to_array(
                self._predictions("label", placement), placement.grid.n_samples
            )
        return labels

    def _place(self, X: Any, sample_weight: Any) -> Placement:
        self._check_settings()
        source = as_source(X, sample_weight=sample_weight, missing=self.missing)
        return self._executor_for(source).place(source, self.chunk_size)

    def _executor_for(self, source: Source) -> Any:
        return executor_for(source, self.n_threads, self._client, self.persist)

    def _fit(self, placement: Placement) -> None:
        began = time.perf_counter()
        source, n_samples = placement.source, placement.grid.n_samples
        cold = not (self.warm_start and hasattr(self, "converged_"))
        if not cold:
            self._check_columns(source)
            if len(self._exact.weights) != self.n_components:
                raise ValueError(
                    f"warm_start goes on with {len(self._exact.weights)} components, but "
                    f"n_components is {self.n_components}: set warm_start=False to start anew"
                )
        verbose = Verbose(self.verbose, self.verbose_interval)
        observers: tuple[Observer, ...] = (*self._observers, verbose)

        def observe(event: Event) -> None:
            for observer in observers:
                observer(event)

        given = self._given_parameters(source.n_features)
        draws = cold and any(part is None for part in given)
        n_init = self.n_init if draws else 1
        observe(FitBegan(n_samples, source.n_features, n_init))
        observe(PassBegan("checking", n_samples))
        random_state = check_random_state(self.random_state) if draws else None
        regularization = REGULARIZATIONS[self.regularization]
        constants, start_rows = survey(
            placement,
            self.n_components,
            random_state,
            lambda rows: observe(RowsDone(rows)),
            variances=regularization.needs_variances,
        )
        ridge = regularization.ridge(self.reg_covar, constants.variances)
        if start_rows is not None and random_state is not None:
            observe(PassBegan("start", n_samples))
            starts = [
                em.Start(self.covariance_type, self._start(start_rows, random_state, given, ridge))
                for _ in range(n_init)
            ]
        elif cold:
            starts = [em.Start(self.covariance_type, Parameters(*given))]  # type: ignore[arg-type]
        else:
            starts = [em.Start(self.covariance_type, self._current(), self.lower_bound_)]
        del start_rows
        settings = em.Settings(self.tol, self.max_iter, ridge, self.on_collapse)  # type: ignore[arg-type]
        fits = em.run(placement, starts, settings, constants, observe)
        best = max(range(len(fits)), key=lambda i: fits[i].lower_bound)
        self._publish(fits[best], source)
        seconds = time.perf_counter() - began
        observe(FitEnded(best, self.n_iter_, self.converged_, self.lower_bound_, seconds))
        if fits[best].lift > 0.0:
            warnings.warn(
                f"reg_covar={self.reg_covar:g} is lost in the rounding of some covariances: up to "
                f"{fits[best].lift:.1e} of their variances was added instead, so that they can be "
                "inverted. Leave out columns that follow from others, scale the columns, or set "
                "regularization='relative'.",
                stacklevel=3,
            )
        if not self.converged_ and self.max_iter > 0:
            warnings.warn(
                "Best performing initialization did not converge. Try different init parameters, "
                "or increase max_iter, tol, or check for degenerate data.",
                ConvergenceWarning,
                stacklevel=3,
            )

    def _start(
        self,
        start_rows: StartRows,
        random_state: np.random.RandomState,
        given: tuple[Float64Array | None, Float64Array | None, Float64Array | None],
        ridge: Float64Array,
    ) -> Parameters:
        """Make one start, and put given parameters in the place of its own."""
        n_threads = available_threads() if self.n_threads is None else self.n_threads
        partition = STARTS[self.init_params](start_rows, self.n_components, random_state, n_threads)
        mean_weight = 1.0 if start_rows.weights is None else float(start_rows.weights.mean())
        floor = count_floor(start_rows.rows.dtype, mean_weight)
        own = first_parameters(
            partition, start_rows, self.n_components, self.covariance_type, ridge, floor
        )
        return Parameters(
            *(mine if wish is None else wish for mine, wish in zip(own, given, strict=True))
        )

    def _given_parameters(
        self, d: int
    ) -> tuple[Float64Array | None, Float64Array | None, Float64Array | None]:
        """Check weights_init, means_init and precisions_init (returned as covariances)."""
        k, family = self.n_components, self._family
        weights = means = covariances = None
        if self.weights_init is not None:
            weights = check_weights(self.weights_init, k)
        if self.means_init is not None:
            means = check_array("means", self.means_init, (k, d))
        if self.precisions_init is not None:
            name = f"{self.covariance_type} precision"
            precisions = check_array(name, self.precisions_init, family.shape(k, d))
            covariances = family.from_precisions(precisions)
        return weights, means, covariances

    def _check_settings(self) -> None:
        check_integer("n_components", self.n_components, 1)
        check_choice("covariance_type", self.covariance_type, FAMILIES)
        if self.tol != "statistical":
            check_real("tol", self.tol)
        check_real("reg_covar", self.reg_covar)
        check_integer("max_iter", self.max_iter, 0)
        check_integer("n_init", self.n_init, 1)
        check_choice("init_params", self.init_params, STARTS)
        check_random_state(self.random_state)
        check_choice("warm_start", self.warm_start, (True, False))
        check_integer("verbose", int(self.verbose), 0)
        check_integer("verbose_interval", self.verbose_interval, 1)
        if self.n_threads is not None:
            check_integer("n_threads", self.n_threads, 1)
        if self.chunk_size is not None:
            check_integer("chunk_size", self.chunk_size, 1)
        check_choice("persist", self.persist, ("auto", True, False))
        check_choice("missing", self.missing, ("raise", "drop"))
        check_choice("regularization", self.regularization, REGULARIZATIONS)
        check_choice("on_collapse", self.on_collapse, ON_COLLAPSE)

    # ------------------------------------------------------------------ parameters

    @property
    def _family(self) -> CovarianceFamily:
        return FAMILIES[self.covariance_type]

    def _publish(self, fit: em.Fit, source: Source) -> None:
        self._set_parameters(fit.parameters, source.dtype)
        self.converged_ = fit.converged
        self.n_iter_ = fit.n_iter
        self.lower_bound_ = fit.lower_bound
        self.lower_bounds_ = fit.lower_bounds
        self.collapsed_ = fit.collapsed
        columns = column_names(source)
        if columns is not None:
            self.feature_names_in_ = np.array(columns, dtype=object)
        elif hasattr(self, "feature_names_in_"):
            del self.feature_names_in_

    def _set_parameters(self, parameters: Parameters, dtype: np.dtype[np.floating]) -> None:
        """Publish parameters in the data's dtype; the float64 ones stay for warm starts."""
        factors = self._family.precisions_cholesky(parameters)
        self._exact = parameters
        self._fitted_type = self.covariance_type
        self.weights_, self.means_, self.covariances_ = (part.astype(dtype) for part in parameters)
        self.precisions_cholesky_ = factors.astype(dtype)
        self.precisions_ = self._family.precisions(factors).astype(dtype)
        self.n_features_in_ = parameters.means.shape[1]

    def _current(self) -> Parameters:
        """Return the float64 parameters, or the public attributes where the user changed them."""
        self._check_is_fitted()
        public = Parameters(self.weights_, self.means_, self.covariances_)
        k, d = len(self._exact.weights), self.n_features_in_
        unchanged = all(
            np.array_equal(shown, exact.astype(shown.dtype))
            for shown, exact in zip(public, self._exact, strict=True)
        )
        if unchanged and self.covariance_type == self._fitted_type:
            return self._exact
        shapes = (k,), (k, d), self._family.shape(k, d)
        for name, part, shape in zip(Parameters._fields, public, shapes, strict=True):
            if self.covariance_type != self._fitted_type or np.shape(part) != shape:
                raise ValueError(
                    f"{name}_ has shape {np.shape(part)} and is of covariance_type "
                    f"{self._fitted_type!r}, but {shape} of type {self.covariance_type!r} is "
                    "needed: set all parameters alike, or fit again"
                )
        return Parameters(*(np.ascontiguousarray(part, dtype=np.float64) for part in public))

    def _check_is_fitted(self) -> None:
        if not hasattr(self, "_exact"):
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
        check_choice("covariance_type", covariance_type, FAMILIES)
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
        model = cls(k, covariance_type=covariance_type)
        model._set_parameters(parameters, np.dtype(np.float64))
        model.converged_ = False
        model.n_iter_ = 0
        model.lower_bound_ = -math.inf
        model.lower_bounds_ = []
        model.collapsed_ = np.empty(0, np.int64)
        return model

    # ------------------------------------------------------------------ using a model

    def predict(self, X: Any, out: str | PathLike[str] | None = None) -> Any:
        """Return the label of each row: the component of the highest responsibility.

        Parameters
        ----------
        X : (n, d) rows, as in ``fit``
            A Dask collection gives a lazy Dask collection.
        out : path, optional
            Stream the result to this .npy or Parquet file (column ``label``) instead, complete or
            not at all, and return the path.

        Returns
        -------
        (n,) int64 array, Dask array or path
        """
        return self._predict("label", X, out, ["label"])

    def predict_proba(self, X: Any, out: str | PathLike[str] | None = None) -> Any:
        """Return the responsibilities (n, k) of each row's components; each row sums to 1.

        ``X`` and ``out`` as in :meth:`predict` (columns ``component_0`` ...).
        """
        self._check_is_fitted()
        names = [f"component_{k}" for k in range(len(self.means_))]
        return self._predict("responsibility", X, out, names)

    def score_samples(self, X: Any, out: str | PathLike[str] | None = None) -> Any:
        """Return the natural log density (n,) of each row.

        ``X`` and ``out`` as in :meth:`predict` (column ``log_density``).
        """
        return self._predict("log_density", X, out, ["log_density"])

    def _predict(self, what: str, X: Any, out: str | PathLike[str] | None, names: list[str]) -> Any:
        self._check_is_fitted()
        if hasattr(X, "__dask_graph__"):
            return self._predict_lazily(what, X, out)
        source = self._source(X)
        if out is not None:
            sinks.check_sink(out)
        with closing(self._executor_for(source).place(source, self.chunk_size)) as placement:
            blocks = self._predictions(what, placement)
            if out is None:
                return sinks.to_array(blocks, placement.grid.n_samples)
            sinks.to_file(out, blocks, placement.grid.n_samples, names)
            return out

    def _predict_lazily(self, what: str, X: Any, out: str | PathLike[str] | None) -> Any:
        if out is not None:
            raise ValueError(
                "out goes with arrays and data sets; predictions of a Dask collection are lazy: "
                "write them with its own to_parquet or to_zarr"
            )
        from fastgmm.sources.dask_collections import map_rows

        source = self._source(X)
        function = partial(
            PREDICTIONS[what], self._density(source.dtype), columns=column_names(source)
        )
        width = len(self.means_) if what == "responsibility" else None
        dtype = np.dtype(np.int64) if what == "label" else source.dtype
        return map_rows(function, X, width, dtype)

    def _predictions(self, what: str, placement: Placement) -> Iterator[NDArray[Any]]:
        source = placement.source
        density = self._density(source.dtype)
        return placement.map(partial(PREDICTIONS[what], density, columns=column_names(source)))

    def _density(self, dtype: np.dtype[np.floating]) -> Density:
        return self._family.prepare(self._current(), dtype)

    def _source(self, X: Any, sample_weight: Any = None) -> Source:
        self._check_is_fitted()
        source = as_source(X, sample_weight=sample_weight)
        self._check_columns(source)
        return source

    def _check_columns(self, source: Source) -> None:
        check_columns(source, self.n_features_in_, getattr(self, "feature_names_in_", None))

    def _score(self, X: Any, sample_weight: Any) -> tuple[float, float]:
        """Return the total log likelihood of the rows and the sum of their weights."""
        source = self._source(X, sample_weight)
        scoring = Scoring(self._density(source.dtype), column_names(source))
        with closing(self._executor_for(source).place(source, self.chunk_size)) as placement:
            if placement.grid.n_samples == 0:
                raise DataError("Found array with 0 sample(s): there are no rows to score")
            (totals,) = placement.reduce([scoring])
        if not totals[1] > 0.0:
            raise DataError("All weights are zero: give at least one row a positive sample_weight")
        return float(totals[0]), float(totals[1])

    def score(self, X: Any, y: Any = None, sample_weight: Any = None) -> float:
        """Return the mean natural log likelihood per row, weighted if there are weights."""
        log_likelihood, weight = self._score(X, sample_weight)
        return log_likelihood / weight

    def aic(self, X: Any, sample_weight: Any = None) -> float:
        """Return Akaike's information criterion, smaller is better (Akaike 1974)."""
        log_likelihood, _ = self._score(X, sample_weight)
        return 2.0 * self._n_parameters() - 2.0 * log_likelihood

    def bic(self, X: Any, sample_weight: Any = None) -> float:
        """Return the Bayesian information criterion, smaller is better (Schwarz 1978).

        The number of rows is the sum of their weights.
        """
        log_likelihood, weight = self._score(X, sample_weight)
        return self._n_parameters() * math.log(weight) - 2.0 * log_likelihood

    def sample(self, n_samples: int = 1) -> tuple[Float64Array, LabelArray]:
        """Draw rows from the mixture, grouped by component, with ``random_state``.

        Returns
        -------
        X : (n_samples, d) array
        y : (n_samples,) array
            The component of each row.
        """
        parameters = self._current()
        if n_samples < 1:
            raise ValueError(
                f"Invalid value for 'n_samples': {n_samples} . The sampling requires at least one "
                "sample."
            )
        k, d = parameters.means.shape
        random_state = check_random_state(self.random_state)
        # normalised once more: float32 weights need not sum to 1 in float64
        counts = random_state.multinomial(n_samples, parameters.weights / parameters.weights.sum())
        covariances = self._family.dense(parameters.covariances, k, d)
        if self.covariance_type in ("full", "tied"):
            rows = [
                random_state.multivariate_normal(mean, covariance, int(count))
                for mean, covariance, count in zip(
                    parameters.means, covariances, counts, strict=True
                )
            ]
        else:
            sigmas = np.sqrt(np.diagonal(covariances, axis1=1, axis2=2))
            rows = [
                mean + random_state.standard_normal(size=(count, d)) * sigma
                for mean, sigma, count in zip(parameters.means, sigmas, counts, strict=True)
            ]
        return np.vstack(rows), np.repeat(np.arange(k), counts)

    # ------------------------------------------------------------------ files

    def save(self, path: str | PathLike[str]) -> None:
        """Write the model to an ``.npz`` file without pickle, complete or not at all."""
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
                if not isinstance(value, np.random.RandomState)
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
            model._check_settings()
            k, d = parameters.means.shape
            check_array("weights", parameters.weights, (k,))
            check_array("covariances", parameters.covariances, model._family.shape(k, d))
            model._set_parameters(parameters, np.dtype(header["dtype"]))
            model.converged_ = bool(header["converged"])
            model.n_iter_ = int(header["n_iter"])
            model.lower_bound_ = float(header["lower_bound"])
            model.lower_bounds_ = [float(bound) for bound in header["lower_bounds"]]
            model.collapsed_ = np.array(header.get("collapsed", []), np.int64)
            if header["feature_names"]:
                model.feature_names_in_ = np.array(header["feature_names"], dtype=object)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise model_file.damaged(path) from error
        return model
