"""The parameters of every iteration."""

from typing import TYPE_CHECKING

from fastgmm.progress.events import Event, FitBegan, IterationDone

if TYPE_CHECKING:
    from fastgmm.parameters import Parameters


class ParameterTrace:
    """Keep every model's parameters after every iteration of the last fit it listened to.

    Attributes
    ----------
    models : list of list of Parameters
        ``models[i][t]`` has ``weights`` (k,), ``means`` (k, d) and ``covariances`` of start i after
        iteration t + 1, in float64. That is k d^2 numbers an iteration: for small models.

    Examples
    --------
    >>> from fastgmm import GaussianMixture
    >>> from fastgmm.progress import ParameterTrace
    >>> trace = ParameterTrace()
    >>> gm = GaussianMixture(1).set_callbacks(trace).fit([[0.0], [1.0], [5.0]])
    >>> [step.means.tolist() for step in trace.models[0]]
    [[[2.0]], [[2.0]]]
    """

    def __init__(self) -> None:
        self.models: list[list[Parameters]] = []

    def __call__(self, event: Event) -> None:
        """Take one event."""
        match event:
            case FitBegan():
                self.models = [[] for _ in range(event.n_models)]
            case IterationDone():
                self.models[event.model].append(event.parameters)
