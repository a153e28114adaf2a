"""What every estimator has: constructor parameters by name, observers, a client of its own."""

import inspect
from typing import Any, Self

import numpy as np

from fastgmm.progress import Observer


class Estimator:
    """Constructor parameters are attributes of the same name, as scikit-learn's tools expect.

    Observers and the Dask client are set by methods, not by the constructor: ``clone`` copies
    constructor parameters, and a client cannot be copied. Both stay out of pickles.
    """

    _observers: tuple[Observer, ...] = ()
    _client: Any = None

    @classmethod
    def _parameter_names(cls) -> list[str]:
        return sorted(set(inspect.signature(cls.__init__).parameters) - {"self"})

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return the constructor parameters by name; ``deep`` is accepted for scikit-learn."""
        return {name: getattr(self, name) for name in self._parameter_names()}

    def set_params(self, **params: Any) -> Self:
        """Set constructor parameters; ValueError for a name that is none."""
        names = self._parameter_names()
        for name, value in params.items():
            if name not in names:
                raise ValueError(
                    f"Invalid parameter {name!r} for estimator {self}. "
                    f"Valid parameters are: {names!r}."
                )
            setattr(self, name, value)
        return self

    def set_callbacks(self, *observers: Observer) -> Self:
        """Call ``observers`` with the events of :mod:`fastgmm.progress` while a fit runs.

        They run on the thread that called ``fit``; an exception they raise ends it. Calling
        without arguments removes them.
        """
        self._observers = observers
        return self

    def set_client(self, client: Any) -> Self:
        """Use this ``distributed.Client`` for files and Dask collections; None: the active one."""
        self._client = client
        return self

    def __getstate__(self) -> dict[str, Any]:
        return {
            name: value
            for name, value in self.__dict__.items()
            if name not in ("_observers", "_client")
        }

    def __repr__(self) -> str:
        defaults = inspect.signature(type(self).__init__).parameters
        changed = [
            f"{name}={value!r}"
            for name, value in ((name, getattr(self, name)) for name in defaults if name != "self")
            if not _same(value, defaults[name].default)
        ]
        return f"{type(self).__name__}({', '.join(changed)})"


def _same(value: Any, default: Any) -> bool:
    if isinstance(value, np.ndarray) or isinstance(default, np.ndarray):
        return value is default
    return type(value) is type(default) and bool(value == default)
