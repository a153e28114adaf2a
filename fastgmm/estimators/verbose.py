"""What ``verbose`` prints: scikit-learn's lines; starts share passes, so theirs take turns."""

import time

from fastgmm.progress import Event, FitBegan, IterationDone, ModelEnded, ModelResumed


class Verbose:
    """Print a fit's iterations: ``verbose`` 1 their numbers, 2 also seconds and gains."""

    def __init__(self, verbose: int, interval: int) -> None:
        self._verbose = verbose
        self._interval = interval
        self._n_models = 1
        self._began = self._since = time.perf_counter()
        self._lower_bounds: dict[int, float] = {}

    def __call__(self, event: Event) -> None:
        """Take one event."""
        if self._verbose == 0:
            return
        match event:
            case FitBegan():
                self._n_models = event.n_models
                self._began = self._since = time.perf_counter()
                for i in range(event.n_models):
                    print(f"Initialization {i}")
            case ModelResumed():
                if event.lower_bounds:
                    self._lower_bounds[event.model] = event.lower_bounds[-1]
            case IterationDone():
                self._lower_bounds[event.model] = event.lower_bound
                if event.iteration % self._interval == 0:
                    self._iteration(event)
            case ModelEnded():
                self._ended(event)

    def _ended(self, event: ModelEnded) -> None:
        which = f" {event.model}" if self._n_models > 1 else ""
        line = f"Initialization{which} {'converged' if event.converged else 'did not converge'}."
        if self._verbose > 1:
            seconds = time.perf_counter() - self._began
            bound = self._lower_bounds[event.model]
            line += f" time lapse {seconds:.5f}s\t lower bound {bound:.5f}."
        print(line)

    def _iteration(self, event: IterationDone) -> None:
        which = f" of initialization {event.model}" if self._n_models > 1 else ""
        line = f"  Iteration {event.iteration}{which}"
        if self._verbose > 1:
            now = time.perf_counter()
            line += f"\t time lapse {now - self._since:.5f}s\t ll change {event.gain:.5f}"
            self._since = now
        print(line)
