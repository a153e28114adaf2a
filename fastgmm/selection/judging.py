"""The judgement: one more pass over the rows, and each candidate's line of the table."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fastgmm import criteria, em
from fastgmm._typing import Float64Array
from fastgmm.covariance import FAMILIES
from fastgmm.estimators import GaussianMixture
from fastgmm.estimators.settings import names_of
from fastgmm.executors import Placement, Work
from fastgmm.folds import Folds, within
from fastgmm.maximization import n_free_parameters
from fastgmm.progress import Observer, PassBegan, reporting
from fastgmm.scoring import EntropyScoring, Scoring
from fastgmm.selection.choice import degenerate
from fastgmm.selection.results import Candidate
from fastgmm.sources import source_names


@dataclass(frozen=True)
class Judgement:
    """Candidates that have been fitted."""

    placement: Placement
    models: Sequence[GaussianMixture]
    """With the parameters of their fits; those that failed have none."""
    fits: Sequence[Sequence[em.Fit]]
    """Each candidate's on all rows, then those outside of each fold."""
    training: em.Training
    """All rows."""
    folds: Folds | None

    def table(self, seconds: Sequence[float], observe: Observer) -> list[Candidate]:
        """Read the rows: what is the likelihood of all, and of those held out?"""
        works = dict(self._works())
        totals: dict[tuple[int, int], Float64Array] = {}
        if works:  # else all have failed
            observe(PassBegan("scoring", self.placement.grid.n_samples))
            found = self.placement.reduce([*works.values()], reporting(observe))
            totals = dict(zip(works, found, strict=True))
        parts = range(1, len(self.fits))
        return [
            self._candidate(
                i,
                totals.get((i, 0)),
                [totals[i, part] for part in parts if (i, part) in totals],
                seconds[i],
            )
            for i in range(len(self.models))
        ]

    def _works(self) -> Iterator[tuple[tuple[int, int], Work[Any]]]:
        """Yield what is to be found for which candidate and part, where there is a fit."""
        source = self.placement.source
        names, dtype = source_names(source), source.dtype
        for i, model in enumerate(self.models):
            if self.fits[0][i].failure is None:
                yield (i, 0), EntropyScoring(model._density(dtype), names)
        for i, model in enumerate(self.models):
            if self._failure(i) is None:
                for part, fits in enumerate(self.fits[1:], start=1):
                    assert self.folds is not None
                    density = FAMILIES[model.covariance_type].prepare(fits[i].parameters, dtype)
                    held_out = self.folds.held_out(part - 1)
                    yield (i, part), within(held_out, Scoring(density, names))

    def _failure(self, candidate: int) -> str | None:
        """Return what ended a candidate's fit, or one outside of a fold."""
        for part, fits in enumerate(self.fits):
            failure = fits[candidate].failure
            if failure is not None:
                return failure if part == 0 else f"outside of fold {part - 1}: {failure}"
        return None

    def _candidate(
        self,
        i: int,
        whole: Float64Array | None,
        held_out: Sequence[Float64Array],
        seconds: float,
    ) -> Candidate:
        """Return a line of the table.

        ``whole`` is what :class:`EntropyScoring` finds in all rows, ``held_out`` what
        :class:`Scoring` finds in each fold.
        """
        model, fit = self.models[i], self.fits[0][i]
        shape, k, d = model.covariance_type, model.n_components, self.placement.source.n_features
        n_parameters = n_free_parameters(FAMILIES[shape], k, d, names_of(model.fixed))
        likelihood, weight, _, entropy = map(float, [math.nan] * 4 if whole is None else whole)
        cv, cv_spread = self._cross_validation(held_out)
        return Candidate(
            k,
            shape,
            likelihood,
            n_parameters,
            criteria.aic(likelihood, n_parameters),
            criteria.bic(likelihood, n_parameters, weight),
            criteria.icl(likelihood, n_parameters, weight, entropy),
            fit.n_iter,
            fit.converged,
            fit.failure is None and self._is_degenerate(shape, fit),
            seconds,
            cv,
            cv_spread,
            self._failure(i),
        )

    def _is_degenerate(self, covariance_type: str, fit: em.Fit) -> bool:
        constants, dtype = self.training.constants, self.placement.source.dtype
        return degenerate(covariance_type, fit.parameters, self.training.ridge, constants, dtype)

    def _cross_validation(
        self, held_out: Sequence[Float64Array]
    ) -> tuple[float | None, float | None]:
        """Return the mean log likelihood of a row held out, and its spread over the folds."""
        if self.folds is None:
            return None, None
        if not held_out:
            return math.nan, math.nan
        likelihoods, weights, _ = np.transpose(held_out)
        means = likelihoods / weights
        return float(likelihoods.sum() / weights.sum()), float(means.std(ddof=1))
