"""What a covariance family is: a module with these functions; nothing else knows its shape."""

from collections.abc import Callable
from typing import Any, Protocol, TypeAlias, TypeVar

import numpy as np

from fastgmm._typing import Float64Array, FloatArray, IntArray
from fastgmm.covariance.conditioning import Regression
from fastgmm.parameters import Parameters
from fastgmm.statistics import Scatter, Statistics

Density: TypeAlias = Any
"""A family's own NamedTuple (see kernels/), in the compute dtype: log_scale (k,), means (k, d),
whitening, origins (k, d). Immutable; sent to wherever chunks are."""


R = TypeVar("R")


class Share(Protocol):
    """How work on n things of their own is shared out: over an executor's threads, or not."""

    def __call__(self, function: Callable[[int, int], R], n: int) -> list[R]:
        """Return ``function(first, last)`` of ranges that make up ``range(n)``, in order."""


def alone(function: Callable[[int, int], R], n: int) -> list[R]:
    """Share with nobody: one range, on the caller's thread."""
    return [function(0, n)]


class CovarianceFamily(Protocol):
    """A shape of covariance matrices. Stateless; k components, d features throughout."""

    needs_scatter: bool
    """Whether ``complete`` wants the total scatter of the data."""

    def shape(self, n_components: int, n_features: int) -> tuple[int, ...]:
        """Shape of ``covariances`` (and of precisions); scikit-learn's where it has the family."""

    def second_shape(self, n_components: int, n_features: int) -> tuple[int, ...]:
        """Shape of ``Statistics.second``."""

    def n_parameters(self, n_components: int, n_features: int) -> int:
        """Free parameters of the covariances."""

    def prepare(
        self, parameters: Parameters, dtype: np.dtype[np.floating], share: Share = alone
    ) -> Density:
        """Factorise the covariances into what a pass needs; origins are the means.

        Matrices are worth sharing out over threads, axes are not; the bits are the same.

        Raises IllDefinedCovarianceError, naming the component, where a covariance is not
        positive definite.
        """

    def complete(
        self, statistics: Statistics, density: Density, scatter: Scatter | None
    ) -> Statistics:
        """Return the statistics of all rows with what their pass has left out.

        What all components have in common is a function of the data's total scatter alone, so that
        a pass need not sum it. ``scatter`` may be None unless the family ``needs_scatter``.
        """

    def about(self, density: Density, origins: FloatArray) -> Density:
        """Return the density with statistics about other origins (k, d), in its dtype."""

    def estimate(
        self,
        second: Float64Array,
        counts: Float64Array,
        delta: Float64Array,
        share: Share = alone,
    ) -> Float64Array:
        """Return the covariances that maximise the likelihood.

        ``second`` is about the origins of the pass, ``delta`` (k, d) the new means less those
        origins: second / counts - delta delta^T, in the family's shape (Bishop 2006, eq. 9.25).
        """

    def regularise(self, covariances: Float64Array, ridge: Float64Array) -> None:
        """Add to the diagonals, in place: ``ridge`` (k, d), or broadcastable, for each column.

        A family in which columns share a variance adds the mean over them; one in which
        components share a matrix adds the largest among them.
        """

    def replace(
        self, covariances: Float64Array, components: IntArray, others: Float64Array
    ) -> Float64Array:
        """Return covariances in which ``components`` have those of ``others``, one after another.

        Where all components share one covariance it is returned as it is.
        """

    def rows_without_spread(self, n_features: int) -> int:
        """Most rows that leave a component's own covariance singular wherever they lie."""

    def join(self, seconds: list[Float64Array]) -> Float64Array:
        """Return the ``second`` of k components from k ``second`` of one component each."""

    def variances(self, covariances: Float64Array, n_features: int) -> Float64Array:
        """Diagonals of the covariances, broadcastable to (k, d)."""

    def dense(self, covariances: Float64Array, n_components: int, n_features: int) -> Float64Array:
        """Covariances as full matrices (k, d, d)."""

    def select(
        self, covariances: Float64Array, components: IntArray, columns: IntArray
    ) -> Float64Array:
        """Return the covariances of these components in these columns: of a marginal mixture."""

    def regression(
        self, covariances: Float64Array, n_components: int, given: IntArray, rest: IntArray
    ) -> Regression:
        """Return how, within a component, the columns ``rest`` follow from the columns ``given``.

        Raises numpy.linalg.LinAlgError where a covariance is not positive definite.
        """

    def check(self, values: Float64Array, what: str) -> None:
        """Check covariances or precisions (the family's shape); ``what`` says which they are.

        Raises ValueError, beginning as scikit-learn's does and naming the component, where one is
        not (symmetric and) positive definite.
        """

    def from_precisions(self, precisions: Float64Array) -> Float64Array:
        """Check precisions (the family's shape) and invert them into covariances."""

    def precisions_cholesky(self, parameters: Parameters) -> Float64Array:
        """Upper triangular U with U U^T = precision, or along the axes 1 / sigma."""

    def precisions(self, precisions_cholesky: Float64Array) -> Float64Array:
        """Precisions from their Cholesky factors."""

    def draw(
        self, parameters: Parameters, counts: IntArray, random_state: np.random.RandomState
    ) -> Float64Array:
        """Draw ``counts`` (k,) rows of each component, grouped by component: (sum, d)."""
