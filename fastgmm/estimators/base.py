"""What every estimator has: constructor parameters by name, callbacks, a client of its own."""

import inspect
from typing import Any, Self

import numpy as np

from fastgmm import _sklearn
from fastgmm.estimators.callbacks import Callback, PlainCallback, as_callback
from fastgmm.executors import check_client


class Estimator:
    """Constructor parameters are attributes of the same name, as scikit-learn's tools expect.

    Callbacks and the Dask client are set by methods, not by the constructor: ``clone`` copies
    constructor parameters, and a client cannot be copied.
    """

    _client: Any = None
    _skl_callbacks: list[Callback]
    """Under scikit-learn's name: its searches and pipelines add theirs here and take them off."""

    @classmethod
    def _parameter_names(cls) -> list[str]:
        """Return what scikit-learn takes for the parameters of a class, which may be a subclass.

        Raises RuntimeError, as it does, where a constructor takes ``*args``.
        """
        parameters = inspect.signature(cls.__init__).parameters
        if any(one.kind is one.VAR_POSITIONAL for one in parameters.values()):
            raise RuntimeError(
                f"{cls.__name__}.__init__ takes *args, which have no names: name its parameters, "
                "as scikit-learn asks of estimators"
            )
        named = {name for name, one in parameters.items() if one.kind is not one.VAR_KEYWORD}
        return sorted(named - {"self"})

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

    def set_callbacks(self, *callbacks: Any) -> Self:
        """Call ``callbacks`` while a fit runs; without arguments: remove all.

        Parameters
        ----------
        *callbacks : callables, or callbacks of scikit-learn
            A callable takes the events of :mod:`fastgmm.progress`; one that returns True to
            ``IterationDone`` stops that start. Callbacks that follow scikit-learn's protocol
            (``FitCallback``, scikit-learn 1.9 or later) are told of the tasks "fit", "start" (one
            each of ``n_init``) and "iteration"; one that returns True at the end of an iteration
            stops that start, at the end of a start all others. scikit-learn's ``ScoringMonitor``
            scores only where ``fit`` is given a ``y``.

        All run on the thread that called ``fit``; an exception they raise ends it. Callables stay
        out of pickles; scikit-learn's callbacks go along, as in its own estimators.

        Raises
        ------
        TypeError
            One is neither, or is a class instead of an object of it.

        Examples
        --------
        >>> from fastgmm import GaussianMixture
        >>> from fastgmm.progress import IterationDone
        >>> def stop_early(event):
        ...     return isinstance(event, IterationDone) and event.gain < 0.01
        >>> gm = GaussianMixture(2).set_callbacks(stop_early)
        """
        chosen = [as_callback(callback) for callback in callbacks]
        if chosen:
            self._skl_callbacks = chosen
        else:
            self.__dict__.pop("_skl_callbacks", None)
        return self

    def set_client(self, client: Any) -> Self:
        """Use this ``distributed.Client`` for files and Dask collections; None: the active one.

        Raises TypeError for anything else.
        """
        check_client(client)
        self._client = client
        return self

    def __getstate__(self) -> dict[str, Any]:
        state = self.__dict__.copy()
        state.pop("_client", None)
        if "_skl_callbacks" in state:
            kept = [one for one in self._skl_callbacks if not isinstance(one, PlainCallback)]
            state["_skl_callbacks"] = kept
            if not kept:
                del state["_skl_callbacks"]
        return state

    def __repr__(self) -> str:
        defaults = inspect.signature(type(self).__init__).parameters
        all_of_them = _sklearn.config("print_changed_only") is False
        shown = [
            f"{name}={value!r}"
            for name, value in self.get_params().items()
            if all_of_them or not _same(value, defaults[name].default)
        ]
        return f"{type(self).__name__}({', '.join(shown)})"


def _same(value: Any, default: Any) -> bool:
    if isinstance(value, np.ndarray) or isinstance(default, np.ndarray):
        return value is default
    return type(value) is type(default) and bool(value == default)
