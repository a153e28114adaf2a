"""What can go wrong, each with a name, so that callers can catch what they can handle.

Where scikit-learn is loaded, ``NotFittedError``, ``InvalidParameterError`` and
``ConvergenceWarning`` are raised as classes that are scikit-learn's of the same name, too.
"""

from typing import Any, ClassVar, Self

from fastgmm import _sklearn

ILL_DEFINED_COVARIANCE = (
    "Fitting the mixture model failed because some components have ill-defined empirical "
    "covariance (for instance caused by singleton or collapsed samples). Try to decrease the "
    "number of components, increase reg_covar, or scale the input data."
)

PASS_FLOAT64 = (
    " The numerical accuracy can also be improved by passing float64 data instead of float32."
)

KEPT = "The fit is kept in"
"""How a note begins on the exception that ends a fit which can go on."""


class FastGMMError(Exception):
    """Base of every error that fastgmm raises on purpose."""


class DataError(FastGMMError, ValueError):
    """The rows cannot be used: not finite, wrong columns, empty, unreadable."""


class UnreadableError(DataError):
    """The system does not let a file be read: it is gone or forbidden, or a fault that may pass."""


class FitError(FastGMMError, ValueError):
    """A model cannot be fitted to these rows; another start, size or shape may be."""


class RangeError(DataError, FitError):
    """A likelihood or variance is a number that the data's dtype does not have."""


class IllDefinedCovarianceError(FitError):
    """A covariance matrix is not positive definite; the message names the first component.

    ``components`` are all whose matrices are not; there are none where one matrix is everybody's.
    """

    def __init__(self, components: tuple[int, ...] = (), advice: str = "") -> None:
        self.component = components[0] if components else None
        where = "" if self.component is None else f" (component {self.component})"
        super().__init__(ILL_DEFINED_COVARIANCE + advice + where)
        self.components = components
        self.advice = advice

    def __reduce__(self) -> tuple[type, tuple[tuple[int, ...], str]]:
        return type(self), (self.components, self.advice)


class CollapseError(FitError):
    """A component has collapsed and ``on_collapse="raise"``."""

    def __init__(self, component: int, iteration: int, n_rows: float, deviation: float) -> None:
        super().__init__(
            f"Component {component} collapsed in iteration {iteration}: it holds {n_rows:.3g} "
            f"rows with a standard deviation of at most {deviation:.3g}; ask for fewer "
            "components, start elsewhere (init_params, another seed), or set on_collapse='reseed'"
        )
        self.component = component
        self.iteration = iteration
        self.n_rows = n_rows
        self.deviation = deviation

    def __reduce__(self) -> tuple[type, tuple[int, int, float, float]]:
        return type(self), (self.component, self.iteration, self.n_rows, self.deviation)


class ModelFileError(FastGMMError, ValueError):
    """A model file is damaged, foreign or of a newer format."""


class CheckpointError(FastGMMError, ValueError):
    """A checkpoint is damaged, foreign, or of other data, settings or another version."""


class ClusterError(FastGMMError, RuntimeError):
    """The Dask cluster was lost or could not finish a pass."""


class ScarceMemoryError(FastGMMError, MemoryError):
    """A limit of this process leaves too little memory to compile kernels."""


class DataTypeError(DataError, TypeError):
    """The rows are of a kind that cannot be used: sparse, objects, text."""


class _AlsoScikitLearns:
    """An exception that is scikit-learn's of the same name where that is loaded."""

    home: ClassVar[str]
    """Where scikit-learn has it."""
    ours: ClassVar[type]
    """The class of this module."""

    def __new__(cls, *args: Any) -> Self:
        return super().__new__(_sklearn.joined(cls, cls.home), *args)

    def __reduce__(self) -> tuple[type, tuple[Any, ...]]:
        # joined classes cannot be found by name, and where it is read scikit-learn may be absent
        return getattr(self, "ours", type(self)), self.args  # type: ignore[attr-defined]


class NotFittedError(_AlsoScikitLearns, FastGMMError, ValueError, AttributeError):
    """A method needs parameters that only ``fit`` or ``from_parameters`` gives."""

    home = "sklearn.exceptions"


class InvalidParameterError(_AlsoScikitLearns, FastGMMError, ValueError, TypeError):
    """A constructor parameter has a value that it cannot have."""

    home = "sklearn.utils._param_validation"


class ConvergenceWarning(_AlsoScikitLearns, UserWarning):
    """The best start stopped at ``max_iter``."""

    home = "sklearn.exceptions"
