"""Mixtures of some columns: without regard to the others, or with their values known."""

from collections.abc import Callable
from functools import partial
from os import PathLike
from typing import Any, NamedTuple, Self

import numpy as np

from fastgmm._typing import Float64Array, FloatArray, IntArray
from fastgmm.covariance import Density
from fastgmm.estimators.mixtures.columns import chosen_columns
from fastgmm.estimators.mixtures.portable import DTYPES
from fastgmm.estimators.mixtures.predictions import Predictor
from fastgmm.exceptions import DataError
from fastgmm.parameters import Parameters
from fastgmm.scoring import responsibilities
from fastgmm.sources import NO_NAMES, NO_WEIGHTS, Chunk, Names
from fastgmm.validation import check_array


class ConditionalMoments(NamedTuple):
    """How columns are distributed where others are known, row for row."""

    mean: Any
    """(n, e)."""
    variance: Any
    """(n, e) of each column."""


class Lines(NamedTuple):
    """How, in each component, e columns follow from c given ones: a line and what scatters."""

    given_means: Float64Array
    """(k, c)."""
    rest_means: Float64Array
    """(k, e)."""
    slopes: Float64Array
    """(k, e, c)."""
    variances: Float64Array
    """(k, e) about the line."""


class Conditional(Predictor):
    """A mixture whose columns are asked about each other."""

    def marginal(self, columns: Any) -> Self:
        """Return the mixture of some columns, whatever the others are.

        Parameters
        ----------
        columns : int, str, or a list of these
            Numbers or, where the fit had them, names; the new model has them in this order.

        Returns
        -------
        GaussianMixture
            Of the same ``covariance_type``; ``feature_names_in_`` is carried along.

        Raises
        ------
        NotFittedError, ValueError
            There are no parameters; there is no such column, or it is given twice.

        Examples
        --------
        >>> from fastgmm import GaussianMixture
        >>> gm = GaussianMixture.from_parameters([1.0], [[1.0, 5.0]], [[[4.0, 1.0], [1.0, 2.0]]])
        >>> gm.marginal(1).covariances_
        array([[[2.]]])
        """
        chosen = self._chosen(columns)
        return self._part(self._marginal(chosen), chosen)

    def condition(self, columns: Any, values: Any) -> Self:
        """Return the mixture of the other columns where these have the given values.

        Components weigh as much as they are responsible for the values; each is shifted along its
        regression line (Bishop 2006, eq. 2.81 and 2.82).

        Parameters
        ----------
        columns : int, str, or a list of these
            The c columns that are known, by number or name.
        values : float or (c,) array-like
            Their values, in the same order.

        Returns
        -------
        GaussianMixture
            Of the remaining columns in the order of the fit and of the same ``covariance_type``.

        Raises
        ------
        NotFittedError, ValueError
            There are no parameters; there is no such column, all are given or one comes twice; the
            values are not c finite numbers, or infinitely far from every component.

        Examples
        --------
        >>> from fastgmm import GaussianMixture
        >>> gm = GaussianMixture.from_parameters([1.0], [[1.0, 5.0]], [[[4.0, 1.0], [1.0, 2.0]]])
        >>> known = gm.condition(0, 3.0)
        >>> known.means_, known.covariances_
        (array([[5.5]]), array([[[1.75]]]))
        """
        given = self._chosen(columns)
        rest = self._rest(given)
        known = check_array("values", np.atleast_1d(values), (len(given),))
        weights, means, covariances = self._current()
        density = self._family.prepare(self._marginal(given), np.dtype(np.float64))
        posterior = shares_of(density, Chunk(0, known[np.newaxis].copy(), NO_WEIGHTS))[0]
        slopes, scatter = self._family.regression(covariances, len(weights), given, rest)
        away = (known - means[:, given])[:, :, np.newaxis]
        lines = means[:, rest] + (slopes @ away)[:, :, 0]
        return self._part(Parameters(posterior / posterior.sum(), lines, scatter), rest)

    def conditional_moments(
        self, X: Any, columns: Any, out: str | PathLike[str] | None = None
    ) -> Any:
        """Return mean and variance of the other columns, given these: regression by the mixture.

        For each row what :meth:`condition` would say about it, in blocks: the mean is the best
        prediction of the other columns, the variance how far to trust it (law of total variance).

        Parameters
        ----------
        X : (n, c) rows of the given columns, as in ``fit``
            A Dask collection gives lazy Dask collections.
        columns : int, str, or a list of these
            Which columns these are, by number or name, in the order of ``X``.
        out : path, optional
            Stream mean and variance to this .npy or Parquet file (columns ``mean_<name>`` ...,
            ``variance_<name>`` ...) instead, and return the path.

        Returns
        -------
        ConditionalMoments
            ``mean`` and ``variance``, (n, e) each: the remaining columns in the order of the fit.

        Raises
        ------
        NotFittedError, ValueError
            As for :meth:`condition`.

        Examples
        --------
        >>> from fastgmm import GaussianMixture
        >>> gm = GaussianMixture.from_parameters([1.0], [[1.0, 5.0]], [[[4.0, 1.0], [1.0, 2.0]]])
        >>> gm.conditional_moments([[3.0], [-1.0]], 0).mean
        array([[5.5],
               [4.5]])
        """
        given = self._chosen(columns)
        rest = self._rest(given)
        asked = self._part(self._marginal(given), given)
        _, means, covariances = self._current()
        k, e = len(means), len(rest)
        slopes, scatter = self._family.regression(covariances, k, given, rest)
        lines = Lines(
            means[:, given],
            means[:, rest],
            np.broadcast_to(slopes, (k, e, len(given))),
            np.broadcast_to(self._family.variances(scatter, e), (k, e)),
        )

        def function(dtype: np.dtype[np.floating]) -> Callable[..., Any]:
            return partial(moments_of_chunk, asked._density(np.dtype(np.float64)), lines)

        labels = self._labels(rest)
        names = [f"{what}_{label}" for what in ("mean", "variance") for label in labels]
        found = asked._each_row(function, X, out, names, 2 * e)
        if out is not None:
            return found
        table = found.iloc if hasattr(found, "iloc") else found
        return ConditionalMoments(table[:, :e], table[:, e:])

    def _chosen(self, columns: Any) -> IntArray:
        self._check_is_fitted()
        names = getattr(self, "feature_names_in_", None)
        return chosen_columns(columns, np.shape(self.means_)[1], names)

    def _rest(self, given: IntArray) -> IntArray:
        rest = np.setdiff1d(np.arange(np.shape(self.means_)[1]), given)
        if len(rest) == 0:
            raise ValueError("All columns are given, so that none remains: leave one out")
        return rest

    def _labels(self, columns: IntArray) -> list[str]:
        names = getattr(self, "feature_names_in_", None)
        return [str(j if names is None else names[j]) for j in columns]

    def _marginal(self, columns: IntArray) -> Parameters:
        weights, means, covariances = self._current()
        kept = self._family.select(covariances, np.arange(len(weights)), columns)
        return Parameters(weights.copy(), np.ascontiguousarray(means[:, columns]), kept)

    def _part(self, parameters: Parameters, columns: IntArray) -> Self:
        """Return the model of these parameters; starts for all columns are none for some."""
        dtype = np.asarray(self.means_).dtype
        model = self._with(
            parameters,
            dtype if dtype.name in DTYPES else np.dtype(np.float64),
            init_params=self.init_params if isinstance(self.init_params, str) else "kmeans",
            weights_init=None,
            means_init=None,
            precisions_init=None,
            fixed=(),
        )
        if hasattr(self, "feature_names_in_"):
            model.feature_names_in_ = self.feature_names_in_[columns]
        return model


