"""``fastgmm fit``: from files to a model file."""

import math
import time
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from fastgmm.atomic_file import same_file
from fastgmm.cli.clusters import one_place, place_of, place_options, placed, reporting
from fastgmm.cli.memory import megabytes, peak_memory
from fastgmm.cli.messages import tell
from fastgmm.cli.options import (
    MODEL_ENDINGS,
    Bytes,
    Log,
    OpenedData,
    Output,
    Registered,
    RegisteredList,
    columns_option,
    data_argument,
    load_model,
    missing_option,
    open_rows,
    output_option,
    outputs,
    weight_option,
)
from fastgmm.cli.stopping import interruptible
from fastgmm.cli.watching import watched
from fastgmm.progress import Event, IterationDone, ModelResumed

if TYPE_CHECKING:
    from fastgmm.estimators import GaussianMixture


class Tolerance(click.ParamType):  # type: ignore[type-arg]  # generic since click 8.4
    """A number, or the word "statistical"."""

    name = "float|statistical"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float | str:
        """Return the number or the word."""
        if value == "statistical":
            return "statistical"
        try:
            tol = float(value)
        except ValueError:
            self.fail(f"{value!r} is neither a number nor 'statistical'", param, ctx)
        if not 0 <= tol < float("inf"):
            self.fail(f"{value} is not a tolerance: zero or more", param, ctx)
        return tol


