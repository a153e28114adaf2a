"""A signal may come at any moment of a pass, and the pass ends."""

import dis
import gc
import signal
import sys
import threading
import time
from contextlib import closing
from functools import cache
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from types import CodeType

import numpy as np
import pytest
from hanging import ends_within
from works import Sum

from fastgmm import GaussianMixture, executors
from fastgmm.executors import ThreadExecutor
from fastgmm.selection.together import together
from fastgmm.sources import ArraySource, as_source


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


OURS = (str(Path(executors.__file__).parent), together.__code__.co_filename)
"""Where threads are started and waited for."""


@cache
def moments(code: CodeType) -> set[int]:
    """Return the instructions at which Python looks for signals: after calls and in loops.

    What is taken by ``with`` and let go of without a call in between is never kept by a signal.
    """
    instructions = list(dis.get_instructions(code))
    found = {each.offset for each in instructions if each.opname == "JUMP_BACKWARD"}
    return found | {
        after.offset
        for before, after in pairwise(instructions)
        if before.opname.startswith(("CALL", "RESUME"))
    }


class Interrupting:
    """Rings at one of the moments in which a signal may meet this thread in that code."""

    def __init__(self, after: int) -> None:
        self.left = after

    def __call__(self, frame, event, argument):
        if not frame.f_code.co_filename.startswith(OURS):
            return None
        frame.f_trace_opcodes = True
        if event == "opcode" and frame.f_lasti in moments(frame.f_code):
            self.left -= 1
            if self.left == 0:
                raise Bell
        return self


def threads_of_ours():
    """Return the threads besides this one that are in that code; others come and go."""
    frames = sys._current_frames()
    del frames[threading.get_ident()]
    return [thread for thread, frame in frames.items() if is_ours(frame)]


def is_ours(frame):
    return frame is not None and (
        frame.f_code.co_filename.startswith(OURS) or is_ours(frame.f_back)
    )


def passes(n_threads, source):
    """Use the threads in all ways that there are."""
    with closing(ThreadExecutor(n_threads).place(source, 8)) as placement:
        placement.reduce([Sum()])
        placement.reduce([Sum()])  # this thread works, too
        placement.share(range, 3)
        assert len(list(placement.map(len))) == 4


def passes_together(source):
    """Make the passes that several ask for at the same time."""

    def ask(read):
        read([Sum()])
        return read([Sum()])

    with closing(ThreadExecutor(2).place(source, 8)) as placement:
        together([ask, ask], placement.reduce)


def interrupt_at_every_moment(function, *arguments):
    """Call a function until it ends before it is interrupted; return how often that took."""
    function(*arguments)
    threads, after, before = len(threads_of_ours()), 1, sys.gettrace()
    gc.disable()  # what is collected meanwhile runs code, too
    try:
        while True:
            interrupting = Interrupting(after)
            with ends_within(20):
                sys.settrace(interrupting)
                try:
                    function(*arguments)
                except Bell:
                    pass
                finally:
                    sys.settrace(before)
                if interrupting.left > 0:
                    return after
                while len(threads_of_ours()) > threads:
                    time.sleep(0.001)
            after += 1
    finally:
        gc.enable()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("n_threads", [1, 2])
@pytest.mark.parametrize("kind", ["array", "file"])
def test_an_interrupt_at_any_instruction_ends_a_pass_and_its_threads(
    no_brief_passes, tmp_path, n_threads, kind
):
    """A signal is rarely just there where it does harm: one in some thousands."""
    rows = np.ones((32, 3))
    np.save(tmp_path / "rows.npy", rows)
    source = ArraySource(rows) if kind == "array" else as_source(tmp_path / "rows.npy")
    assert interrupt_at_every_moment(passes, n_threads, source) > 200


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_an_interrupt_at_any_instruction_ends_passes_together(no_brief_passes):
    assert interrupt_at_every_moment(passes_together, ArraySource(np.ones((32, 3)))) > 200


@pytest.mark.parametrize("n_threads", [1, 2])
def test_a_pass_takes_no_lock_that_a_signal_leaves_locked(no_brief_passes, n_threads):
    """Those of threading are taken in Python: what a signal raises there comes before the ``with``.

    This thread takes none from the placement of a source to its end.
    """
    taken = []

    def called(frame, event, argument):
        if event == "call" and frame.f_code.co_filename == threading.__file__:
            taken.append(frame.f_code.co_qualname)

    source = ArraySource(np.ones((32, 3)))
    sys.setprofile(called)
    try:
        passes(n_threads, source)
    finally:
        sys.setprofile(None)
    assert taken == []
