"""What a fit tells, and one line of it."""

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from fastgmm.parameters import Parameters


class FitBegan(NamedTuple):
    """A fit has its data and starts to work."""

    n_samples: int | None
    """Number of rows, None while no pass has counted them."""
    n_features: int
    n_models: int
    """Models that share the passes: restarts, or the candidates of a sweep."""


class PassBegan(NamedTuple):
    """The rows are about to be read once from the first to the last."""

    name: str
    """What the pass is for, in one or two words: "checking", "start", "iteration", "reseeding",
    "scoring"."""
    n_samples: int | None


class StartMade(NamedTuple):
    """One model of a sweep has its start; all have it before the first iteration."""

    model: int
    """Index of the model, from 0."""


class RowsDone(NamedTuple):
    """A piece of the current pass is finished."""

    rows: int
    """Rows in this piece, not the sum of all so far."""


class ModelResumed(NamedTuple):
    """One model goes on where an earlier run has left it (``resume=True``)."""

    model: int
    lower_bounds: list[float]
    """After each of its iterations: mean log likelihood per row (nats)."""
    gains: list[float]
    """By how much it rose in each."""
    seconds: list[float]
    """Durations of their passes."""
    rows: int
    """Rows of a pass."""


class IterationDone(NamedTuple):
    """One model has made one EM iteration."""

    model: int
    """Index of the model (start or candidate), from 0."""
    iteration: int
    """Iterations this model has made, from 1."""
    lower_bound: float
    """Mean log likelihood per row (nats) under the parameters before this iteration's update."""
    gain: float
    """By how much that rose (infinity after the first iteration)."""
    seconds: float
    """Duration of the pass; models that share it all report the same."""
    rows: int
    """Rows of the pass."""
    parameters: "Parameters"
    """After this iteration's update, in float64."""
    covariance_type: str = "full"
    """What its covariances are: a name in ``covariance.FAMILIES``."""
    n_collapsed: int = 0
    """Components that have collapsed and were kept."""


class PassEnded(NamedTuple):
    """A pass is over, and every model it served has been told of."""

    name: str
    """As in :class:`PassBegan`."""
    rows: int
    n_bytes: int
    """Of these rows and their weights in memory."""
    seconds: float
    """By the clock, up to the merged states."""
    read: float
    """Seconds of waiting for rows, summed over the threads that computed."""
    compute: float
    """Seconds in kernels, likewise."""
    merge: float
    """Seconds of merging states, likewise."""
    retries: int
    """Pieces of the pass that were handed out again because a cluster had lost them."""
    workers: int
    """Worker processes that took part; 0: threads of this process."""


class ComponentsReseeded(NamedTuple):
    """Components of a model had collapsed and were started anew (``on_collapse="reseed"``)."""

    model: int
    iteration: int
    """The iteration they collapsed in, which is told of next."""
    components: list[int]


class ModelEnded(NamedTuple):
    """One model has made its last iteration; the others go on."""

    model: int
    n_iter: int
    converged: bool
    """False: it stopped at ``max_iter`` or because an observer said so."""


class FitEnded(NamedTuple):
    """The fit is over and the best model chosen."""

    model: int
    """Index of the chosen model."""
    n_iter: int
    converged: bool
    lower_bound: float
    """Mean log likelihood per row (nats) of the chosen model."""
    seconds: float
    """Duration of the whole fit, its start included."""


Event: TypeAlias = (
    FitBegan
    | PassBegan
    | RowsDone
    | StartMade
    | ModelResumed
    | ComponentsReseeded
    | IterationDone
    | ModelEnded
    | PassEnded
    | FitEnded
)
Observer: TypeAlias = Callable[[Event], object]


def reporting(observe: Observer) -> Callable[[int], None]:
    """Return what tells an observer of rows that are done, by their number."""

    def report(rows: int) -> None:
        observe(RowsDone(rows))

    return report


def standing(event: IterationDone) -> str:
    """Say in one line where a model stands after an iteration."""
    speed = event.rows / event.seconds if event.seconds > 0 else float("inf")
    return (
        f"log likelihood {event.lower_bound:.6f}, gain {event.gain:.1e}, "
        f"{speed / 1e6:.3g} million rows/s"
    )
