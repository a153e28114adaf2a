"""``select``: fit mixtures of many sizes and shapes at once and keep the best."""

import time
from collections.abc import Iterable, Sequence
from contextlib import closing
from itertools import product
from typing import Any

from fastgmm.estimators import GaussianMixture
from fastgmm.estimators.callbacks import Observers
from fastgmm.estimators.settings import SETTINGS, check_settings
from fastgmm.exceptions import InvalidParameterError
from fastgmm.folds import Folds
from fastgmm.initialization import START_NAMES
from fastgmm.progress import FitEnded, Observer
from fastgmm.selection.choice import CRITERIA, best_of
from fastgmm.selection.results import Selection
from fastgmm.selection.sweep import Sweep
from fastgmm.sources import as_source
from fastgmm.validation import (
    BOOLEAN,
    CALLABLE,
    as_random_state,
    check_setting,
    integer,
    word,
)

FORWARDED = (
    "tol",
    "reg_covar",
    "max_iter",
    "init_params",
    "n_threads",
    "chunk_size",
    "persist",
    "missing",
    "regularization",
    "on_collapse",
)
"""Settings of the estimator that all candidates share."""


def select(
    X: Any,
    n_components: int | Iterable[int] = range(1, 21),
    covariance_type: str | Iterable[str] = ("full", "diag"),
    *,
    criterion: str = "bic",
    n_folds: int = 5,
    n_init: int = 3,
    sample_weight: Any = None,
    random_state: Any = None,
    memory_limit: int | None = None,
    allow_degenerate: bool = False,
    client: Any = None,
    callbacks: Sequence[Observer] = (),
    **settings: Any,
) -> Selection:
    """Fit mixtures of every size and shape in shared passes over the data; choose the best.

    Every candidate is, bit for bit, what ``GaussianMixture(n_components, covariance_type=...,
    n_init=..., random_state=...).fit(X)`` gives alone. Together they read the data as often as the
    slowest start of any of them, and twice more: to gather what starts are made from, and to score.

    Parameters
    ----------
    X : (n, d) array, memory map, data frame, path, data set or Dask collection
        The rows, as for ``GaussianMixture.fit``.
    n_components : int or several
        Sizes to try.
    covariance_type : str or several
        Shapes to try: "full", "tied", "diag", "spherical".
    criterion : {"bic", "aic", "icl", "cv"}
        "bic", "aic", "icl": the candidate with the least is the best; see :class:`Candidate`.
        "cv": the one under which held-out rows have the greatest log likelihood. For this every
        candidate is also fitted to the rows outside of each of ``n_folds`` folds, in the same
        passes. A row's fold is a hash of its index, so it depends on ``random_state`` and on
        nothing else.
    n_folds : int
        Folds for "cv".
    n_init : int
        Starts of each candidate (and of each on every fold); the best is kept.
    sample_weight : (n,) array, optional
        Frequencies of the rows; BIC and ICL take their sum as the number of rows.
    random_state : int, RandomState or None
        Seed of all starts and of the folds. Anything but an integer draws one integer, which the
        models then have as their ``random_state``.
    memory_limit : int, optional
        Most bytes of statistics and buffers in a pass; see :class:`fastgmm.GaussianMixture`.
        Candidates that do not fit wait until others have finished.
    allow_degenerate : bool
        Whether a candidate may be the best although a component holds no more rows than there are
        columns, or has an eigenvalue of at most 10 ``reg_covar`` (10 times what is added, with
        ``regularization="relative"``). If there are no others, the best of these is taken, with a
        warning.
    client : distributed.Client, optional
        Where to fit files and Dask collections; by default the active client if there is one.
    callbacks : sequence of callables
        Called with the events of :mod:`fastgmm.progress`; models are counted start after start of
        one candidate after the other, then the same for every fold.
    **settings
        ``tol``, ``reg_covar``, ``max_iter``, ``init_params`` (a name or a function),
        ``n_threads``, ``chunk_size``, ``persist``, ``missing``, ``regularization``,
        ``on_collapse``: as for ``GaussianMixture``, for all candidates.

    Returns
    -------
    Selection
        ``table`` (a :class:`Candidate` each), ``best`` (the fitted model), ``models``, ``passes``.

    Raises
    ------
    fastgmm.exceptions.InvalidParameterError
        (a ValueError) A parameter has a value that it cannot have.
    TypeError
        A setting is none of those above.
    fastgmm.exceptions.DataError
        (a ValueError) The rows cannot be used, or are fewer than the largest ``n_components``.
    fastgmm.exceptions.IllDefinedCovarianceError, fastgmm.exceptions.CollapseError
        (ValueErrors) As for ``GaussianMixture``, of any candidate: with ``reg_covar=0``, or
        ``on_collapse="raise"``.

    Examples
    --------
    >>> import numpy as np
    >>> from fastgmm import select
    >>> rng = np.random.default_rng(0)
    >>> X = np.concatenate([rng.normal(size=(200, 2)), rng.normal(size=(200, 2)) + 6])
    >>> selection = select(X, range(1, 5), ("full", "spherical"), random_state=0)
    >>> selection.best
    GaussianMixture(covariance_type='spherical', n_components=2, n_init=3, random_state=0)
    >>> best = selection.table[selection.best_index]
    >>> (best.n_components, best.covariance_type, best.n_parameters)
    (2, 'spherical', 7)
    """
    began = time.perf_counter()
    _check("criterion", criterion, word(*CRITERIA))
    _check("n_folds", n_folds, integer(2))
    _check("allow_degenerate", allow_degenerate, BOOLEAN)
    _check("random_state", random_state, *SETTINGS["random_state"])
    unknown = sorted(set(settings).difference(FORWARDED))
    if unknown:
        raise TypeError(
            f"select() got an unexpected keyword argument {unknown[0]!r}: the settings that "
            f"candidates share are {', '.join(FORWARDED)}"
        )
    seed = _seed(random_state)
    models = [
        GaussianMixture(
            k,
            covariance_type=shape,
            n_init=n_init,
            random_state=seed,
            memory_limit=memory_limit,
            **settings,
        ).set_client(client)
        for shape, k in product(
            _several("covariance_type", covariance_type, str),
            _several("n_components", n_components, int),
        )
    ]
    for model in models:
        check_settings("select", model.get_params())
    _check("init_params", models[0].init_params, word(*START_NAMES), CALLABLE)
    observe = Observers(*callbacks)
    source = as_source(X, sample_weight=sample_weight, missing=models[0].missing)
    executor = models[0]._executor_for(source)
    folds = Folds(n_folds, seed) if criterion == "cv" else None
    with closing(executor.place(source, models[0].chunk_size)) as placement:
        outcome = Sweep(placement, models, seed, folds, observe).run()
    best = best_of(outcome.table, criterion, allow_degenerate)
    fit, seconds = outcome.fits[best], time.perf_counter() - began
    models[best]._warn_of(fit)
    observe(FitEnded(best * n_init, fit.n_iter, fit.converged, fit.lower_bound, seconds))
    return Selection(criterion, outcome.table, models, best, outcome.passes, seconds)


def _check(name: str, value: Any, *rules: Any) -> None:
    check_setting("select", name, value, rules)


def _seed(random_state: Any) -> int:
    if integer(0, 2**32 - 1).accepts(random_state):
        return int(random_state)
    return int(as_random_state(random_state).randint(2**31 - 1))


def _several(name: str, value: Any, kind: type) -> list[Any]:
    """Return one or several as a list without doubles."""
    single = isinstance(value, kind) or not isinstance(value, Iterable)
    values = [value] if single else list(value)
    if not values:
        raise InvalidParameterError(f"The {name!r} parameter of select is empty: name at least one")
    if len(set(values)) < len(values):
        raise InvalidParameterError(
            f"The {name!r} parameter of select names one value twice: {values}"
        )
    return values
