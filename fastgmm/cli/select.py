"""``fastgmm select``: how many components, of which shape; the best model goes to a file."""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from fastgmm.atomic_file import atomic_file
from fastgmm.cli.clusters import client_of, one_place, place_of, reporting
from fastgmm.cli.fit import fit
from fastgmm.cli.messages import tell
from fastgmm.cli.options import (
    MODEL_ENDINGS,
    NameList,
    OpenedData,
    Output,
    Registered,
    data_argument,
    open_rows,
    output_option,
)
from fastgmm.cli.stopping import interruptible
from fastgmm.cli.watching import watched
from fastgmm.progress import Event, PassBegan

if TYPE_CHECKING:
    from fastgmm.selection import Selection

PICTURE_ENDINGS = (".png", ".pdf", ".svg")

SHARED_WITH_FIT = (
    "columns",
    "weight",
    "missing",
    "init_params",
    "random_state",
    "tol",
    "max_iter",
    "reg_covar",
    "regularization",
    "on_collapse",
    "threads",
    "workers",
    "scheduler",
    "scheduler_file",
    "persist",
    "chunk_size",
    "memory_limit",
    "checkpoint",
    "checkpoint_interval",
    "resume",
    "max_seconds",
    "log_json",
    "performance_report",
    "quiet",
)
"""Options of ``fastgmm fit``, with its defaults: the best model is what ``fit`` would make."""


class Sizes(click.ParamType):  # type: ignore[type-arg]  # generic since click 8.4
    """Numbers of components: ``1:20``, ``2,4,8``, ``10:100:10``."""

    name = "1:20"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> list[int]:
        """Return the numbers, both ends of ranges included."""
        if isinstance(value, list):
            return value
        sizes: list[int] = []
        for piece in value.split(","):
            numbers = piece.split(":")
            if len(numbers) > 3 or not all(number.strip().isdecimal() for number in numbers):
                self.fail(f"{piece!r} is neither a number nor a range such as 1:20", param, ctx)
            first, last, step = [*map(int, numbers), *([int(numbers[0]), 1][len(numbers) - 1 :])]
            if not 1 <= first <= last or step < 1:
                self.fail(f"{piece!r} is no rising range from 1 on", param, ctx)
            sizes += [size for size in range(first, last + 1, step) if size not in sizes]
        return sizes


class RegisteredList(NameList):
    """Some names from a registry, separated by commas."""

    def __init__(self, module: str, registry: str) -> None:
        self._one = Registered(module, registry)

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> list[str]:
        """Split at the commas; fail with the list of names there are."""
        names = super().convert(value, param, ctx)
        return list(dict.fromkeys(self._one.convert(name, param, ctx) for name in names))


@click.command(params=[option for option in fit.params if option.name in SHARED_WITH_FIT])
@data_argument
@click.option(
    "-k",
    "--n-components",
    type=Sizes(),
    default="1:20",
    show_default=True,
    help="Numbers of components: 1:20, 2,4,8 or 10:100:10.",
)
@click.option(
    "--covariance-type",
    type=RegisteredList("fastgmm.covariance", "FAMILIES"),
    default="full,diag",
    show_default=True,
    help="Shapes of the covariance matrices.",
)
@click.option(
    "--criterion",
    type=Registered("fastgmm.selection", "CRITERIA"),
    default="bic",
    show_default=True,
    help="What the best model has the least of; cv: held-out log likelihood, the most.",
)
@click.option(
    "--n-folds",
    type=click.IntRange(min=2),
    default=5,
    show_default=True,
    help="Folds of --criterion cv.",
)
@click.option(
    "--n-init",
    type=click.IntRange(min=1),
    default=3,
    show_default=True,
    help="Starts of each candidate; all share each pass over the data.",
)
@click.option("--allow-degenerate", is_flag=True, help="Let a degenerate candidate be the best.")
@output_option(MODEL_ENDINGS, "File for the best model")
@click.option("--table", type=Output((".csv",)), help="Write the candidates to this file (.csv).")
@click.option(
    "--plot",
    type=Output(PICTURE_ENDINGS),
    help=f"Draw the criteria, or with cv that one, to this file ({', '.join(PICTURE_ENDINGS)}).",
)
def select(
    data: tuple[str, ...],
    output: Path,
    table: Path | None,
    plot: Path | None,
    columns: list[str] | None,
    weight: str | None,
    missing: str,
    checkpoint: Path | None,
    resume: bool,
    max_seconds: float | None,
    log_json: Path | None,
    performance_report: Path | None,
    quiet: bool,
    **settings: Any,
) -> None:
    """Fit mixtures of many sizes and shapes to DATA at once and write the best to a model file.

    With --checkpoint FILE and --resume, a sweep that is stopped goes on where it was, as fits do.
    """
    from fastgmm.selection import select as sweep

    place = one_place(place_of(settings), performance_report, settings["persist"])
    _check_folds(click.get_current_context(), settings["criterion"])
    settings |= {"n_threads": place.threads, "checkpoint": checkpoint, "resume": resume}
    counted = _Rows()
    with interruptible(checkpoint, resume, max_seconds) as stop:
        rows = open_rows(data, columns, weight, missing)
        with (
            client_of(place) as client,
            reporting(performance_report),
            watched(quiet, log_json, resume) as watching,
        ):
            watching = [counted, stop, *watching]
            selection = sweep(rows.source, **settings, client=client, callbacks=watching)
            # before anything is closed, which may fail
            selection.best.save(output)
        if table is not None:
            write_table(selection, table)
        if plot is not None:
            _draw(selection, plot)
    if not quiet:
        tell("\n".join(summary(selection, rows, counted.n_samples)))
        tell(f"model written to {output}")


