"""The sweep: all starts of all candidates, on all rows and outside of every fold, at once."""

from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import product
from typing import Any, NamedTuple

import numpy as np

from fastgmm import criteria, em
from fastgmm._typing import Float64Array
from fastgmm.checkpoint import UNKEPT, Unkept
from fastgmm.covariance import FAMILIES
from fastgmm.estimators import GaussianMixture
from fastgmm.estimators.callbacks import History
from fastgmm.estimators.gaussian_mixture import best_start
from fastgmm.executors import Placement, Work
from fastgmm.executors.threads import available_threads
from fastgmm.expectation import EntropyScoring, Scoring, column_names
from fastgmm.folds import Folds, Part, within
from fastgmm.initialization import (
    STREAMED_STARTS,
    DataConstants,
    StreamedStart,
    Survey,
    survey,
)
from fastgmm.maximization import REGULARIZATIONS, count_floor
from fastgmm.parameters import Parameters
from fastgmm.progress import (
    Event,
    FitBegan,
    IterationDone,
    ModelResumed,
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


class Beginning(NamedTuple):
    """What the first pass and the starts have come to."""

    constants: list[DataConstants]
    """Of all rows, then of those outside of each fold."""
    starts: list[Parameters]
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
        owners = [_Owner(*one) for one in product(*map(range, sizes))]
        books = _Books(owners, len(self.models), self.observe)
        books(FitBegan(n_samples, source.n_features, len(owners)))
        beginning = self.checkpoint.restored("beginning", Beginning)
        if beginning is None or len(beginning.starts) < len(owners):
            beginning = self._begin([] if beginning is None else beginning.starts, books)
        trainings = self._trainings(beginning.constants)
        starts = [
            em.Start(
                self.models[owner.candidate].covariance_type,
                parameters,
                training=trainings[owner.part],
            )
            for owner, parameters in zip(owners, beginning.starts, strict=True)
        ]
        whole = trainings[0]
        settings = self.models[0]._em_settings(whole.ridge)
        all_fits = em.run(self.placement, starts, settings, whole.constants, books, self.checkpoint)
        fits = [self._bests(owners, all_fits, part) for part in range(len(trainings))]
        for model, fit, history in zip(self.models, fits[0], books.histories, strict=True):
            model._publish(fit, source, history)
        scores = self._scores(fits[1:], books)
        table = [
            self._candidate(*line, whole)
            for line in zip(self.models, fits[0], scores, books.seconds, strict=True)
        ]
        return Outcome(table, fits[0], books.passes())

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

    def _begin(self, made: Sequence[Parameters], observe: Observer) -> Beginning:
        """Read the rows once and make the starts that are not made from what was gathered."""
        observe(PassBegan("checking", self.placement.grid.n_samples))
        generator = np.random.RandomState(self.seed)
        found = survey(
            self.placement,
            max(model.n_components for model in self.models),
            None if self._streamed else generator,
            _reporting(observe),
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

    def _read_together(
        self, constants: Sequence[DataConstants], observe: Observer
    ) -> list[Parameters]:
        """Make starts that read all rows in passes that all candidates share."""
        streamed, placement = self._streamed, self.placement
        assert streamed is not None

        def read(works: Sequence[Work[Any]]) -> list[Any]:
            observe(PassBegan("start", placement.grid.n_samples))
            return placement.reduce(works, _reporting(observe))

        def make(training: em.Training, model: GaussianMixture, read: Read) -> list[Parameters]:
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
        return [start for starts in together(makers, read) for start in starts]

    def _drawn(
        self,
        made: Sequence[Parameters],
        constants: list[DataConstants],
        found: Survey,
        generator: np.random.RandomState,
        observe: Observer,
    ) -> list[Parameters]:
        """Make the starts that are left, several candidates' at a time: each has its own draws."""
        state = generator.get_state()
        n_threads = self.models[0].n_threads or available_threads()
        at_once = self._at_once(found, n_threads)

        def draw(training: em.Training, model: GaussianMixture) -> list[em.Start]:
            # as in a fit of its own: what was left of the generator after the rows were gathered
            own = np.random.RandomState()
            own.set_state(state)
            rows = found.start_rows(model.n_components, training.part)
            share = max(n_threads // at_once, 1)
            return model._drawn(model.n_init, rows, own, training.ridge, share)

        starts = [*made]
        wanted = [*product(self._trainings(constants), self.models)]
        wanted = wanted[len(made) // self.models[0].n_init :]
        with ThreadPoolExecutor(at_once, thread_name_prefix="fastgmm") as pool:
            tasks = [pool.submit(draw, *one) for one in wanted]
            try:
                for task in tasks:
                    for start in task.result():
                        observe(StartMade(len(starts)))
                        starts.append(start.parameters)
                    self.checkpoint.keep(
                        "beginning", lambda: Beginning(constants, [*starts]), over=False
                    )
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
            case ModelResumed():
                self._take_up(event)
        return self._observe(event)

    def _note(self, event: IterationDone) -> None:
        part, candidate, start = self._owners[event.model]
        if part == 0:
            self.histories[candidate](event._replace(model=start))
        if self._charged[candidate] < self._passes["iteration"]:
            self._charged[candidate] = self._passes["iteration"]
            self.seconds[candidate] += event.seconds

    def _take_up(self, event: ModelResumed) -> None:
        part, candidate, start = self._owners[event.model]
        if part == 0:
            self.histories[candidate](event._replace(model=start))
        # its models shared their passes: the one that had the most had all of them
        self.seconds[candidate] = max(self.seconds[candidate], sum(event.seconds))

    def passes(self) -> Passes:
        """Return how often the rows were read, and what for."""
        count = self._passes
        return Passes(
            count["checking"] + count["start"],
            count["iteration"],
            count["reseeding"],
            count["scoring"],
        )
