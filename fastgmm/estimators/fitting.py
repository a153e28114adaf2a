"""Fitting: from rows to starts, from starts to the best fit, and that to public attributes."""

import math
import time
import warnings
from collections.abc import Sequence
from os import PathLike
from typing import Any, NamedTuple

import numpy as np

from fastgmm import em
from fastgmm._typing import Float64Array
from fastgmm.checkpoint import Unkept, checkpoint_of
from fastgmm.criteria import warn_of_light_rows
from fastgmm.descriptions import described
from fastgmm.estimators.callbacks import History, Observers, Occasion, told_of
from fastgmm.estimators.mixtures.conditioning import Conditional
from fastgmm.estimators.mixtures.mixture import Ended
from fastgmm.estimators.settings import check_fixed, check_settings, influential, names_of
from fastgmm.estimators.verbose import Verbose
from fastgmm.exceptions import ConvergenceWarning
from fastgmm.executors import Placement, Work
from fastgmm.executors.limits import available_threads
from fastgmm.initialization import (
    STREAMED_STARTS,
    DataConstants,
    StartRows,
    StreamedStart,
    check_counting,
    first_parameters,
    start_by,
    survey,
)
from fastgmm.maximization import REGULARIZATIONS, count_floor, ridge_beside
from fastgmm.parameters import GivenParameters, Parameters
from fastgmm.pass_log import pass_logs
from fastgmm.progress import FitBegan, FitEnded, IterationDone, Observer, PassBegan, reporting
from fastgmm.sources import Source, as_source
from fastgmm.validation import RANDOM_STATE, as_random_state, check_array, check_weights


class Entry(NamedTuple):
    """How a fit enters: decided before the first pass."""

    n_init: int
    random_state: dict[str, Any] | None
    """The state of the generator that starts are drawn from: empty if that comes from an int, None
    if nothing is drawn."""
    warm: em.Start | None
    fixed: list[str]
    """Names of the parameters that stay."""


class Beginning(NamedTuple):
    """What the first pass and the starts have come to."""

    constants: DataConstants
    starts: list[em.Start]
    random_state: dict[str, Any] | None
    """The state of the generator afterwards; empty or None as in :class:`Entry`."""


class Fitting(Conditional):
    """A mixture that is fitted by expectation-maximisation, as its settings say."""

    tol: float | str
    reg_covar: float
    max_iter: int
    n_init: int
    init_params: Any
    weights_init: Any
    means_init: Any
    precisions_init: Any
    warm_start: bool
    verbose: int
    verbose_interval: int
    memory_limit: int | None
    regularization: str
    on_collapse: str
    checkpoint: str | PathLike[str] | None
    checkpoint_interval: float
    resume: bool

    def _place(self, X: Any, sample_weight: Any) -> Placement:
        check_settings(type(self).__name__, self._settings())
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
        return checkpoint_of(
            placement,
            self.checkpoint,
            self.checkpoint_interval,
            self.resume,
            influential(self._settings()),
        )

    def _run(self, placement: Placement, observe: Observer, checkpoint: Unkept) -> list[em.Fit]:
        """Make the starts and fit them."""
        warm = self._warm(placement.source)
        entry = checkpoint.restored("entry", Entry)
        # a fit that began cold, or an estimator without parameters, goes on with the file's
        if entry is not None and entry.warm is not None and warm is not None:
            checkpoint.check_same("starting parameters", _described(entry.warm), _described(warm))
        if entry is None:
            entry = self._entry(warm, placement.source.n_features)
            checkpoint.keep("entry", lambda: entry)
        elif entry.random_state:
            as_random_state(self.random_state).set_state(entry.random_state)
        n_samples, d = placement.grid.n_samples, placement.source.n_features
        observe(FitBegan(n_samples, d, entry.n_init))
        beginning = checkpoint.restored("beginning", Beginning)
        if beginning is None:
            with em.rehearsed(placement, [self.covariance_type], self.n_components):
                beginning = self._begin(placement, entry, observe)
            checkpoint.keep("beginning", lambda: beginning)
        elif beginning.random_state:
            as_random_state(self.random_state).set_state(beginning.random_state)
        constants, starts, _ = beginning
        ridge = REGULARIZATIONS[self.regularization].ridge(self.reg_covar, constants.variances)
        settings = self._em_settings(ridge, tuple(entry.fixed))
        return em.run(placement, starts, settings, constants, observe, checkpoint)

    def _warm(self, source: Source) -> em.Start | None:
        """Return where a warm start goes on, None where this is none."""
        if not (self.warm_start and hasattr(self, "converged_")):
            return None
        self._check_warm_start(source)
        return em.Start(self.covariance_type, self._current(), self.lower_bound_)

    def _entry(self, warm: em.Start | None, n_features: int) -> Entry:
        """Decide how many starts are made, and from what."""
        given = self._given_parameters(n_features)
        fixed = list(check_fixed(self._settings(), given, warm is not None))
        if warm is not None or all(part is not None for part in given):
            return Entry(1, None, warm, fixed)
        single = not (isinstance(self.init_params, str) or callable(self.init_params))
        return Entry(1 if single else self.n_init, self._random_state(), None, fixed)

    def _random_state(self) -> dict[str, Any]:
        """Return the state of the generator; empty if every fit makes its own of an int."""
        if not (self.random_state is None or RANDOM_STATE.accepts(self.random_state)):
            return {}
        state: dict[str, Any] = as_random_state(self.random_state).get_state(legacy=False)
        return state

    def _begin(self, placement: Placement, entry: Entry, observe: Observer) -> Beginning:
        """Read the rows and make the starts."""
        n_samples, draws = placement.grid.n_samples, entry.random_state is not None
        report = reporting(observe)
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

            check_counting(constants.n_counting, self.n_components)
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

    def _em_settings(self, ridge: Float64Array, fixed: tuple[str, ...]) -> em.Settings:
        tol: Any = self.tol
        ridge = ridge_beside(fixed, ridge)
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
        if source.columns is not None:
            self.feature_names_in_ = np.array(source.columns, dtype=object)
        elif hasattr(self, "feature_names_in_"):
            del self.feature_names_in_

    def _warn_of(self, best: em.Fit, counting: str = "") -> None:
        """Warn the caller of fit of what the best start lacks.

        ``counting`` is what counts observations besides ``tol="statistical"``.
        """
        if counting or self.tol == "statistical":
            warn_of_light_rows(best.row_weight, counting or "tol='statistical' takes", stacklevel=3)
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


def _described(warm: em.Start | None) -> dict[str, Any] | None:
    """Return what tells a warm start from others; None for none."""
    if warm is None:
        return None
    numbers = {**warm.parameters._asdict(), "lower_bound": warm.lower_bound}
    return {f"{name}_": described(value) for name, value in numbers.items()}


def best_start(fits: Sequence[em.Fit]) -> int:
    """Return which start is kept: of equal ones the first, as in scikit-learn.

    Without an iteration no start has a bound, and scikit-learn keeps the last.
    """
    bounds = [fit.lower_bound for fit in fits]
    return len(fits) - 1 if max(bounds) == -math.inf else bounds.index(max(bounds))
