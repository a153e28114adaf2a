"""The ``fastgmm`` command: one module a subcommand, nothing heavy imported before one runs."""

import click

from fastgmm import __version__
from fastgmm.cli.demo import demo
from fastgmm.cli.fit import fit
from fastgmm.cli.info import info
from fastgmm.cli.messages import OneLineErrors
from fastgmm.cli.predict import predict
from fastgmm.cli.sample import sample
from fastgmm.cli.score import score
from fastgmm.cli.select import select
from fastgmm.cli.warmup import warmup

__all__ = ["main"]


@click.group(cls=OneLineErrors, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="fastgmm")
def main() -> None:
    """Gaussian mixture models by EM, on data of any size.

    DATA is one or more .npy or Parquet files, Zarr arrays or HDF5 datasets, glob patterns (quoted
    or not) or folders. Outputs are complete or absent: a file is replaced, a folder that exists
    already is an error.
    Exit codes: 0 done, 2 wrong usage, 3 stopped by --max-seconds, 4 something about the data, a
    model or a file, 130 interrupted, 143 terminated. FASTGMM_TRACEBACK=1 shows where an error came
    from.
    """


for command in (fit, select, predict, score, sample, info, demo, warmup):
    main.add_command(command)
