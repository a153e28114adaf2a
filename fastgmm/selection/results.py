"""What a sweep hands back: a table of candidates, their models, and what it cost."""

from dataclasses import dataclass
from typing import NamedTuple

from fastgmm.estimators import GaussianMixture


class Candidate(NamedTuple):
    """One line of the table: a model, fitted, and what speaks for it."""

    n_components: int
    covariance_type: str
    log_likelihood: float
    """Of all rows under the fitted parameters: total, nats, weighted."""
    n_parameters: int
    aic: float
    bic: float
    icl: float
    n_iter: int
    """Iterations of the best start."""
    converged: bool
    degenerate: bool
    """Whether a component holds no more rows than there are columns, or is in some direction
    narrower than 10 times what ``reg_covar`` adds: its likelihood says little about the data."""
    seconds: float
    """Duration of the EM passes that any of its starts took part in. Candidates share passes, so
    these overlap and do not add up."""
    cv: float | None
    """Mean log likelihood per row (nats) of rows that the fit had not seen; larger is better. None
    where nobody asked for it."""
    cv_spread: float | None
    """Standard deviation of these means (nats) from fold to fold."""
    failure: str | None
    """Why there is no fit, or none outside of one of the folds: what its own fit would raise. The
    numbers that are missing are NaN, and the model is not fitted."""


class Passes(NamedTuple):
    """How often all rows were read."""

    seeding: int
    """To check the rows and to gather what all starts are made from, or to make these
    ("k-means||")."""
    em: int
    reseeding: int
    """To find new rows for collapsed components (``on_collapse="reseed"``)."""
    scoring: int

    @property
    def total(self) -> int:
        """The sum."""
        return sum(self)


@dataclass(frozen=True, repr=False)
class Selection:
    """The candidates of a sweep and the best of them; ``pandas.DataFrame(table)`` is a frame."""

    criterion: str
    table: list[Candidate]
    """In the order asked for: shape after shape, and within a shape by number of components."""
    models: list[GaussianMixture]
    """Fitted, in the order of the table."""
    best_index: int
    """Which of them is the best."""
    passes: Passes
    seconds: float
    """Duration of the whole sweep."""

    @property
    def best(self) -> GaussianMixture:
        """The model with the best value of the criterion."""
        return self.models[self.best_index]

    def __repr__(self) -> str:
        return (
            f"<Selection: {self.best!r} is the best of {len(self.table)} by {self.criterion}, "
            f"found in {self.passes.total} passes>"
        )
