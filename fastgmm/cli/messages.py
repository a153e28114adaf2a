"""What the command says when something is wrong: one line on standard error and an exit code."""

import os
import re
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, redirect_stderr, suppress
from functools import partial
from typing import Any, NoReturn, TextIO

import click

from fastgmm.cli.stopping import Stopped, stoppable
from fastgmm.exceptions import FastGMMError, ScarceMemoryError
from fastgmm.progress import UNWRITABLE, Unheard

USAGE, UNUSABLE, UNEXPECTED, INTERRUPTED = 2, 4, 1, 130
"""Exit codes: 4 is for data, models and files; 130 is what shells give an interrupted process. Two
more are in :mod:`fastgmm.cli.stopping`."""

PARAMETERS = (
    "max_iter",
    "reg_covar",
    "n_init",
    "init_params",
    "regularization",
    "on_collapse",
    "memory_limit",
    "fixed",
    "chunk_size",
    "n_folds",
)
"""Of the library, whose names in messages are options of the command."""

PARAMETER = re.compile(rf"(?<![\w/.'-])({'|'.join(PARAMETERS)})(?:='(\w+)')?(?![\w/'-]|\.\w)")
"""One of them, with its value; not a word in a path, nor what is quoted."""

ADVICE = {
    'missing="drop"': "--missing drop",
    "columns=[...]": "--columns",
    "start anew with resume=False": "start anew without --resume",
    "resume=True": "--resume",
    "checkpoint=path": "--checkpoint FILE",
    "increase max_iter, tol, or": "increase --max-iter, --tol, or",
    "sample_weight is": "the --weight column is",
}
"""The library's, and the command's."""


SMALLER = {
    "chunk_size": "a smaller --chunk-size",
    "threads": "fewer --threads",
    "n_samples": "a smaller -n",
}
"""What takes less memory, by the option of a command."""


class OneLineErrors(click.Group):
    """A group of commands whose errors are one line, never a traceback.

    ``FASTGMM_TRACEBACK=1`` lets exceptions through instead.
    """

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        **extra: Any,
    ) -> Any:
        """Run the command; the exit code says what kind of error there was."""
        words = sys.argv[1:] if args is None else list(args)
        extra.setdefault("obj", words)  # as they were typed: for advice on what to type next
        run = partial(super().main, words, prog_name, complete_var, standalone_mode=False, **extra)
        if not standalone_mode:
            return run()
        with heard_or_not():
            try:
                with warnings_in_one_line(), stoppable(None):
                    code: Any = run()
            except Exception as error:
                if os.environ.get("FASTGMM_TRACEBACK", "0") not in ("", "0"):
                    raise
                _fail(error)
            sys.exit(code if isinstance(code, int) else 0)

    def invoke(self, ctx: click.Context) -> Any:
        """Run a subcommand; where memory is scarce, say which of its options take less."""
        try:
            return super().invoke(ctx)
        except ScarceMemoryError:
            raise
        except Stopped as error:  # else click ends a line which only Ctrl-C has begun
            raise click.exceptions.Abort from error
        except (MemoryError, RuntimeError) as error:
            # a thread that finds no memory for its stack is not a MemoryError to Python
            if isinstance(error, RuntimeError) and "start new thread" not in str(error):
                raise
            options = self.commands[ctx.invoked_subcommand or ""].params
            advice = [SMALLER[one.name] for one in options if one.name in SMALLER]
            raise click.ClickException(
                "not enough memory: " + (f"try {' or '.join(advice)}" if advice else "free some")
            ) from error


@contextmanager
def heard_or_not() -> Iterator[None]:
    """Let no work fail, and no exit code change, because standard error cannot be written.

    All who speak use it: progress, warnings, errors, loggers.
    """
    with ExitStack() as stack:
        nowhere = stack.enter_context(open(os.devnull, "w"))
        while nowhere.fileno() <= 2:  # where streams were closed: no file to write gets their place
            nowhere = stack.enter_context(open(os.devnull, "w"))
        speech: Any = Unheard(sys.stderr or nowhere)
        try:
            with redirect_stderr(speech):
                yield
        finally:
            for stream in (sys.stdout, sys.stderr):
                _drop_what_waits(stream)


def _drop_what_waits(stream: TextIO | None) -> None:
    """Drop what a stream does not take: Python would try again, and end with code 120."""
    if stream is None:
        return
    try:
        stream.flush()
    except UNWRITABLE:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def tell(text: str) -> None:
    """Print what is told of work that is done and kept, if that is possible."""
    with suppress(OSError):
        click.echo(text)


def _fail(error: Exception) -> NoReturn:
    code, message = explain(error)
    click.echo(message, err=True)
    for note in getattr(_interruption(error) or error, "__notes__", []):
        click.echo(f"fastgmm: {note}", err=True)
    sys.exit(code)


def _interruption(error: Exception) -> BaseException | None:
    """Return the KeyboardInterrupt that click has made an Abort of."""
    return error.__cause__ if isinstance(error, click.exceptions.Abort) else None


def explain(error: Exception) -> tuple[int, str]:
    """Return the exit code and the line for an exception."""
    match error:
        case click.exceptions.Abort() if isinstance(stopped := _interruption(error), Stopped):
            return stopped.code, f"fastgmm: {stopped.reason}"
        case click.exceptions.Abort():  # what click makes of KeyboardInterrupt
            return INTERRUPTED, "fastgmm: interrupted"
        case click.UsageError() if type(error).__name__ == "NoArgsIsHelpError":
            return USAGE, error.format_message()  # the help itself
        case click.UsageError():
            where = "fastgmm" if error.ctx is None else error.ctx.command_path
            return USAGE, _line(f"{error.format_message()} (see {where} --help)")
        case click.ClickException():
            return UNUSABLE, _line(error.format_message())
        case OSError() if error.strerror and error.filename is not None:
            return UNUSABLE, _line(f"{os.fsdecode(error.filename)}: {error.strerror}")
        case FastGMMError() | OSError() | ValueError() | ImportError():
            return UNUSABLE, _line(_as_options(str(error)) or type(error).__name__)
        case _:
            return UNEXPECTED, _line(
                f"unexpected {type(error).__name__}: {error} "
                "(FASTGMM_TRACEBACK=1 shows where it came from; please report it)"
            )


def _line(text: str) -> str:
    return "fastgmm: error: " + " ".join(text.split())


def _as_options(text: str) -> str:
    """Turn the library's advice into the command's: ``columns=[...]`` into ``--columns``."""
    for argument, option in ADVICE.items():
        text = text.replace(argument, option)
    return PARAMETER.sub(_option, text)


def _option(name: re.Match[str]) -> str:
    option = "--" + name[1].replace("_", "-")
    return option if name[2] is None else f"{option} {name[2]}"


@contextmanager
def warnings_in_one_line() -> Iterator[None]:
    """Show warnings meant for users as ``fastgmm: warning: ...``, without source lines."""
    with warnings.catch_warnings():
        for category in (UserWarning, RuntimeWarning):
            warnings.simplefilter("always", category)
        warnings.showwarning = show_warning
        yield


def show_warning(message: Warning | str, *_: Any, **__: Any) -> None:
    """Print a warning as one line."""
    click.echo("fastgmm: warning: " + " ".join(_as_options(str(message)).split()), err=True)
