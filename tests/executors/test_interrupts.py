"""A signal may come at any moment of a pass, and the pass ends."""

import signal
import sys
import threading
from contextlib import closing
from importlib import import_module

import numpy as np
import pytest
from hanging import ends_within
from works import Sum

from fastgmm import GaussianMixture
from fastgmm.executors import ThreadExecutor
from fastgmm.sources import ArraySource


class Bell(Exception):
    """What the signal raises."""


def ring(*_: object) -> None:
    raise Bell


def ring_after(seconds, function, *arguments):
    """Call a function, and ring; again if the exception gets lost, as it does in finalisers."""
    signal.setitimer(signal.ITIMER_PROF, seconds, 1.0)
    try:
        function(*arguments)
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)


@pytest.mark.filterwarnings(
    "ignore:Best performing", "ignore::pytest.PytestUnraisableExceptionWarning"
)
@pytest.mark.parametrize("n_threads", [1, 2])
def test_an_interrupt_at_any_moment_ends_a_fit(tmp_path, n_threads):
    """Were a lock held that a thread needs, the fit would wait for that thread forever.

    The first of them are interrupted while kernels are compiled.
    """
    import_module("fastgmm._jit")  # Numba, whose import does not bear to be interrupted
    file = tmp_path / "rows.npy"
    np.save(file, np.random.default_rng(0).normal(size=(20_000, 2)))
    model = GaussianMixture(
        2,
        tol=0,
        max_iter=100_000,
        init_params="random_from_data",
        n_threads=n_threads,
        chunk_size=512,
    )
    before = signal.signal(signal.SIGPROF, ring)  # by the processor's time
    try:
        with ends_within():
            for seconds in np.random.default_rng(1).uniform(1e-3, 3e-2, size=40):
                with pytest.raises(Bell):
                    ring_after(seconds, model.fit, file)
            model.set_params(max_iter=3).fit(file)
    finally:
        signal.signal(signal.SIGPROF, before)


@pytest.mark.parametrize("n_threads", [1, 2])
def test_a_pass_takes_no_lock_that_a_signal_leaves_locked(no_brief_passes, n_threads):
    """Those of threading are taken in Python: what a signal raises there comes before the ``with``.

    This thread takes none from the placement of a source to its end.
    """
    taken = []

    def called(frame, event, argument):
        if event == "call" and frame.f_code.co_filename == threading.__file__:
            taken.append(frame.f_code.co_qualname)

    source = ArraySource(np.ones((64, 3)))
    sys.setprofile(called)
    try:
        with closing(ThreadExecutor(n_threads).place(source, 8)) as placement:
            placement.reduce([Sum()])
            placement.share(range, 3)
            assert len(list(placement.map(len))) == 8
    finally:
        sys.setprofile(None)
    assert taken == []