def _check_folds(context: click.Context, criterion: str) -> None:
    """Refuse folds that nobody would make."""
    given = context.get_parameter_source("n_folds") is not ParameterSource.DEFAULT
    if given and criterion != "cv":
        raise click.UsageError(
            f"--n-folds has no say with --criterion {criterion}: add --criterion cv, or leave it "
            "out"
        )


class _Rows:
    """Observe a sweep: how many rows it reads."""

    n_samples: int | None = None

    def __call__(self, event: Event) -> None:
        if isinstance(event, PassBegan) and event.n_samples is not None:
            self.n_samples = event.n_samples


def table_lines(selection: "Selection") -> list[str]:
    """Return the lines of a table of the candidates for people, with marks explained below."""
    from fastgmm.cli.tables import aligned
    from fastgmm.selection.choice import NARROW

    lines = [["", "components", "shape", "log likelihood", "parameters", "AIC", "BIC", "ICL"]]
    held_out = selection.criterion == "cv"
    lines[0] += ["held out per row"] * held_out + ["iterations"]
    for i, one in enumerate(selection.table):
        totals = [one.log_likelihood, one.n_parameters, one.aic, one.bic, one.icl]
        likelihood, n_parameters, *criteria = totals
        marks = "best" * (i == selection.best_index) + " !" * one.degenerate
        marks += " x" * (one.failure is not None)
        line = [marks, str(one.n_components), one.covariance_type, f"{likelihood:.2f}"]
        line += [str(n_parameters), *(f"{value:.2f}" for value in criteria)]
        line += [] if one.cv is None else [f"{one.cv:.6f}"]
        lines.append([*line, f"{one.n_iter}{'' if one.converged else ' (not converged)'}"])
    explained = [
        f"x {one.n_components} {one.covariance_type} failed: {one.failure}"
        for one in selection.table
        if one.failure is not None
    ]
    if any(one.degenerate for one in selection.table):
        explained += [
            "! degenerate: a component of no more rows than columns, or in some direction narrower "
            f"than {NARROW:g} times what --reg-covar adds"
        ]
    return [*aligned(lines), *explained]


def write_table(selection: "Selection", path: Path) -> None:
    """Write the candidates to a CSV file: the fields of ``Candidate``, and whether it is best."""
    from fastgmm.selection import Candidate

    with atomic_file(path) as temporary, open(temporary, "w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([*Candidate._fields, "best"])
        for i, candidate in enumerate(selection.table):
            writer.writerow([*candidate, i == selection.best_index])


def _draw(selection: "Selection", path: Path) -> None:
    from matplotlib.figure import Figure

    from fastgmm.plotting import plot_criteria, plot_cross_validation

    figure = Figure(figsize=(7, 4.5), layout="constrained")
    plot = plot_cross_validation if selection.criterion == "cv" else plot_criteria
    plot(selection.table, ax=figure.subplots())
    with atomic_file(path) as temporary:
        figure.savefig(temporary, format=path.suffix[1:].lower(), dpi=150)


def summary(selection: "Selection", rows: OpenedData, n_samples: int | None) -> Sequence[str]:
    """Say what was tried, what is best and what it cost."""
    best, passes = selection.best, selection.passes
    d = best.n_features_in_
    described = getattr(rows.source, "describe", None)  # how many rows --missing drop left out
    reseeding = f", {passes.reseeding} to reseed" if passes.reseeding else ""
    return [
        f"{n_samples:,} rows x {d} column{'' if d == 1 else 's'}",
        *([] if described is None else [described()]),
        "",
        *table_lines(selection),
        "",
        f"best by {selection.criterion}: {best.n_components} components, {best.covariance_type}",
        f"{len(selection.table)} candidates in {selection.seconds:.1f} s; {passes.total} passes "
        f"over the data: {passes.seeding} to begin, {passes.em} of EM{reseeding}, "
        f"{passes.scoring} to score",
    ]
