"""``fastgmm warmup``: compile now what fits would compile when they start."""

import time
import warnings
from collections.abc import Sequence
from itertools import cycle, product
from typing import Any

import click

from fastgmm.cli.options import NameList, RegisteredList

DTYPES = ("float64", "float32")

N_FEATURES = "1,2,3,4,5,6,7,8,9"
"""Up to eight columns have code of their own; nine stand for all others."""


class Choices(NameList):
    """Some of a few names, separated by commas."""

    def __init__(self, names: Sequence[str]) -> None:
        self.names = names

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> list[str]:
        """Split at the commas; fail with the list of names there are."""
        names = super().convert(value, param, ctx)
        for name in names:
            if name not in self.names:
                self.fail(f"{name!r} is not one of {', '.join(self.names)}", param, ctx)
        return names


class Counts(NameList):
    """Positive whole numbers, separated by commas."""

    name = "2,3,..."

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Split at the commas."""
        words = super().convert(value, param, ctx)
        for word in words:
            if not str(word).isdecimal() or int(word) == 0:
                self.fail(f"{word!r} is not a number of columns", param, ctx)
        return [int(word) for word in words]


@click.command()
@click.option(
    "--covariance-type",
    "covariance_types",
    type=RegisteredList("fastgmm.covariance", "FAMILIES"),
    help="Shapes of covariance matrices, separated by commas  [default: all].",
)
@click.option(
    "--dtype",
    "dtypes",
    type=Choices(DTYPES),
    default=",".join(DTYPES),
    show_default=True,
    help="Kinds of numbers.",
)
@click.option(
    "--n-features",
    type=Counts(),
    default=N_FEATURES,
    show_default=True,
    help="Numbers of columns; above eight they share their code.",
)
@click.option("--quiet", is_flag=True, help="Print errors only.")
def warmup(
    covariance_types: list[str] | None, dtypes: list[str], n_features: list[int], quiet: bool
) -> None:
    """Compile the kernels of fits, sweeps and predictions and keep them on disk.

    The first fit of every later process on this kind of machine then starts at once: run it when
    an image or an environment is built, with FASTGMM_CACHE naming the folder if it is not the
    user's. All shapes and kinds of numbers take minutes; what is on disk already, no time.
    """
    from fastgmm._jit import kernel_cache_folder, loaded_kernels
    from fastgmm.covariance import FAMILIES

    folder = kernel_cache_folder()
    if folder is None:
        raise click.ClickException(
            "compiled kernels cannot be kept: set FASTGMM_CACHE to a folder that you can write"
        )
    began = time.perf_counter()
    for covariance_type, dtype, d in product(covariance_types or FAMILIES, dtypes, n_features):
        before, since = len(_compiled()), time.perf_counter()
        use_every_kernel(covariance_type, dtype, d)
        new = len(_compiled()) - before
        if new and not quiet:
            seconds = time.perf_counter() - since
            what = f"{covariance_type} {dtype} {d} column{'' if d == 1 else 's'}"
            click.echo(f"{what}: {new} compiled in {seconds:.1f} s")
    lost = [kernel.name for kernel in loaded_kernels() if not kernel.kept]
    if lost:
        raise click.ClickException(
            f"{len(lost)} of {len(loaded_kernels())} compiled kernels were not kept: make {folder} "
            "writable and its disk not full, or set FASTGMM_CACHE to another folder"
        )
    if not quiet:
        total, new = len(loaded_kernels()), len(_compiled())
        seconds = time.perf_counter() - began
        click.echo(f"{new} of {total} kernels compiled in {seconds:.1f} s, all kept in {folder}")


def _compiled() -> list[str]:
    from fastgmm._jit import loaded_kernels

    return [kernel.name for kernel in loaded_kernels() if kernel.compiled]


def use_every_kernel(covariance_type: str, dtype: str, n_features: int) -> None:
    """Fit, select and predict a few rows: what compiles is what these use."""
    import numpy as np

    from fastgmm import kernels
    from fastgmm.estimators import GaussianMixture
    from fastgmm.initialization import START_NAMES
    from fastgmm.selection import select

    n_rows = 4 * kernels.narrow.enough_rows(np.dtype(dtype))  # half of them are a fold
    rows = np.random.default_rng(0).normal(size=(n_rows, n_features)).astype(dtype)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # one iteration does not converge
        # two and three components have machine code of their own
        for start, n_components in zip(START_NAMES, cycle((4, 3, 2)), strict=False):
            model = GaussianMixture(
                n_components,
                covariance_type=covariance_type,
                init_params=start,
                max_iter=1,
                random_state=0,
                n_threads=1,
            ).fit(rows)
        model.predict_proba(rows)
        select(
            rows, 2, covariance_type, criterion="cv", n_folds=2, n_init=1, max_iter=1, n_threads=1
        )
        # user-given precisions are inverted
        model.set_params(precisions_init=model.precisions_, means_init=model.means_).fit(rows)
