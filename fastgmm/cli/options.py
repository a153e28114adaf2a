"""Options that several subcommands share, and the files they name."""

import os
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import click

from fastgmm.atomic_file import destination, same_file
from fastgmm.exceptions import DataError

if TYPE_CHECKING:
    from fastgmm.estimators import GaussianMixture
    from fastgmm.sources import Source

F = TypeVar("F", bound=Callable[..., Any])

MODEL_ENDINGS = (".npz",)
ROW_ENDINGS = (".npy", ".parquet", ".zarr")


class Output(click.ParamType):  # type: ignore[type-arg]  # generic since click 8.4
    """A file to be written: nothing else has its name, its folder is there and writeable.

    Its ending is one of ``endings``, if there are any. Checked while the command line is read, so
    that a fit of hours does not end with "no such folder".
    """

    name = "file"

    def __init__(self, endings: Sequence[str] = ()) -> None:
        self.endings = endings

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        """Return the path, or fail with the reason why it cannot be written."""
        path = Path(value)
        if self.endings and path.suffix.lower() not in self.endings:
            self.fail(f"{value}: the name must end in {' or '.join(self.endings)}", param, ctx)
        try:
            self.check(path)
        except OSError as error:
            self.fail(str(error), param, ctx)
        for option, other in outputs(ctx).items():
            if same_file(path, other):
                self.fail(f"{value} is the file of {option}, too: choose two names", param, ctx)
        return path

    def check(self, path: Path) -> None:
        """Raise OSError if the file cannot be written."""
        destination(path)


class Log(Output):
    """A file that is written as the command runs: a device or a pipe will do; "-": standard output.

    It is opened when everything else has been checked.
    """

    def check(self, path: Path) -> None:
        """Raise OSError if the file cannot be written."""
        if os.path.exists(path) and not os.path.isdir(path):
            if not os.access(path, os.W_OK):
                raise PermissionError(
                    f"Cannot write {path}: it is not writeable, choose another name"
                )
        elif os.fspath(path) != "-":
            super().check(path)


def outputs(context: click.Context | None) -> dict[str, Path]:
    """Return what a command writes, as far as its options are read, by their names."""
    if context is None:
        return {}
    found = {
        option.opts[-1]: context.params.get(option.name or "")
        for option in context.command.params
        if isinstance(option.type, Output)
    }
    return {name: path for name, path in found.items() if isinstance(path, Path)}


class Registered(click.ParamType):  # type: ignore[type-arg]  # generic since click 8.4
    """A name from a registry of the package, which is imported when it is needed."""

    name = "name"

    def __init__(self, module: str, registry: str) -> None:
        self.module = module
        self.registry = registry

    def names(self) -> list[str]:
        """Return the names that are registered."""
        return list(getattr(import_module(self.module), self.registry))

    def get_metavar(self, *_: Any, **__: Any) -> str:
        """Show the names in the help."""
        return f"[{'|'.join(self.names())}]"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the name, or fail with the list of those there are."""
        if value not in self.names():
            self.fail(f"{value!r} is not one of {', '.join(self.names())}", param, ctx)
        return str(value)


class RegisteredList(Registered):
    """Some names from a registry, separated by commas."""

    def get_metavar(self, *_: Any, **__: Any) -> str:
        """Show the names in the help."""
        return f"[{'|'.join(self.names())}],..."

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> list[str]:
        """Return the names, or fail with the list of those there are."""
        names = NameList().convert(value, param, ctx)
        return [Registered.convert(self, name, param, ctx) for name in names]


class NameList(click.ParamType):  # type: ignore[type-arg]  # generic since click 8.4
    """Column names (numbers but for Parquet files), separated by commas."""

    name = "a,b,..."

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> list[str]:
        """Split at the commas."""
        if isinstance(value, list):
            return value
        names = [name.strip() for name in value.split(",")]
        if not all(names):
            self.fail(f"{value!r} has an empty column name", param, ctx)
        return names


class Bytes(click.ParamType):  # type: ignore[type-arg]  # generic since click 8.4
    """A size as people and Dask write it: 2GB, 512MiB, 1e9."""

    name = "bytes"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Return the number of bytes."""
        if isinstance(value, int):
            return value
        from dask.utils import parse_bytes

        try:
            n_bytes = int(parse_bytes(value)) if value.strip() else 0
        except (ValueError, OverflowError):
            self.fail(f"{value!r} is not a size such as 2GB, 512MiB or 1e9", param, ctx)
        if n_bytes < 1:
            self.fail(f"{value!r} is not a byte", param, ctx)
        return n_bytes


