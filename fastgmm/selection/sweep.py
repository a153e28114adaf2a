"""The sweep: all starts of all candidates, on all rows and outside of every fold, at once."""

from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from itertools import product
from typing import Any, NamedTuple

import numpy as np

from fastgmm import criteria, em
from fastgmm._typing import Float64Array
from fastgmm.covariance import FAMILIES
from fastgmm.estimators import GaussianMixture
from fastgmm.estimators.callbacks import History
from fastgmm.estimators.gaussian_mixture import best_start
from fastgmm.executors import Placement, Work
from fastgmm.executors.threads import available_threads
from fastgmm.expectation import EntropyScoring, Scoring, column_names
from fastgmm.folds import Folds, within
from fastgmm.initialization import STREAMED_STARTS, StreamedStart, Survey, survey
from fastgmm.maximization import REGULARIZATIONS, count_floor
from fastgmm.progress import (
    Event,
    FitBegan,
    IterationDone,
    Observer,
    PassBegan,
    RowsDone,
    StartMade,
)
from fastgmm.selection.choice import degenerate
from fastgmm.selection.results import Candidate, Passes
from fastgmm.selection.together import Read, together


class Outcome(NamedTuple):
    """A sweep that is over."""

    table: list[Candidate]
    fits: list[em.Fit]
    """Each candidate's best start on all rows."""
    passes: Passes


