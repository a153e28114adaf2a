"""The sweep: all starts of all candidates, on all rows and outside of every fold, at once."""

import logging
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from itertools import product
from typing import Any, NamedTuple

import numpy as np

from fastgmm import em
from fastgmm.checkpoint import UNKEPT, Unkept
from fastgmm.covariance import FAMILIES
from fastgmm.estimators import GaussianMixture
from fastgmm.estimators.fitting import best_start
from fastgmm.estimators.settings import names_of
from fastgmm.executors import Placement, Pool, Work
from fastgmm.executors.limits import available_threads
from fastgmm.folds import Folds, Part, within
from fastgmm.initialization import (
    STREAMED_STARTS,
    DataConstants,
    StreamedStart,
    Survey,
    check_counting,
    survey,
)
from fastgmm.maximization import REGULARIZATIONS, count_floor, ridge_beside
from fastgmm.parameters import Parameters
from fastgmm.progress import FitBegan, Observer, PassBegan, StartMade, reporting
from fastgmm.selection.books import Books, Owner
from fastgmm.selection.judging import Judgement
from fastgmm.selection.results import Candidate, Passes
from fastgmm.selection.together import Read, together

log = logging.getLogger("fastgmm")


class Outcome(NamedTuple):
    """A sweep that is over."""

    table: list[Candidate]
    fits: list[em.Fit]
    """Each candidate's best start on all rows."""
    passes: Passes


class Made(NamedTuple):
    """A start, or why there is none: then the parameters are not numbers."""

    parameters: Parameters
    failure: str | None = None


class Beginning(NamedTuple):
    """What the first pass and the starts have come to."""

    constants: list[DataConstants]
    """Of all rows, then of those outside of each fold."""
    starts: list[Made]
    """Of one candidate after the other on all rows, then the same outside of each fold; the first
    of them in a sweep that was interrupted while it made them."""