data_argument = click.argument("data", nargs=-1, required=True, metavar="DATA...")

columns_option = click.option(
    "--columns",
    type=NameList(),
    help="Columns to use: names, or numbers but for Parquet  [default: all, or the model's].",
)

weight_option = click.option("--weight", metavar="NAME", help="Column of row weights.")

missing_option = click.option(
    "--missing",
    type=click.Choice(["raise", "drop"]),
    default="raise",
    show_default=True,
    help="What to do with rows that have NaN or null in a used column.",
)

missing_rows_option = click.option(
    "--missing",
    type=click.Choice(["raise", "drop"]),
    default="raise",
    show_default=True,
    help="What to do with rows that have NaN or null in a used column: 'drop' gives them the label "
    "-1, and NaN for other results, so that every row keeps its place.",
)

threads_option = click.option(
    "--threads", type=click.IntRange(min=1), help="Threads  [default: all this process may use]."
)

model_option = click.option(
    "-m",
    "--model",
    "model_file",
    type=click.Path(path_type=Path),
    required=True,
    help="Model file.",
)


def output_option(endings: Sequence[str], help: str, *, required: bool = True) -> Callable[[F], F]:
    """Make the option ``-o/--output``."""
    return click.option(
        "-o",
        "--output",
        type=Output(endings),
        required=required,
        help=f"{help} ({', '.join(endings)}).",
    )


class OpenedData(NamedTuple):
    """Rows, and what they take on disk."""

    source: "Source"
    files: list[str]
    n_bytes: int


def open_rows(
    data: Sequence[str],
    columns: Sequence[str] | None,
    weight: str | None = None,
    missing: str = "raise",
    *,
    model: "GaussianMixture | None" = None,
) -> OpenedData:
    """Open DATA, which no option may write to.

    By default the columns a model was fitted on, where both have names.
    """
    from fastgmm.sources import FILE_FORMATS, check_not_read, open_dataset
    from fastgmm.sources.files import on_disk, resolve, size_on_disk, would_find

    files, ending = resolve(list(data), FILE_FORMATS)
    if columns is None and model is not None:
        columns = _columns_of(model, ending)
    read = [on_disk(file, FILE_FORMATS) for file in files]
    for option, written in outputs(click.get_current_context(silent=True)).items():
        try:
            check_not_read(written, read)
        except DataError as error:
            raise click.UsageError(f"{option}: {error}") from error
        for path in data:
            if would_find(path, written, FILE_FORMATS):
                raise click.UsageError(
                    f"{option}: {written} would be among the rows of {path} from now on: write it "
                    "elsewhere"
                )
    source = open_dataset(files, columns=columns, weight=weight, missing=missing)
    return OpenedData(source, list(files), sum(map(size_on_disk, files)))


def _columns_of(model: "GaussianMixture", ending: str) -> list[str] | None:
    """Return the columns a model was fitted on, if files of this kind can have them."""
    from fastgmm.sources import FILE_FORMATS

    names = [str(name) for name in getattr(model, "feature_names_in_", [])]
    fit = FILE_FORMATS[ending].names_columns or all(name.isdigit() for name in names)
    return names if names and fit else None


def load_model(model_file: Path, threads: int | None) -> "GaussianMixture":
    """Load a model to be used on this machine's threads."""
    from fastgmm.estimators import GaussianMixture

    model = GaussianMixture.load(model_file)
    model.n_threads = threads
    return model