@dataclass(frozen=True)
class Sweep:
    """Candidates about to be fitted."""

    placement: Placement
    models: Sequence[GaussianMixture]
    """One for each candidate; ``run`` publishes the fits in them."""
    seed: int
    folds: Folds | None
    observe: Observer

    def run(self) -> Outcome:
        """Fit, publish and judge all candidates."""
        source, n_samples = self.placement.source, self.placement.grid.n_samples
        n_parts = 1 if self.folds is None else 1 + self.folds.n_folds
        owners = [
            _Owner(*one)
            for one in product(
                range(n_parts), range(len(self.models)), range(self.models[0].n_init)
            )
        ]
        books = _Books(owners, len(self.models), self.observe)
        books(FitBegan(n_samples, source.n_features, len(owners)))
        trainings, starts = self._starts(books)
        settings = self.models[0]._em_settings(trainings[0].ridge)
        all_fits = em.run(self.placement, starts, settings, trainings[0].constants, books)
        fits = [self._bests(owners, all_fits, part) for part in range(n_parts)]
        for model, fit, history in zip(self.models, fits[0], books.histories, strict=True):
            model._publish(fit, source, history)
        scores = self._scores(fits[1:], books)
        table = [
            self._candidate(*line, trainings[0])
            for line in zip(self.models, fits[0], scores, books.seconds, strict=True)
        ]
        return Outcome(table, fits[0], books.passes())

    def _starts(self, observe: Observer) -> tuple[list[em.Training], list[em.Start]]:
        """Read the rows once and make all starts from what was gathered."""
        observe(PassBegan("checking", self.placement.grid.n_samples))
        parts = [] if self.folds is None else [*map(self.folds.training, range(self.folds.n_folds))]
        generator = np.random.RandomState(self.seed)
        regularization = REGULARIZATIONS[self.models[0].regularization]
        found = survey(
            self.placement,
            max(model.n_components for model in self.models),
            None if self._streamed else generator,
            _reporting(observe),
            variances=regularization.needs_variances,
            scatter=any(FAMILIES[m.covariance_type].needs_scatter for m in self.models),
            parts=parts,
        )
        trainings = [
            em.Training(
                part, constants, regularization.ridge(self.models[0].reg_covar, constants.variances)
            )
            for part, constants in zip(
                [None, *parts], [found.constants, *found.of_parts], strict=True
            )
        ]
        if self._streamed:
            return trainings, self._read_together(trainings, observe)
        observe(PassBegan("start", None))
        return trainings, self._drawn(trainings, found, generator, observe)

    @property
    def _streamed(self) -> StreamedStart | None:
        """How starts are made that read all rows, if that is what they do."""
        init_params = self.models[0].init_params
        return STREAMED_STARTS.get(init_params) if isinstance(init_params, str) else None

    def _read_together(self, trainings: Sequence[em.Training], observe: Observer) -> list[em.Start]:
        """Make starts that read all rows in passes that all candidates share."""
        streamed, placement = self._streamed, self.placement
        assert streamed is not None

        def read(works: Sequence[Work[Any]]) -> list[Any]:
            observe(PassBegan("start", placement.grid.n_samples))
            return placement.reduce(works, _reporting(observe))

        def make(training: em.Training, model: GaussianMixture, read: Read) -> list[em.Start]:
            mean_weight = training.constants.total_weight / placement.grid.n_samples
            made = streamed(
                placement,
                lambda works: read([within(training.part, work) for work in works]),
                model.n_components,
                np.random.RandomState(self.seed),
                model.n_init,
                model.covariance_type,
                training.ridge,
                count_floor(placement.source.dtype, mean_weight),
            )
            shape = model.covariance_type
            return [em.Start(shape, parameters, training=training) for parameters in made]

        makers = [partial(make, *one) for one in product(trainings, self.models)]
        return [start for starts in together(makers, read) for start in starts]

    def _drawn(
        self,
        trainings: Sequence[em.Training],
        found: Survey,
        generator: np.random.RandomState,
        observe: Observer,
    ) -> list[em.Start]:
        """Make the starts, those of several candidates at a time: each has draws of its own."""
        state = generator.get_state()
        n_threads = self.models[0].n_threads or available_threads()
        at_once = self._at_once(found, n_threads)

        def draw(training: em.Training, candidate: int) -> list[em.Start]:
            # as in a fit of its own: what was left of the generator after the rows were gathered
            own = np.random.RandomState()
            own.set_state(state)
            model = self.models[candidate]
            rows = found.start_rows(model.n_components, training.part)
            share = max(n_threads // at_once, 1)
            starts = model._drawn(model.n_init, rows, own, training.ridge, share)
            return [replace(start, training=training) for start in starts]

        starts: list[em.Start] = []
        with ThreadPoolExecutor(at_once, thread_name_prefix="fastgmm") as pool:
            tasks = [pool.submit(draw, *one) for one in product(trainings, range(len(self.models)))]
            try:
                for task in tasks:
                    for start in task.result():
                        observe(StartMade(len(starts)))
                        starts.append(start)
            finally:
                for task in tasks:
                    task.cancel()
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
    def _bests(owners: Sequence["_Owner"], fits: Sequence[em.Fit], part: int) -> list[em.Fit]:
        """Return each candidate's best fit on one part."""
        of: dict[int, list[em.Fit]] = {}
        for owner, fit in zip(owners, fits, strict=True):
            if owner.part == part:
                of.setdefault(owner.candidate, []).append(fit)
        return [group[best_start(group)] for group in of.values()]

    def _scores(self, of_folds: Sequence[Sequence[em.Fit]], observe: Observer) -> list["_Scores"]:
        """Read the rows once more: what is the likelihood of all, and of those held out?"""
        source = self.placement.source
        columns, dtype = column_names(source), source.dtype
        works: list[Work[Any]] = [
            EntropyScoring(model._density(dtype), columns) for model in self.models
        ]
        for fold, fits in enumerate(of_folds):
            assert self.folds is not None
            for model, fit in zip(self.models, fits, strict=True):
                density = FAMILIES[model.covariance_type].prepare(fit.parameters, dtype)
                works.append(within(self.folds.held_out(fold), Scoring(density, columns)))
        observe(PassBegan("scoring", self.placement.grid.n_samples))
        totals = self.placement.reduce(works, _reporting(observe))
        n = len(self.models)
        held_out = [sum(totals[n + i :: n]) if of_folds else None for i in range(n)]
        return [
            _Scores(float(one[0]), float(one[1]), float(one[2]), held)
            for one, held in zip(totals[:n], held_out, strict=True)
        ]

    def _candidate(
        self,
        model: GaussianMixture,
        fit: em.Fit,
        scores: "_Scores",
        seconds: float,
        training: em.Training,
    ) -> Candidate:
        n_parameters = model._n_parameters()
        likelihood, weight, entropy, held_out = scores
        return Candidate(
            model.n_components,
            model.covariance_type,
            likelihood,
            n_parameters,
            criteria.aic(likelihood, n_parameters),
            criteria.bic(likelihood, n_parameters, weight),
            criteria.icl(likelihood, n_parameters, weight, entropy),
            fit.n_iter,
            fit.converged,
            degenerate(
                model.covariance_type,
                fit.parameters,
                training.ridge,
                training.constants,
                self.placement.source.dtype,
            ),
            seconds,
            None if held_out is None else float(held_out[0] / held_out[1]),
        )


class _Scores(NamedTuple):
    """Totals over the rows."""

    log_likelihood: float
    weight: float
    entropy: float
    held_out: Float64Array | None
    """(2,) log likelihood and weight of the held-out rows of all folds."""


class _Owner(NamedTuple):
    """Whose start one of the models in the passes is."""

    part: int
    """0: all rows, else outside of fold ``part`` - 1."""
    candidate: int
    start: int


def _reporting(observe: Observer) -> Callable[[int], None]:
    def report(rows: int) -> None:
        observe(RowsDone(rows))

    return report


class _Books:
    """Write down the passes and what belongs to each candidate; hand everything on."""

    def __init__(self, owners: Sequence[_Owner], n_candidates: int, observe: Observer) -> None:
        self.histories = [History() for _ in range(n_candidates)]
        self.seconds = [0.0] * n_candidates
        self._owners = owners
        self._observe = observe
        self._passes: Counter[str] = Counter()
        self._charged = [0] * n_candidates
        """The pass that each candidate was charged last."""

    def __call__(self, event: Event) -> object:
        """Take one event; the answer is the observer's."""
        match event:
            case PassBegan():
                # without rows: starts are made from those that the first pass gathered
                self._passes[event.name] += event.n_samples is not None
            case IterationDone():
                self._note(event)
        return self._observe(event)

    def _note(self, event: IterationDone) -> None:
        part, candidate, start = self._owners[event.model]
        if part == 0:
            self.histories[candidate](event._replace(model=start))
        if self._charged[candidate] < self._passes["iteration"]:
            self._charged[candidate] = self._passes["iteration"]
            self.seconds[candidate] += event.seconds

    def passes(self) -> Passes:
        """Return how often the rows were read, and what for."""
        count = self._passes
        return Passes(
            count["checking"] + count["start"],
            count["iteration"],
            count["reseeding"],
            count["scoring"],
        )
