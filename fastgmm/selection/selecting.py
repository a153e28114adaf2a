"""``select``: fit mixtures of many sizes and shapes at once and keep the best."""

import time
from collections.abc import Iterable, Sequence
from contextlib import closing
from itertools import product
from os import PathLike
from typing import Any

from fastgmm.checkpoint import Unkept, checkpoint_of
from fastgmm.estimators import GaussianMixture
from fastgmm.estimators.callbacks import Observers
from fastgmm.estimators.settings import SETTINGS, check_fixed, check_settings, influential
from fastgmm.exceptions import InvalidParameterError
from fastgmm.folds import Folds
from fastgmm.initialization import START_NAMES
from fastgmm.parameters import GivenParameters
from fastgmm.pass_log import pass_logs
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
    "fixed",
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
    checkpoint: str | PathLike[str] | None = None,
    checkpoint_interval: float = 60.0,
    resume: bool = False,
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
        Shapes to try: "full", "tied", "diag", "spherical", "tied_diag", "tied_spherical".
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
    checkpoint : path or None
        Keep the sweep in this file, as ``GaussianMixture`` keeps a fit: all candidates in one file.
    checkpoint_interval : float
        Seconds between two writings of the file.
    resume : bool
        Go on where the file leaves off, to the same bits; begin anew where there is none.
        ``passes`` and ``seconds`` of the result are those of the run that ends the sweep.
    **settings
        ``tol``, ``reg_covar``, ``max_iter``, ``init_params`` (a name or a function),
        ``n_threads``, ``chunk_size``, ``persist``, ``missing``, ``regularization``,
        ``on_collapse``, ``fixed`` (with an ``init_params`` that gives the values): as for
        ``GaussianMixture``, for all candidates.

    Returns
    -------
    Selection
        ``table`` (a :class:`Candidate` each), ``best`` (the fitted model), ``models``, ``passes``.

    Raises
    ------
    fastgmm.exceptions.InvalidParameterError
        (a ValueError) A parameter has a value that it cannot have.
    fastgmm.exceptions.CheckpointError
        (a ValueError) The checkpoint to resume is damaged, foreign, or of other rows, candidates or
        settings; the message says which differs.
    TypeError
        A setting is none of those above, or ``client`` or one of ``callbacks`` is none.
    fastgmm.exceptions.DataError
        (a ValueError) The rows cannot be used, or are fewer than the largest ``n_components``; with
        "cv" also where those outside of a fold are, or where a fold has none.
    fastgmm.exceptions.FitError
        (a ValueError) No candidate could be fitted. One that cannot, as with ``reg_covar=0`` or
        ``on_collapse="raise"``, is otherwise left out with a warning; ``failure`` in its line of
        the table says why.

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
    kept = {"checkpoint": checkpoint, "checkpoint_interval": checkpoint_interval, "resume": resume}
    for name, value in kept.items():
        _check(name, value, *SETTINGS[name])
    unknown = sorted(set(settings).difference(FORWARDED))
    if unknown:
        raise TypeError(
            f"select() got an unexpected keyword argument {unknown[0]!r}: the settings that "
            f"candidates share are {', '.join(FORWARDED)}"
        )
    if callable(callbacks):
        raise TypeError("callbacks of select is a sequence: write callbacks=[f] for one")
    for callback in callbacks:
        if not CALLABLE.accepts(callback):
            raise TypeError(
                f"callbacks of select are callables that take an event, but {callback!r} is none"
            )
    seed = _seed(random_state)
    sizes = _several("n_components", n_components, int)
    shapes = _several("covariance_type", covariance_type, str)
    models = [
        GaussianMixture(
            k,
            covariance_type=shape,
            n_init=n_init,
            random_state=seed,
            memory_limit=memory_limit,
            **settings,
        ).set_client(client)
        for shape, k in product(shapes, sizes)
    ]
    for model in models:
        check_settings("select", model._settings())
    _check("init_params", models[0].init_params, word(*START_NAMES), CALLABLE)
    check_fixed(models[0]._settings(), GivenParameters(), warm=False)
    observe = Observers(*pass_logs(), *callbacks)
    source = as_source(X, sample_weight=sample_weight, missing=models[0].missing)
    executor = models[0]._executor_for(source)
    of_the_sweep = {
        "n_components": _listed(sizes),
        "covariance_type": _listed(shapes),
        "random_state": random_state,
        "criterion": criterion,
        "n_folds": n_folds if criterion == "cv" else None,
    }
    identity = influential({**models[0]._settings(), **of_the_sweep})
    with (
        closing(executor.place(source, models[0].chunk_size)) as placement,
        checkpoint_of(placement, checkpoint, checkpoint_interval, resume, identity) as keeping,
    ):
        seed = _kept(keeping, seed)
        for model in models:
            model.random_state = seed
        folds = Folds(n_folds, seed) if criterion == "cv" else None
        outcome = Sweep(placement, models, seed, folds, observe, keeping).run()
        best = best_of(outcome.table, criterion, allow_degenerate)
    fit, seconds = outcome.fits[best], time.perf_counter() - began
    models[best]._warn_of(fit, "" if criterion == "cv" else "AIC, BIC and ICL take")
    observe(FitEnded(best * n_init, fit.n_iter, fit.converged, fit.lower_bound, seconds))
    return Selection(criterion, outcome.table, models, best, outcome.passes, seconds)


def _check(name: str, value: Any, *rules: Any) -> None:
    check_setting("select", name, value, rules)


def _seed(random_state: Any) -> int:
    if integer(0, 2**32 - 1).accepts(random_state):
        return int(random_state)
    return int(as_random_state(random_state).randint(2**31 - 1))


def _kept(checkpoint: Unkept, seed: int) -> int:
    """Return the seed that a sweep began with: that of an earlier run, if there was one."""
    earlier = checkpoint.restored("seed", int)
    if earlier is not None:
        return earlier
    checkpoint.keep("seed", lambda: seed)
    return seed


def _listed(values: Sequence[Any]) -> Any:
    """Return one value as it is, several as text for people."""
    return values[0] if len(values) == 1 else ", ".join(map(str, values))


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
