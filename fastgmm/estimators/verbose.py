"""What ``verbose`` prints: scikit-learn's lines."""

import time

from fastgmm.progress import Event, FitBegan, FitEnded, IterationDone


class Verbose:
    """Print a fit's iterations: ``verbose`` 1 their numbers, 2 also seconds and gains."""

    def __init__(self, verbose: int, interval: int) -> None:
        self._verbose = verbose
        self._interval = interval
        self._n_models = 1
        self._since = time.perf_counter()

    def __call__(self, event: Event) -> None:
        """Take one event."""
        if self._verbose == 0:
            return
        match event:
            case FitBegan():
                self._n_models = event.n_models
                self._since = time.perf_counter()
                for i in range(event.n_models):
                    print(f"Initialization {i}")
            case IterationDone() if event.iteration % self._interval == 0:
                self._iteration(event)
            case FitEnded():
                outcome = "converged" if event.converged else "did not converge"
                took = f"time lapse {event.seconds:.5f}s\t lower bound {event.lower_bound:.5f}."
                end = "." if self._verbose == 1 else f". {took}"
                print(f"Initialization {event.model} {outcome}{end}")

    def _iteration(self, event: IterationDone) -> None:
        which = f" of initialization {event.model}" if self._n_models > 1 else ""
        line = f"  Iteration {event.iteration}{which}"
        if self._verbose > 1:
            now = time.perf_counter()
            line += f"\t time lapse {now - self._since:.5f}s\t ll change {event.gain:.5f}"
            self._since = now
        print(line)
