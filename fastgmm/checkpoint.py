"""The checkpoint: what a fit needs to go on to the same bits, in a file that is whole or absent.

A fit is deterministic, so resuming it is running it again with what it has computed at hand: the
outcomes of its stages by name, and of the passes since the last of them the finished nodes of
their trees. A pass that an executor is asked for again then reads only the rows that are missing.
"""

import json
import os
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from os import PathLike
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import numpy as np

from fastgmm import __version__, archive
from fastgmm.atomic_file import destination, remove_leftovers
from fastgmm.descriptions import described, hashed
from fastgmm.exceptions import (
    KEPT,
    CheckpointError,
    ClusterError,
    FastGMMError,
    InvalidParameterError,
    UnreadableError,
)
from fastgmm.executors import Node, Nodes, Placement, Work
from fastgmm.plain import plain, record, resembling, with_arrays
from fastgmm.sources import check_not_read, files_of

R = TypeVar("R")

KIND = archive.Kind(
    format="fastgmm-checkpoint",
    version=1,
    name="checkpoint file",
    error=CheckpointError,
    missing="fit with checkpoint=path first",
    damaged="remove it, or start anew with resume=False",
)

TIME_SHARE = 0.05
"""Writing takes no more of the time than this: large checkpoints are written less often."""


EARLIER = ".earlier"
"""Added to the name of a checkpoint that somebody forgot to resume."""

OR_ANEW = "or start anew with resume=False"
"""What else there is to do about a checkpoint that is refused."""


class Unkept:
    """A fit of which nothing is kept: the same questions and answers without a file."""

    def restored(self, name: str, kind: type[R]) -> R | None:
        """Return the outcome of a stage of an earlier run, or None."""
        return None

    def check_same(
        self, what: str, theirs: Mapping[str, Any] | None, ours: Mapping[str, Any] | None
    ) -> None:
        """Refuse to go on where an earlier run had something else."""

    def check_not_beyond(self, made: int, max_iter: int) -> None:
        """Refuse to go on where an earlier run has made more iterations than this one may."""

    def keep(self, name: str, outcome: Callable[[], object], *, over: bool = True) -> None:
        """Keep the outcome of a stage; the passes before it are not needed any more.

        ``outcome()`` is a record of plain values (see :mod:`fastgmm.plain`) that nobody changes
        afterwards. If the stage is not ``over`` it is what there is of it, and its passes, which
        the next run asks for again, are kept too.
        """

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        pass


UNKEPT = Unkept()


@dataclass
class _Pass:
    works: list[Any]
    """What tells its works from those of other passes."""
    nodes: Callable[[], Any]
    """Those finished; plain where they come from a file. None in the midst of a merge."""


@dataclass
class _Standing:
    """Where a fit stands. Replaced as a whole: an exception may strike between any two steps."""

    outcomes: Mapping[str, Any] = field(default_factory=dict)
    passes: list[_Pass] = field(default_factory=list)
    """Since the last outcome; all are complete but the one before ``next``."""
    next: int = 0
    """Of the passes, the first that this run has not asked for."""