@dataclass(frozen=True)
class Sweep:
    """Candidates about to be fitted."""

    placement: Placement
    models: Sequence[GaussianMixture]
    """One for each candidate; ``run`` publishes the fits in them."""
    seed: int
    folds: Folds | None
    observe: Observer
    checkpoint: Unkept = UNKEPT
    """Where the sweep is kept, and where it goes on from."""

    def run(self) -> Outcome:
        """Fit, publish and judge all candidates."""
        source, n_samples = self.placement.source, self.placement.grid.n_samples
        sizes = len(self._parts), len(self.models), self.models[0].n_init
        owners = [Owner(*one) for one in product(*map(range, sizes))]
        books = Books(owners, len(self.models), self.observe)
        books(FitBegan(n_samples, source.n_features, len(owners)))
        beginning = self.checkpoint.restored("beginning", Beginning)
        if beginning is None or len(beginning.starts) < len(owners):
            made = [] if beginning is None else beginning.starts
            shapes = dict.fromkeys(model.covariance_type for model in self.models)
            most = max(model.n_components for model in self.models)
            with em.rehearsed(self.placement, shapes, most):
                beginning = self._begin(made, books)
        fixed = names_of(self.models[0].fixed)
        trainings = [
            replace(one, ridge=ridge_beside(fixed, one.ridge))
            for one in self._trainings(beginning.constants)
        ]
        starts = [
            em.Start(
                self.models[owner.candidate].covariance_type,
                made.parameters,
                training=trainings[owner.part],
                failure=made.failure,
            )
            for owner, made in zip(owners, beginning.starts, strict=True)
        ]
        whole = trainings[0]
        settings = self.models[0]._em_settings(whole.ridge, fixed)
        all_fits = em.run(
            self.placement, starts, settings, whole.constants, books, self.checkpoint, books.failing
        )
        fits = [self._bests(owners, all_fits, part) for part in range(len(trainings))]
        for model, fit, history in zip(self.models, fits[0], books.histories, strict=True):
            if fit.failure is None:
                model._publish(fit, source, history)
        judgement = Judgement(self.placement, self.models, fits, whole, self.folds)
        return Outcome(judgement.table(books.seconds, books), fits[0], books.passes())

    @property
    def _parts(self) -> list[Part | None]:
        """All rows, then those outside of each fold."""
        folds = self.folds
        return [None, *([] if folds is None else map(folds.training, range(folds.n_folds)))]

    def _trainings(self, constants: Sequence[DataConstants]) -> list[em.Training]:
        first = self.models[0]
        regularization = REGULARIZATIONS[first.regularization]
        return [
            em.Training(part, one, regularization.ridge(first.reg_covar, one.variances))
            for part, one in zip(self._parts, constants, strict=True)
        ]

    def _begin(self, made: Sequence[Made], observe: Observer) -> Beginning:
        """Read the rows once and make the starts that are not made from what was gathered."""
        observe(PassBegan("checking", self.placement.grid.n_samples))
        generator = np.random.RandomState(self.seed)
        found = survey(
            self.placement,
            max(model.n_components for model in self.models),
            None if self._streamed else generator,
            reporting(observe),
            variances=REGULARIZATIONS[self.models[0].regularization].needs_variances,
            scatter=any(FAMILIES[m.covariance_type].needs_scatter for m in self.models),
            parts=[part for part in self._parts if part is not None],
        )
        constants = [found.constants, *found.of_parts]
        if self._streamed:
            starts = self._read_together(constants, observe)
        else:
            observe(PassBegan("start", None))
            starts = self._drawn(made, constants, found, generator, observe)
        beginning = Beginning(constants, starts)
        self.checkpoint.keep("beginning", lambda: beginning)
        return beginning

    @property
    def _streamed(self) -> StreamedStart | None:
        """How starts are made that read all rows, if that is what they do."""
        init_params = self.models[0].init_params
        return STREAMED_STARTS.get(init_params) if isinstance(init_params, str) else None

    def _read_together(self, constants: Sequence[DataConstants], observe: Observer) -> list[Made]:
        """Make starts that read all rows in passes that all candidates share."""
        streamed, placement = self._streamed, self.placement
        assert streamed is not None

        def read(works: Sequence[Work[Any]]) -> list[Any]:
            observe(PassBegan("start", placement.grid.n_samples))
            return placement.reduce(works, reporting(observe))

        def make(training: em.Training, model: GaussianMixture, read: Read) -> list[Parameters]:
            check_counting(training.constants.n_counting, model.n_components)
            mean_weight = training.constants.total_weight / placement.grid.n_samples
            return streamed(
                placement,
                lambda works: read([within(training.part, work) for work in works]),
                model.n_components,
                np.random.RandomState(self.seed),
                model.n_init,
                model.covariance_type,
                training.ridge,
                count_floor(placement.source.dtype, mean_weight),
            )

        makers = [partial(make, *one) for one in product(self._trainings(constants), self.models)]
        return [Made(start) for starts in together(makers, read) for start in starts]

    def _drawn(
        self,
        made: Sequence[Made],
        constants: list[DataConstants],
        found: Survey,
        generator: np.random.RandomState,
        observe: Observer,
    ) -> list[Made]:
        """Make the starts that are left, several candidates' at a time: each has its own draws."""
        state = generator.get_state()
        n_threads = self.models[0].n_threads or available_threads()
        at_once = self._at_once(found, n_threads)

        def draw(training: em.Training, model: GaussianMixture) -> list[Made]:
            # as in a fit of its own: what was left of the generator after the rows were gathered
            own = np.random.RandomState()
            own.set_state(state)
            rows = found.start_rows(model.n_components, training.part)
            share = max(n_threads // at_once, 1)
            try:
                starts = model._drawn(model.n_init, rows, own, training.ridge, share)
            except Exception as error:
                if not callable(model.init_params):
                    raise
                return [_failed(model, rows.rows.shape[1], error)] * model.n_init
            return [Made(start.parameters) for start in starts]

        starts = [*made]
        wanted = [*product(self._trainings(constants), self.models)]
        wanted = wanted[len(made) // self.models[0].n_init :]
        with closing(Pool(at_once)) as pool:
            tasks = [pool.submit(draw, *one) for one in wanted]
            for task in tasks:
                for start in task.get():
                    observe(StartMade(len(starts)))
                    starts.append(start)
                self.checkpoint.keep(
                    "beginning", lambda: Beginning(constants, [*starts]), over=False
                )
        return starts

    def _at_once(self, found: Survey, n_threads: int) -> int:
        """Return how many candidates' starts are made at a time."""
        if callable(self.models[0].init_params) or found.gathered is None:
            return 1  # a user's function need not bear company
        rows = found.gathered.rows
        # k-means keeps the rows about their mean and some numbers a row
        each = 2 * rows.nbytes + 64 * len(rows)
        limit = self.models[0].memory_limit or self.placement.memory // 2
        return int(max(min(n_threads, limit // each), 1))

    @staticmethod
    def _bests(owners: Sequence[Owner], fits: Sequence[em.Fit], part: int) -> list[em.Fit]:
        """Return each candidate's best fit on one part; the one that failed if there is any."""
        of: dict[int, list[em.Fit]] = {}
        for owner, fit in zip(owners, fits, strict=True):
            if owner.part == part:
                of.setdefault(owner.candidate, []).append(fit)
        return [
            next((fit for fit in group if fit.failure is not None), group[best_start(group)])
            for group in of.values()
        ]


def _failed(model: GaussianMixture, d: int, error: Exception) -> Made:
    """Return what becomes of a start whose function raises: the other candidates go on."""
    log.info("init_params failed for %r", model, exc_info=error)
    k = model.n_components
    shapes = (k,), (k, d), FAMILIES[model.covariance_type].shape(k, d)
    parameters = Parameters(*(np.full(shape, np.nan) for shape in shapes))
    return Made(parameters, f"{type(error).__name__} in init_params: {error}")