class Finite(click.FloatRange):
    """A number of a range that may have no end, but itself is finite."""

    def __init__(self, otherwise: str, **bounds: Any) -> None:
        super().__init__(**bounds)
        self.otherwise = otherwise

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Return the number."""
        number = float(super().convert(value, param, ctx))
        if not math.isfinite(number):
            self.fail(f"{value} is {self.otherwise}", param, ctx)
        return number


@click.command()
@data_argument
@click.option("-k", "--n-components", type=click.IntRange(min=1), required=True, help="Components.")
@click.option(
    "--covariance-type",
    type=Registered("fastgmm.covariance", "FAMILIES"),
    default="full",
    show_default=True,
    help="Shape of the covariance matrices.",
)
@output_option(MODEL_ENDINGS, "Model file to write")
@columns_option
@weight_option
@missing_option
@click.option(
    "--init-params",
    type=Registered("fastgmm.initialization", "START_NAMES"),
    default="kmeans",
    show_default=True,
    help="How a fit starts.",
)
@click.option(
    "--start-from",
    type=click.Path(path_type=Path),
    metavar="MODEL",
    help="Start from the parameters of this model file instead.",
)
@click.option(
    "--fixed",
    type=RegisteredList("fastgmm.parameters", "NAMES"),
    help="Parameters that stay as they are in the model of --start-from, separated by commas.",
)
@click.option(
    "--n-init",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="Starts; the best one is kept, all of them share each pass over the data.",
)
@click.option(
    "--seed",
    "random_state",
    type=click.IntRange(0, 2**32 - 1),
    default=0,
    show_default=True,
    help="Random seed.",
)
@click.option(
    "--tol",
    type=Tolerance(),
    default="statistical",
    show_default=True,
    help="Stop when the mean log likelihood gains less than this in an iteration; 'statistical': "
    "when the total log likelihood has less than 0.01 left to gain.",
)
@click.option(
    "--max-iter", type=click.IntRange(min=1), default=1000, show_default=True, help="Iterations."
)
@click.option(
    "--reg-covar",
    type=Finite("no finite number", min=0),
    default=1e-6,
    show_default=True,
    help="Added to the diagonal of every covariance matrix.",
)
@click.option(
    "--regularization",
    type=Registered("fastgmm.maximization", "REGULARIZATIONS"),
    default="absolute",
    show_default=True,
    help="Whether --reg-covar is a variance or a share of each column's variance.",
)
@click.option(
    "--on-collapse",
    type=Registered("fastgmm.collapse", "ON_COLLAPSE"),
    default="keep",
    show_default=True,
    help="What is done about components left without rows or spread; 'reseed' starts them anew on "
    "the rows that the model explains worst.",
)
@place_options
@click.option(
    "--persist/--no-persist",
    default=None,
    callback=lambda context, option, value: "auto" if value is None else value,
    help="Keep the rows in the cluster's memory  [default: when they fit well].",
)
@click.option("--chunk-size", type=click.IntRange(min=1), help="Rows of a block.")
@click.option(
    "--memory-limit",
    type=Bytes(),
    metavar="SIZE",
    help="Most memory of a pass, 2GB say; starts that do not fit wait  "
    "[default: half of what there is].",
)
@click.option(
    "--checkpoint",
    type=Output(),
    help="Keep the fit in this file while it runs and when it is interrupted.",
)
@click.option(
    "--checkpoint-interval",
    type=click.FloatRange(min=0),
    default=60.0,
    show_default=True,
    help="Seconds between two writings of the checkpoint.",
)
@click.option(
    "--resume",
    is_flag=True,
    help="Go on where the checkpoint leaves off; where there is none, begin.",
)
@click.option(
    "--max-seconds",
    type=Finite("no time that ends: leave the option out", min=0, min_open=True),
    help="Stop after this time with the fit in the checkpoint and exit code 3.",
)
@click.option(
    "--log-json",
    type=Log(),
    help="Write a line of JSON to this file after every pass, with --resume behind those there "
    "are.",
)
@click.option(
    "--performance-report",
    type=Output(),
    help="Write Dask's report of the fit to this HTML file (needs fastgmm[dashboard]).",
)
@click.option("-q", "--quiet", is_flag=True, help="No progress display, no summary.")
def fit(
    data: tuple[str, ...],
    output: Path,
    columns: list[str] | None,
    weight: str | None,
    missing: str,
    start_from: Path | None,
    fixed: list[str] | None,
    checkpoint: Path | None,
    resume: bool,
    max_seconds: float | None,
    log_json: Path | None,
    performance_report: Path | None,
    quiet: bool,
    **settings: Any,
) -> None:
    """Fit a mixture to DATA and write it to a model file.

    Batch jobs that are stopped and queued again keep one command line, with --checkpoint FILE and
    --resume; --max-seconds, SIGTERM (exit code 143) and Ctrl-C (130) leave the fit in the file.
    """
    place = one_place(place_of(settings), performance_report, settings["persist"])
    if fixed and start_from is None:
        raise click.UsageError("--fixed keeps what a model has: name its file with --start-from")
    if start_from is not None:
        _check_start_from(click.get_current_context(), start_from)
    settings |= {
        "missing": missing,
        "fixed": tuple(fixed or ()),
        "n_threads": place.threads,
        "checkpoint": checkpoint,
        "resume": resume,
    }
    with interruptible(checkpoint, resume, max_seconds) as stop:
        start = None if start_from is None else load_model(start_from, place.threads)
        rows = open_rows(data, columns, weight, missing, model=start)
        model = _model(start, settings)
        watch = _Watch()
        with (
            placed(model, place),
            reporting(performance_report),
            watched(quiet, log_json, resume) as watching,
        ):
            model.set_callbacks(watch, stop, *watching).fit(rows.source)
            # before anything is closed, which may fail
            model.set_params(warm_start=False).save(output)
    if not quiet:
        tell("\n".join(summary(model, rows, watch)))
        tell(f"model written to {output}")


def _model(start: "GaussianMixture | None", settings: dict[str, Any]) -> "GaussianMixture":
    """Return the model to be fitted, with the parameters of ``start`` if there is one."""
    from fastgmm.estimators import GaussianMixture

    if start is None:
        return GaussianMixture(**settings)
    for name, option in (("n_components", "-k"), ("covariance_type", "--covariance-type")):
        if getattr(start, name) != settings[name]:
            raise click.UsageError(
                f"the model of --start-from is one of {option} {getattr(start, name)}, not of "
                f"{settings[name]}: give {option} {getattr(start, name)}"
            )
    start.lower_bound_ = -math.inf  # that of other rows, perhaps
    return start.set_params(warm_start=True, **settings)


def _check_start_from(context: click.Context, start_from: Path) -> None:
    """Refuse options that say how to start otherwise, and to write over the model meanwhile."""
    for name, option in (("init_params", "--init-params"), ("n_init", "--n-init")):
        if context.get_parameter_source(name) is not ParameterSource.DEFAULT:
            raise click.UsageError(
                f"{option} has no say where --start-from names a model: leave one of them out"
            )
    for option, path in outputs(context).items():
        if option != "--output" and same_file(path, start_from):  # which is written in the end
            raise click.UsageError(
                f"{option}: {path} is the model of --start-from: choose another name"
            )


class _Watch:
    """Observe a fit: how long its passes took, how many rows they had."""

    def __init__(self) -> None:
        self.began = time.monotonic()
        self.memory_before = peak_memory()
        self.seconds: list[float] = []
        self.n_samples = 0

    def __call__(self, event: Event) -> None:
        if isinstance(event, IterationDone) and event.model == 0:
            self.seconds.append(event.seconds)
        if isinstance(event, IterationDone | ModelResumed):
            self.n_samples = event.rows


def summary(model: "GaussianMixture", rows: OpenedData, watch: _Watch) -> list[str]:
    """Say what was fitted, what came out and what it cost."""
    from fastgmm.cli.tables import collapsed_components, parameter_table

    d = model.n_features_in_
    files = "1 file" if len(rows.files) == 1 else f"{len(rows.files)} files"
    plural = "" if d == 1 else "s"
    outcome = "converged" if model.converged_ else "not converged"
    cost = f"{time.monotonic() - watch.began:.1f} s in all"
    if watch.seconds:
        cost = f"{median(watch.seconds):.3g} s per pass, {cost}"
    described = getattr(rows.source, "describe", None)  # how many rows --missing drop left out
    return [
        f"{watch.n_samples:,} rows x {d} column{plural} from {files} ({megabytes(rows.n_bytes)})",
        *([] if described is None else [described()]),
        f"{outcome} after {model.n_iter_} iterations, "
        f"mean log likelihood {model.lower_bound_:.6f} per row",
        *collapsed_components(model),
        "",
        *parameter_table(model),
        "",
        f"{cost}; peak memory {megabytes(peak_memory())} "
        f"({megabytes(watch.memory_before)} of it before the first row)",
    ]