class Checkpoint(Unkept):
    """A fit that is written to a file every so often, when it ends, and when it is interrupted.

    A context manager around the fit. It is the ledger of the placement, and so is told of every
    pass.
    """

    def __init__(self, path: str | PathLike[str], interval: float, identity: Mapping[str, Any]):
        self.path = os.fspath(path)
        self._interval = interval
        self._identity = identity
        self._standing = _Standing()
        self._earlier: frozenset[str] = frozenset()
        self._written_in: _Pass | None = None
        self._due = time.monotonic() + interval
        self._warned = False
        self._earlier_file: Path | None = None

    def begin_anew(self) -> None:
        """Leave alone what an earlier fit has kept: it gets another name once there is this one's.

        Raises CheckpointError for a file that is no checkpoint; warns of one.
        """
        try:
            archive.read(self.path, KIND)
        except CheckpointError:
            raise CheckpointError(
                f"{self.path} would be replaced, and is no checkpoint that this fastgmm can read: "
                "remove it, or choose another name"
            ) from None
        self._earlier_file = destination(self.path)
        warnings.warn(
            f"{self.path} is the checkpoint of an earlier fit, and this one begins anew: it will "
            f"be kept as {self._earlier_file}{EARLIER}; resume=True goes on with one of the same "
            "rows and settings",
            stacklevel=2,
        )

    def resume(self) -> None:
        """Go on where the file leaves off.

        Raises
        ------
        CheckpointError
            The file is damaged, foreign, or of other data, settings or another version.
        """
        header, arrays = archive.read(self.path, KIND)
        try:
            self._check(header)
            contents = with_arrays(header["standing"], arrays)
            passes = [_Pass(one["works"], _constant(one["nodes"])) for one in contents["passes"]]
            self._standing = _Standing(dict(contents["outcomes"]), passes)
        except (KeyError, TypeError, AttributeError) as error:
            raise KIND.damage(self.path) from error
        self._earlier = frozenset(self._standing.outcomes)

    def _check(self, header: Mapping[str, Any]) -> None:
        """Refuse what would not go on to the same fit; warn of what may change the last digits."""
        if header["fastgmm"] != __version__:
            raise CheckpointError(
                f"{self.path} was written by fastgmm {header['fastgmm']}, this is {__version__}: "
                f"resume it with that version, {OR_ANEW}"
            )
        theirs, ours = header["identity"], json.loads(json.dumps(self._identity))
        for what in ("data", "settings"):
            self.check_same(what, theirs[what], ours[what])
        different = _difference(theirs["machine"], ours["machine"])
        if different is not None:
            name, there, here = different
            warnings.warn(
                f"{self.path} was written with {name} {there}, this is {here}: the fit goes on, "
                "but its last digits may differ from those of one that was never interrupted",
                stacklevel=2,
            )

    def check_same(
        self, what: str, theirs: Mapping[str, Any] | None, ours: Mapping[str, Any] | None
    ) -> None:
        """Raise CheckpointError if an earlier run's differ from this one's, naming the first."""
        different = _difference(theirs or {}, ours or {})
        if different is not None:
            name, there, here = different
            raise CheckpointError(
                f"{self.path} is a checkpoint of other {what}: {name} is {there} there and "
                f"{here} here; resume it with the same {what}, {OR_ANEW}"
            )

    def check_not_beyond(self, made: int, max_iter: int) -> None:
        """Raise CheckpointError if an earlier run has made more iterations than this one may."""
        if made > max_iter:
            raise CheckpointError(
                f"{self.path} has made {made} iterations, max_iter={max_iter} is fewer: resume it "
                f"with max_iter={made} or more, {OR_ANEW}"
            )

    def restored(self, name: str, kind: type[R]) -> R | None:
        """Return the outcome of a stage of an earlier run, or None."""
        if name not in self._earlier:
            return None
        try:
            outcome: R = record(kind, self._standing.outcomes[name])
        except (KeyError, TypeError, AttributeError) as error:
            raise KIND.damage(self.path) from error
        return outcome

    def keep(self, name: str, outcome: Callable[[], object], *, over: bool = True) -> None:
        """Keep the outcome of a stage, or what there is of it, and no passes but those of it."""
        standing = self._standing
        outcomes = {**standing.outcomes, name: outcome()}
        self._standing = _Standing(outcomes) if over else replace(standing, outcomes=outcomes)
        self._earlier -= {name}
        self._write_if_due()

    def opened(self, works: Sequence[Work[Any]]) -> Nodes:
        """Return what an earlier run has finished of a pass."""
        standing, identities = self._standing, [_identity(work) for work in works]
        number, nodes = standing.next, []
        if number < len(standing.passes):
            earlier = standing.passes[number]
            if earlier.works == identities:
                nodes = self._nodes(works, earlier.nodes())
            else:  # memory for other models than last time, say
                del standing.passes[number:]
        if number == len(standing.passes):
            standing.passes.append(_Pass(identities, list))
        standing.next = number + 1
        return nodes

    def _nodes(self, works: Sequence[Work[Any]], kept: Any) -> Nodes:
        try:
            return [
                [
                    Node(one["level"], one["position"], resembling(work.start(), one["state"]))
                    for one in run
                ]
                for work, run in zip(works, kept, strict=bool(kept))
            ]
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise KIND.damage(self.path) from error

    def grown(self, nodes: Callable[[], Nodes | None]) -> None:
        """Take note that the pass has got further."""
        self._current.nodes = nodes
        self._write_if_due()

    def closed(self, results: Nodes) -> None:
        """Take the results of the pass."""
        self._current.nodes = _constant(results)

    @property
    def _current(self) -> _Pass:
        return self._standing.passes[self._standing.next - 1]

    def _write_if_due(self) -> None:
        if time.monotonic() >= self._due:
            self.write()

    def write(self) -> None:
        """Write the file; warn, once, if that is impossible."""
        began = time.monotonic()
        standing = self._standing
        passes = []
        for one in standing.passes:
            nodes = one.nodes()
            if nodes is None:
                if one is self._written_in:  # the file has more of this pass than we can tell
                    return
                break
            passes.append({"works": one.works, "nodes": nodes})
        arrays: dict[str, Any] = {}
        contents = plain({"outcomes": standing.outcomes, "passes": passes}, arrays)
        try:
            header = {"identity": self._identity, "standing": contents}
            if self._earlier_file is not None:
                with suppress(FileNotFoundError):  # somebody has removed it meanwhile
                    os.replace(self._earlier_file, f"{self._earlier_file}{EARLIER}")
                self._earlier_file = None
            archive.write(self.path, KIND, header, arrays)
        except OSError as error:
            if not self._warned:
                self._warned = True
                warnings.warn(
                    f"The checkpoint {self.path} cannot be written ({error.strerror or error}): "
                    "the fit goes on without; make room, or interrupt it if it must be kept",
                    stacklevel=2,
                )
        else:
            self._written_in = standing.passes[len(passes) - 1] if passes else None
        now = time.monotonic()
        self._due = now + max(self._interval, (now - began) / TIME_SHARE)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Write where the fit stands, unless it would fail there again."""
        may_pass = isinstance(error, ClusterError | UnreadableError)
        if isinstance(error, FastGMMError) and not may_pass:
            return
        self.write()
        if error is not None and os.path.exists(self.path):
            error.add_note(f"{KEPT} {self.path}: fit again with resume=True to go on")


def checkpoint_of(
    placement: Placement,
    path: str | PathLike[str] | None,
    interval: float,
    resume: bool,
    settings: Mapping[str, Any],
) -> Unkept:
    """Return the checkpoint of a fit, at its beginning or where an earlier run has left it.

    Parameters
    ----------
    placement : Placement
        Its passes are recorded from now on.
    path : path or None
        None: nothing is kept.
    interval : float
        Seconds between two writings of the file.
    resume : bool
        Whether to go on where the file leaves off; where there is none, a fit begins.
    settings : mapping
        What the numbers depend on; a checkpoint of others is refused.

    Raises
    ------
    CheckpointError
        The file is damaged, foreign, of other data, settings or another version; or, where none is
        resumed, it is no checkpoint and would be lost.
    DataError
        The path is that of a file with the rows.
    InvalidParameterError
        ``resume`` without a path.
    OSError
        The path's folder does not exist or cannot be written, or what is there is no file.
    """
    if path is None:
        if resume:
            raise InvalidParameterError("resume=True needs a file to resume: set checkpoint=path")
        return UNKEPT
    destination(path)
    check_not_read(path, files_of(placement.source))
    remove_leftovers(path)  # of a run that was killed while it wrote
    boundaries = placement.grid.boundaries
    identity = {
        "data": placement.source.fingerprint,
        "settings": {
            **{name: described(value) for name, value in settings.items()},
            "chunk_size": int(np.diff(boundaries).max(initial=0)),
            "blocks": hashed(boundaries.tobytes()),
        },
        "machine": _machine(),
    }
    checkpoint = Checkpoint(path, interval, identity)
    if os.path.exists(path) and os.path.getsize(path) > 0:
        if resume:
            checkpoint.resume()
        else:
            checkpoint.begin_anew()
    placement.ledger = checkpoint
    return checkpoint


def _machine() -> dict[str, str]:
    """Return what the last digits depend on besides the data and the settings."""
    from fastgmm import _jit

    return {"NumPy": np.__version__, "Numba": _jit.version(), "processor": _jit.processor()}


def _identity(work: Work[Any]) -> list[Any]:
    return [type(work).__qualname__, work.level]


def _difference(there: Mapping[str, Any], here: Mapping[str, Any]) -> tuple[str, Any, Any] | None:
    """Return the name and both values of the first entry that differs."""
    for name in {**there, **here}:
        if there.get(name) != here.get(name):
            return name, there.get(name), here.get(name)
    return None


def _constant(value: R) -> Callable[[], R]:
    return lambda: value
