"""GaussianMixture: scikit-learn's estimator, on data of any size."""

import math
import time
import warnings
from collections.abc import Sequence
from contextlib import closing
from os import PathLike
from typing import Any, NamedTuple, Self

import numpy as np

from fastgmm import em, sinks
from fastgmm._typing import Float64Array, LabelArray
from fastgmm.checkpoint import Unkept, checkpoint_of
from fastgmm.estimators.callbacks import History, Observers, Occasion, told_of
from fastgmm.estimators.conditioning import Conditional
from fastgmm.estimators.mixture import Ended
from fastgmm.estimators.settings import check_fixed, check_settings, names_of
from fastgmm.estimators.verbose import Verbose
from fastgmm.exceptions import ConvergenceWarning, DataError
from fastgmm.executors import Placement, Work
from fastgmm.executors.threads import available_threads
from fastgmm.expectation import column_names
from fastgmm.initialization import (
    STREAMED_STARTS,
    DataConstants,
    StartRows,
    StreamedStart,
    first_parameters,
    start_by,
    survey,
)
from fastgmm.maximization import REGULARIZATIONS, count_floor
from fastgmm.parameters import GivenParameters, Parameters
from fastgmm.pass_log import pass_logs
from fastgmm.progress import FitBegan, FitEnded, IterationDone, Observer, PassBegan, RowsDone
from fastgmm.sources import Source, as_source
from fastgmm.validation import as_random_state, check_array, check_weights


class Entry(NamedTuple):
    """How a fit enters: decided before the first pass."""

    n_init: int
    random_state: dict[str, Any] | None
    """The state of the generator that starts are drawn from, None if nothing is drawn."""
    warm: em.Start | None
    fixed: list[str]
    """Names of the parameters that stay."""


class Beginning(NamedTuple):
    """What the first pass and the starts have come to."""

    constants: DataConstants
    starts: list[em.Start]
    random_state: dict[str, Any] | None
    """The state of the generator afterwards."""


WITHOUT_INFLUENCE = (
    "max_iter",  # but a resumed fit may go further
    "verbose",
    "verbose_interval",
    "n_threads",
    "persist",
    "memory_limit",
    "checkpoint",
    "checkpoint_interval",
    "resume",
)
"""Settings that no number of a fit depends on: a checkpoint may be resumed with others."""