def moments_of_chunk(
    density: Density, lines: Lines, chunk: Chunk, names: Names = NO_NAMES
) -> FloatArray:
    """Return (t, 2 e) means, then variances, of the columns that follow from a chunk's.

    In float64, as in :meth:`Conditional.condition`: the squares of values far away are no numbers
    in float32. A component after the other is merged into the moments so far, so that nothing
    cancels.
    """
    rows = chunk.rows.astype(np.float64, copy=False)
    posterior = shares_of(density, chunk._replace(rows=rows), names)
    t, e = len(chunk.rows), lines.rest_means.shape[1]
    mean, variance, weight = np.zeros((t, e)), np.zeros((t, e)), np.zeros((t, 1))
    for k, r in enumerate(posterior.T[:, :, np.newaxis]):
        line = (rows - lines.given_means[k]) @ lines.slopes[k].T + lines.rest_means[k]
        weight += r
        share = np.divide(r, weight, out=np.zeros_like(r), where=weight > 0.0)
        apart = line - mean
        mean += share * apart
        variance += share * (lines.variances[k] + (1.0 - share) * apart**2 - variance)
    return np.hstack([mean, variance]).astype(chunk.rows.dtype)


def shares_of(density: Density, chunk: Chunk, names: Names = NO_NAMES) -> FloatArray:
    """Return (t, k) responsibilities; DataError for values whose density nobody can tell from 0."""
    shares = responsibilities(density, chunk, names)
    untold = np.flatnonzero(np.isnan(shares).any(axis=1))
    if len(untold):
        values = chunk.rows[untold[0]]
        column = int(np.argmax(np.abs(values)))
        raise DataError(
            f"The values in {names.row(chunk.first_row + untold[0])} are too far from every "
            "component for their density to be told from zero "
            f"({names.column(column)} has {values[column]:g}): give values nearer to the model's"
        )
    return shares
