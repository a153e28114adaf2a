"""What a mixture says about rows: labels, responsibilities, densities, scores."""

import math
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from os import PathLike
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from fastgmm import criteria, sinks
from fastgmm.covariance import Density
from fastgmm.estimators.mixtures.columns import check_columns
from fastgmm.estimators.mixtures.portable import PortableMixture
from fastgmm.exceptions import DataError
from fastgmm.executors import Placement, executor_for
from fastgmm.parameters import Parameters
from fastgmm.scoring import (
    PREDICTIONS,
    EntropyScoring,
    Scoring,
    component_log_densities,
    distances,
    log_densities,
    where_complete,
)
from fastgmm.sources import NO_WEIGHTS, Chunk, Source, as_source, check_unchanged, source_names
from fastgmm.validation import as_random_state, whole_number

if TYPE_CHECKING:
    from fastgmm.sources.dask_collections.source import DaskSource

ROWS_AT_ONCE = 2**16
"""Rows drawn at once where only a sum over them is wanted."""

KEPT_BYTES = 2**26
"""Of covariances whose factors are kept between predictions; rows of larger ones are slow, too."""


class Entropy(NamedTuple):
    """An estimate of a differential entropy, in nats."""

    value: float
    standard_error: float


class Predictor(PortableMixture):
    """A mixture that is asked about rows, in memory, in files or on a cluster."""

    n_threads: int | None
    chunk_size: int | None
    persist: bool | str
    missing: str

    def predict(self, X: Any, out: str | PathLike[str] | None = None) -> Any:
        """Return the label of each row: the component of the highest responsibility.

        Parameters
        ----------
        X : (n, d) rows, as in ``fit``
            A Dask collection gives a lazy Dask collection of the same partitions: an array for an
            array, for a data frame a series or frame with its index (and columns named as below).
        out : path, optional
            Write the result there instead, complete or not at all, and return the path: to one
            ``.npy`` file, or to a new folder of Parquet files (``.parquet``, column ``label``) or
            a Zarr array (``.zarr``), whose parts are written side by side by the threads or, on
            a cluster, by the workers (the folder lies where all of them see it).

        Returns
        -------
        (n,) int64 array, Dask array or path
            With ``missing="drop"``, rows with missing values get the label -1, and NaN in the
            other predictions, so that every row keeps its place.

        Raises
        ------
        DataError
            (a ValueError) Other columns than in ``fit``, NaN or infinity (the message names row
            and column), an ``out`` that cannot be written, is read, or is a folder already.
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

    def component_log_density(self, X: Any, out: str | PathLike[str] | None = None) -> Any:
        """Return the natural log density (n, k) of each row under each component, unweighted.

        ``X`` and ``out`` as in :meth:`predict` (columns ``component_0`` ...). The logarithm of the
        sum over the components of weight times density is what :meth:`score_samples` returns.

        Examples
        --------
        >>> from fastgmm import GaussianMixture
        >>> gm = GaussianMixture.from_parameters([0.25, 0.75], [[0.0], [2.0]], [[[1.0]], [[4.0]]])
        >>> gm.component_log_density([[0.0]]).round(6)
        array([[-0.918939, -2.112086]])
        """
        return self._of_components(component_log_densities, X, out)

    def mahalanobis(self, X: Any, out: str | PathLike[str] | None = None) -> Any:
        """Return the distance (n, k) of each row from each component, in standard deviations.

        The square root of (x - mean)^T precision (x - mean) (Mahalanobis 1936). ``X`` and ``out``
        as in :meth:`predict` (columns ``component_0`` ...).

        Examples
        --------
        >>> from fastgmm import GaussianMixture
        >>> gm = GaussianMixture.from_parameters([0.25, 0.75], [[0.0], [2.0]], [[[1.0]], [[4.0]]])
        >>> gm.mahalanobis([[6.0]])
        array([[6., 2.]])
        """
        return self._of_components(distances, X, out)

    def entropy(self, n_samples: int = 100_000, *, random_state: Any = None) -> Entropy:
        """Return the differential entropy of the mixture, by Monte Carlo.

        The mean of minus the log density over rows drawn from the mixture; there is no closed form.

        Parameters
        ----------
        n_samples : int
            Rows to draw, at least 2; four times as many halve the standard error.
        random_state : int, RandomState or None
            None: the estimator's own.

        Returns
        -------
        Entropy
            ``value`` and its ``standard_error``, in nats.

        Examples
        --------
        >>> from fastgmm import GaussianMixture
        >>> gm = GaussianMixture.from_parameters([1.0], [[0.0]], [[[1.0]]])
        >>> value, error = gm.entropy(random_state=0)  # exactly (1 + log(2 pi)) / 2 = 1.4189
        >>> abs(value - 1.4189) < 4 * error < 0.01
        True
        """
        n_samples = whole_number("n_samples", n_samples)
        if n_samples < 2:
            raise ValueError(f"Entropy is estimated from 2 rows or more, not {n_samples}")
        draws = as_random_state(self.random_state if random_state is None else random_state)
        density = self._density(np.dtype(np.float64))
        found = np.empty(n_samples)
        for first in range(0, n_samples, ROWS_AT_ONCE):
            rows, _ = self.sample(min(ROWS_AT_ONCE, n_samples - first), random_state=draws)
            found[first : first + len(rows)] = log_densities(density, Chunk(0, rows, NO_WEIGHTS))
        return Entropy(-float(found.mean()), float(found.std(ddof=1)) / math.sqrt(n_samples))

    def _predict(self, what: str, X: Any, out: str | PathLike[str] | None, names: list[str]) -> Any:
        def function(dtype: np.dtype[np.floating]) -> Callable[..., Any]:
            return partial(PREDICTIONS[what], self._density(dtype))

        width = len(names) if what == "responsibility" else None
        return self._each_row(function, X, out, names, width, integer=what == "label")

    def _of_components(
        self, what: Callable[..., Any], X: Any, out: str | PathLike[str] | None
    ) -> Any:
        def function(dtype: np.dtype[np.floating]) -> Callable[..., Any]:
            return partial(what, self._component_densities(dtype))

        self._check_is_fitted()
        names = [f"component_{k}" for k in range(len(self.means_))]
        return self._each_row(function, X, out, names, len(names))

    def _each_row(
        self,
        function: Callable[[np.dtype[np.floating]], Callable[..., Any]],
        X: Any,
        out: str | PathLike[str] | None,
        names: list[str],
        width: int | None,
        integer: bool = False,
    ) -> Any:
        """Return or write what a function makes of each row.

        ``function`` takes the rows' dtype and returns what is called with a chunk and with
        ``names``, what messages call them; it returns ``width`` columns, or one without a second
        axis.
        """
        self._check_is_fitted()
        if hasattr(X, "__dask_graph__"):
            return self._each_row_lazily(function, X, out, names, width, integer)
        source = self._source(X)
        if out is not None:
            sinks.checked_sink(out, source)
        work = partial(self._marking(function, source), names=source_names(source))
        with closing(self._executor_for(source).place(source, self.chunk_size)) as placement:
            if out is None:
                return sinks.to_array(placement.map(work), placement.grid.n_samples)
            sinks.to_file(out, sinks.PlacedResults(placement, work, names))
            return out

    def _marking(
        self, function: Callable[[np.dtype[np.floating]], Callable[..., Any]], source: Source
    ) -> Callable[..., Any]:
        """Return a function of a source's rows that marks those that a fit would drop."""
        plain = function(source.dtype)
        return partial(where_complete, plain) if self.missing == "drop" else plain

    def _each_row_lazily(
        self,
        function: Callable[[np.dtype[np.floating]], Callable[..., Any]],
        X: Any,
        out: str | PathLike[str] | None,
        names: list[str],
        width: int | None,
        integer: bool,
    ) -> Any:
        if out is not None:
            raise ValueError(
                "out goes with arrays and data sets; predictions of a Dask collection are lazy: "
                "write them with its own to_parquet or to_zarr"
            )
        from fastgmm.sources.dask_collections import map_rows

        source = cast("DaskSource", self._source(X))
        work = partial(self._marking(function, source), names=source_names(source))
        dtype = np.dtype(np.int64) if integer else source.dtype
        return map_rows(work, source, names, width, dtype)

    def _predictions(self, what: str, placement: Placement) -> Iterator[NDArray[Any]]:
        source = placement.source
        density = self._density(source.dtype)
        return placement.map(partial(PREDICTIONS[what], density, names=source_names(source)))

    def _density(self, dtype: np.dtype[np.floating]) -> Density:
        """Return what rows of a dtype are scored with, made once unless it is large.

        To factorise 20 full covariances in 128 columns takes four times as long as scikit-learn
        takes for a row.
        """
        parameters = self._current()
        as_published = parameters is getattr(self, "_exact", None)
        kept: dict[Any, Density] = self._densities if as_published else {}
        if dtype in kept:
            return kept[dtype]
        density = self._family.prepare(parameters, dtype)
        if parameters.covariances.nbytes <= KEPT_BYTES:
            kept[dtype] = density
        return density

    def _component_densities(self, dtype: np.dtype[np.floating]) -> list[Density]:
        """Return a density for each component alone, of weight 1."""
        family, (_, means, covariances) = self._family, self._current()
        columns = np.arange(means.shape[1])
        alone = [
            Parameters(np.ones(1), means[[k]], family.select(covariances, np.array([k]), columns))
            for k in range(len(means))
        ]
        return [family.prepare(one, dtype) for one in alone]

    def _source(self, X: Any, sample_weight: Any = None, missing: str = "raise") -> Source:
        self._check_is_fitted()
        source = as_source(X, sample_weight=sample_weight, missing=missing)
        check_unchanged(source)  # a data set may have been opened long ago
        if np.asarray(self.means_).dtype == np.float64:
            # scikit-learn's rule: float32 is what rows and model both are in
            source = source.widened()
        self._check_columns(source)
        return source

    def _check_columns(self, source: Source) -> None:
        check_columns(
            type(self).__name__,
            source,
            np.shape(self.means_)[1],
            getattr(self, "feature_names_in_", None),
        )

    def _executor_for(self, source: Source) -> Any:
        return executor_for(source, self.n_threads, self._client, self.persist)

    def _score(
        self, X: Any, sample_weight: Any, scoring: type[Scoring | EntropyScoring] = Scoring
    ) -> list[float]:
        """Return what a scoring finds in the rows that a fit would take."""
        source = self._source(X, sample_weight, self.missing)
        work = scoring(self._density(source.dtype), source_names(source))
        with closing(self._executor_for(source).place(source, self.chunk_size)) as placement:
            if placement.grid.n_samples == 0:
                raise DataError("Found array with 0 sample(s): there are no rows to score")
            (totals,) = placement.reduce([work])
        if not totals[1] > 0.0:
            raise DataError("All weights are zero: give at least one row a positive sample_weight")
        return [float(total) for total in totals]

    def _counted(
        self, X: Any, sample_weight: Any, scoring: type[Scoring | EntropyScoring] = Scoring
    ) -> list[float]:
        """Return the same but for the number of rows, which are told from observations."""
        log_likelihood, weight, n_rows, *more = self._score(X, sample_weight, scoring)
        criteria.warn_of_light_rows(weight / n_rows, "AIC, BIC and ICL take", stacklevel=3)
        return [log_likelihood, weight, *more]

    def score(self, X: Any, y: Any = None, sample_weight: Any = None) -> float:
        """Return the mean natural log likelihood per row, weighted if there are weights.

        With ``missing="drop"``, here and in the criteria below, of the rows that ``fit`` would
        take.
        """
        log_likelihood, weight, _ = self._score(X, sample_weight)
        return log_likelihood / weight

    def aic(self, X: Any, sample_weight: Any = None) -> float:
        """Return Akaike's information criterion, smaller is better (Akaike 1974)."""
        log_likelihood, _ = self._counted(X, sample_weight)
        return criteria.aic(log_likelihood, self._n_parameters())

    def bic(self, X: Any, sample_weight: Any = None) -> float:
        """Return the Bayesian information criterion, smaller is better (Schwarz 1978).

        The number of rows is the sum of their weights.
        """
        log_likelihood, weight = self._counted(X, sample_weight)
        return criteria.bic(log_likelihood, self._n_parameters(), weight)

    def icl(self, X: Any, sample_weight: Any = None) -> float:
        """Return the integrated completed likelihood, smaller is better (Biernacki et al. 2000).

        BIC and twice the entropy of the responsibilities, -sum r log r over rows and components:
        it asks for components that do not overlap, where BIC asks for a good density.

        Examples
        --------
        >>> from fastgmm import GaussianMixture
        >>> X = [[0.0], [0.2], [0.4], [9.0], [9.2], [9.4]]
        >>> gm = GaussianMixture(2, random_state=0).fit(X)
        >>> abs(gm.icl(X) - gm.bic(X)) < 1e-9
        True
        """
        log_likelihood, weight, entropy = self._counted(X, sample_weight, EntropyScoring)
        return criteria.icl(log_likelihood, self._n_parameters(), weight, entropy)