class GaussianMixture(Conditional):
    """Gaussian mixture fitted by expectation-maximisation, in memory, out of core or on a cluster.

    The parameters up to ``verbose_interval`` are scikit-learn's, with its names, order and
    defaults; the others are ours and keyword-only. All of them are plain values.

    Parameters
    ----------
    n_components : int
        Number of components k.
    covariance_type : {"full", "tied", "diag", "spherical", "tied_diag", "tied_spherical"}
        Shape of the covariance matrices; all components share those that are tied.
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
    init_params : {"kmeans", "k-means++", "random", "random_from_data", "k-means||"}, array, tuple,
            callable
        How starts are made. Up to 2^23 elements (n d) from all rows with scikit-learn's draws;
        above from a sample of rows drawn by a hash of their index. "k-means||" takes all rows
        however many there are, in about 18 passes shared by all starts. An array starts from labels
        (n,), -1 for rows that begin in no component, or from responsibilities (n, k); a tuple from
        parameters (weights, means, covariances). A callable is called as
        ``init_params(rows, n_components, random_state)`` and returns one of these.
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
    memory_limit : int, optional
        Most bytes that a pass over the rows takes for statistics and buffers, over all threads; by
        default half of the memory there is. Starts that do not fit wait until others have finished,
        which changes the number of passes and nothing else. (Making the starts takes memory of its
        own: up to 2^23 numbers and what k-means keeps beside them.)
    missing : {"raise", "drop"}
        Whether rows with NaN are an error, or left out of ``fit`` and labelled -1 (NaN) by
        predictions.
    regularization : {"absolute", "relative"}
        "absolute": ``reg_covar`` is a variance, the same in every column. "relative": it is a share
        of each column's variance, so that a fit does not depend on the columns' units (1e-6 then
        bounds standard deviations at a thousandth of the column's); a constant column counts as of
        variance 1, and a wild outlier widens its columns' ridge with their variance. A positive
        ``reg_covar`` that is lost in the rounding of a covariance is raised there, with a warning.
    on_collapse : {"keep", "raise", "reseed"}
        What is done about a component that has collapsed: one that holds at most m + 1/2 rows (m is
        n_features for "full", 1 for "diag" and "spherical", 0 for tied shapes; a row counts by the
        mean weight), or whose variance in every column is at most twice what ``reg_covar`` adds.
        "keep" goes on, "raise" raises CollapseError, "reseed" starts the component anew on the rows
        of the lowest log density, at most 5 times; the lower bound may fall at such an iteration.
    fixed : tuple of {"weights", "means", "covariances"}
        Parameters that stay as the fit starts with them; the others are the best that go with
        these. Values are needed: by ``weights_init``, ``means_init``, ``precisions_init``, an
        ``init_params`` that is no name, or ``warm_start``. Covariances are about the means that are
        kept; ``reg_covar`` is not added to covariances that are. AIC and BIC do not count them.
    checkpoint : path or None
        Keep the fit in this file, every ``checkpoint_interval`` seconds (also in the midst of a
        pass), when it ends, and when it is interrupted. The file is complete or absent, whatever
        happens; each fit has its own.
    checkpoint_interval : float
        Seconds; large models are written less often, so that it takes at most a twentieth of the
        time. A full disk is a warning, and the fit goes on.
    resume : bool
        Go on where the file ``checkpoint`` leaves off, to the same bits as a fit that was never
        interrupted, on any number of threads or workers; begin anew where there is no such file. A
        file of other rows, settings or another version of fastgmm is refused. A greater
        ``max_iter`` is allowed: so a fit that stopped there goes on.

    Attributes
    ----------
    weights_ : (k,) array
    means_ : (k, d) array
    covariances_ : array
        full (k, d, d), tied (d, d), diag (k, d), spherical (k,), tied_diag (d,), tied_spherical
        (1,).
    precisions_, precisions_cholesky_ : array
        Inverses of the covariances and their Cholesky factors, in the same shapes; matrices U are
        upper triangular with U U^T = precision.
    converged_ : bool
    n_iter_ : int
    lower_bound_ : float
        Mean log likelihood per row (nats) in the last E-step, before the last M-step.
    lower_bounds_ : list of float
        The same after each iteration of the best start.
    history_ : list of Iteration
        Every iteration of every start: start, iteration, lower_bound, gain (nats per row), seconds
        (of the pass, which starts share), rows.
    collapsed_ : (m,) array of int
        Components that had collapsed (see ``on_collapse``) in the last iteration and were kept.
    n_features_in_ : int
    feature_names_in_ : (d,) array of str
        Only where the data have column names.

    Raises
    ------
    fastgmm.exceptions.InvalidParameterError
        (a ValueError) A parameter has a value that it cannot have.
    fastgmm.exceptions.DataError
        (a ValueError) The rows cannot be used; the message names row and column.
    fastgmm.exceptions.IllDefinedCovarianceError
        (a ValueError) A covariance is not positive definite and ``reg_covar`` is 0.
    fastgmm.exceptions.CollapseError
        (a ValueError) A component has collapsed and ``on_collapse`` is "raise".
    fastgmm.exceptions.CheckpointError
        (a ValueError) The checkpoint to resume is damaged, foreign, or of other rows, settings or
        another version; the message says which differs.

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

    def __init__(
        self,
        n_components: int = 1,
        *,
        covariance_type: str = "full",
        tol: float | str = 1e-3,
        reg_covar: float = 1e-6,
        max_iter: int = 100,
        n_init: int = 1,
        init_params: Any = "kmeans",
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
        memory_limit: int | None = None,
        missing: str = "raise",
        regularization: str = "absolute",
        on_collapse: str = "keep",
        fixed: Any = (),
        checkpoint: str | PathLike[str] | None = None,
        checkpoint_interval: float = 60.0,
        resume: bool = False,
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
        self.memory_limit = memory_limit
        self.missing = missing
        self.regularization = regularization
        self.on_collapse = on_collapse
        self.fixed = fixed
        self.checkpoint = checkpoint
        self.checkpoint_interval = checkpoint_interval
        self.resume = resume

    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> Self:
        """Estimate the parameters.

        Parameters
        ----------
        X : (n, d) array, memory map, data frame, path, data set or Dask collection
            The rows. A data set is what :func:`fastgmm.open_dataset` returns.
        y : ignored
            But handed to scikit-learn's callbacks.
        sample_weight : (n,) array, optional
            Frequencies of the rows: integer weights equal repeated rows. For files, name a column
            in ``open_dataset``.

        Returns
        -------
        self
        """
        with closing(self._place(X, sample_weight)) as placement:
            best = self._fit(placement, Occasion(X, y, sample_weight))
        self._warn_of(best)
        return self

    def fit_predict(self, X: Any, y: Any = None, sample_weight: Any = None) -> LabelArray:
        """Fit and return the labels (n,) of the rows: one more pass, equal to ``predict``."""
        with closing(self._place(X, sample_weight)) as placement:
            if getattr(placement.source, "n_dropped", 0):
                raise DataError(
                    "fit_predict cannot label rows with missing values: fit with missing='drop', "
                    "then call predict, which gives them the label -1"
                )
            best = self._fit(placement, Occasion(X, y, sample_weight))
            labels: LabelArray = sinks.to_array(
                self._predictions("label", placement), placement.grid.n_samples
            )
        self._warn_of(best)
        return labels

    def _place(self, X: Any, sample_weight: Any) -> Placement:
        check_settings(type(self).__name__, self.get_params())
        source = as_source(X, sample_weight=sample_weight, missing=self.missing)
        return self._executor_for(source).place(source, self.chunk_size)

    def _fit(self, placement: Placement, occasion: Occasion) -> em.Fit:
        """Fit, publish the best start and return it."""
        began = time.perf_counter()
        source, history = placement.source, History()

        def attributes_at(iteration: IterationDone, converged: bool) -> dict[str, Any]:
            bounds = history.lower_bounds(iteration.model)
            ended = Ended(converged, len(bounds), bounds[-1], bounds, list(history.iterations))
            return self._attributes(iteration.parameters, source.dtype, ended)

        def fit(observers: Sequence[Observer]) -> em.Fit:
            verbose = Verbose(self.verbose, self.verbose_interval)
            observe = Observers(history, *pass_logs(), *observers, verbose)
            with self._checkpoint(placement) as checkpoint:
                fits = self._run(placement, observe, checkpoint)
            index = best_start(fits)
            best = fits[index]
            self._publish(best, source, history)
            seconds = time.perf_counter() - began
            observe(FitEnded(index, best.n_iter, best.converged, best.lower_bound, seconds))
            return best

        return told_of(self, occasion, attributes_at, fit)

    def _checkpoint(self, placement: Placement) -> Unkept:
        """Return where this fit is kept, and where it goes on from."""
        settings = self.get_params()
        for name in WITHOUT_INFLUENCE:
            del settings[name]
        return checkpoint_of(
            placement, self.checkpoint, self.checkpoint_interval, self.resume, settings
        )

    def _run(self, placement: Placement, observe: Observer, checkpoint: Unkept) -> list[em.Fit]:
        """Make the starts and fit them."""
        entry = checkpoint.restored("entry", Entry)
        if entry is None:
            entry = self._entry(placement.source)
            checkpoint.keep("entry", lambda: entry)
        elif entry.random_state is not None:
            as_random_state(self.random_state).set_state(entry.random_state)
        n_samples, d = placement.grid.n_samples, placement.source.n_features
        observe(FitBegan(n_samples, d, entry.n_init))
        beginning = checkpoint.restored("beginning", Beginning)
        if beginning is None:
            beginning = self._begin(placement, entry, observe)
            checkpoint.keep("beginning", lambda: beginning)
        elif beginning.random_state is not None:
            as_random_state(self.random_state).set_state(beginning.random_state)
        constants, starts, _ = beginning
        ridge = REGULARIZATIONS[self.regularization].ridge(self.reg_covar, constants.variances)
        if "covariances" in entry.fixed:
            ridge = np.zeros_like(ridge)
        settings = self._em_settings(ridge, tuple(entry.fixed))
        return em.run(placement, starts, settings, constants, observe, checkpoint)

    def _entry(self, source: Source) -> Entry:
        """Decide how many starts are made, and from what."""
        warm = None
        if self.warm_start and hasattr(self, "converged_"):
            self._check_warm_start(source)
            warm = em.Start(self.covariance_type, self._current(), self.lower_bound_)
        given = self._given_parameters(source.n_features)
        fixed = list(check_fixed(self.get_params(), given, warm is not None))
        if warm is not None or all(part is not None for part in given):
            return Entry(1, None, warm, fixed)
        single = not (isinstance(self.init_params, str) or callable(self.init_params))
        return Entry(1 if single else self.n_init, self._random_state(), None, fixed)

    def _random_state(self) -> dict[str, Any]:
        state: dict[str, Any] = as_random_state(self.random_state).get_state(legacy=False)
        return state

    def _begin(self, placement: Placement, entry: Entry, observe: Observer) -> Beginning:
        """Read the rows and make the starts."""
        n_samples, draws = placement.grid.n_samples, entry.random_state is not None

        def report(rows: int) -> None:
            observe(RowsDone(rows))

        observe(PassBegan("checking", n_samples))
        random_state = as_random_state(self.random_state) if draws else None
        streamed = self._streamed_start() if draws else None
        regularization = REGULARIZATIONS[self.regularization]
        found = survey(
            placement,
            self.n_components,
            None if streamed else random_state,
            report,
            variances=regularization.needs_variances,
            scatter=self._family.needs_scatter,
        )
        constants = found.constants
        given = self._given_parameters(placement.source.n_features)
        if entry.warm is not None:
            return Beginning(constants, [entry.warm], None)
        if random_state is None:
            start = em.Start(self.covariance_type, Parameters(*given))  # type: ignore[arg-type]
            return Beginning(constants, [start], None)
        ridge = regularization.ridge(self.reg_covar, constants.variances)
        if streamed is not None:

            def read(works: Sequence[Work[Any]]) -> list[Any]:
                observe(PassBegan("start", n_samples))
                return placement.reduce(works, report)

            floor = count_floor(placement.source.dtype, constants.total_weight / n_samples)
            k, n_init, shape = self.n_components, entry.n_init, self.covariance_type
            made = streamed(placement, read, k, random_state, n_init, shape, ridge, floor)
            starts = [em.Start(shape, given.put_into(parameters)) for parameters in made]
        else:
            observe(PassBegan("start", n_samples))
            start_rows = found.start_rows(self.n_components)
            n_threads = available_threads() if self.n_threads is None else self.n_threads
            starts = self._drawn(entry.n_init, start_rows, random_state, ridge, n_threads)
        return Beginning(constants, starts, self._random_state())

    def _em_settings(self, ridge: Float64Array, fixed: tuple[str, ...] = ()) -> em.Settings:
        tol: Any = self.tol
        return em.Settings(tol, self.max_iter, ridge, self.on_collapse, self.memory_limit, fixed)

    def _drawn(
        self,
        n_starts: int,
        start_rows: StartRows,
        random_state: np.random.RandomState,
        ridge: Float64Array,
        n_threads: int,
    ) -> list[em.Start]:
        """Make starts, one after another."""
        given = self._given_parameters(start_rows.rows.shape[1])
        return [
            em.Start(
                self.covariance_type,
                given.put_into(self._start(start_rows, random_state, ridge, n_threads)),
            )
            for _ in range(n_starts)
        ]

    def _streamed_start(self) -> StreamedStart | None:
        return STREAMED_STARTS.get(self.init_params) if isinstance(self.init_params, str) else None

    def _start(
        self,
        start_rows: StartRows,
        random_state: np.random.RandomState,
        ridge: Float64Array,
        n_threads: int,
    ) -> Parameters:
        """Make one start."""
        k, d = self.n_components, start_rows.rows.shape[1]
        start = start_by(self.init_params, self._family.shape(k, d))
        found = start(start_rows, k, random_state, n_threads)
        if isinstance(found, Parameters):
            return found
        mean_weight = 1.0 if start_rows.weights is None else float(start_rows.weights.mean())
        floor = count_floor(start_rows.rows.dtype, mean_weight)
        shape = self.covariance_type
        first = first_parameters(found, start_rows, k, shape, ridge, floor, n_threads)
        if "weights" in names_of(self.fixed):  # rows that begin in no component have no share in it
            first = first._replace(weights=first.weights / first.weights.sum())
        return first

    def _given_parameters(self, d: int) -> GivenParameters:
        """Check weights_init, means_init and precisions_init."""
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
        return GivenParameters(weights, means, covariances)

    def _check_warm_start(self, source: Source) -> None:
        self._check_columns(source)
        k = len(self._current().weights)
        if k != self.n_components:
            raise ValueError(
                f"warm_start goes on with {k} components, but n_components is "
                f"{self.n_components}: set warm_start=False to start anew"
            )

    def _publish(self, best: em.Fit, source: Source, history: History) -> None:
        ended = Ended(
            best.converged,
            best.n_iter,
            best.lower_bound,
            best.lower_bounds,
            history.iterations,
            best.collapsed,
        )
        vars(self).update(self._attributes(best.parameters, source.dtype, ended))
        columns = column_names(source)
        if columns is not None:
            self.feature_names_in_ = np.array(columns, dtype=object)
        elif hasattr(self, "feature_names_in_"):
            del self.feature_names_in_

    def _warn_of(self, best: em.Fit) -> None:
        """Warn the caller of fit of what the best start lacks."""
        if best.lift > 0.0:
            warnings.warn(
                f"reg_covar={self.reg_covar:g} is lost in the rounding of some covariances: up to "
                f"{best.lift:.1e} of their variances was added instead, so that they can be "
                "inverted. Leave out columns that follow from others, scale the columns, or set "
                "regularization='relative'.",
                stacklevel=3,
            )
        if not best.converged and self.max_iter > 0:
            warnings.warn(
                ConvergenceWarning(
                    "Best performing initialization did not converge. Try different init "
                    "parameters, or increase max_iter, tol, or check for degenerate data."
                ),
                stacklevel=3,
            )


def best_start(fits: Sequence[em.Fit]) -> int:
    """Return which start is kept: of equal ones the first, as in scikit-learn.

    Without an iteration no start has a bound, and scikit-learn keeps the last.
    """
    bounds = [fit.lower_bound for fit in fits]
    return len(fits) - 1 if max(bounds) == -math.inf else bounds.index(max(bounds))
