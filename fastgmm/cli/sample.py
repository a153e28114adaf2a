"""``fastgmm sample``: rows drawn from a model."""

from pathlib import Path

import click

from fastgmm.cli.options import ROW_ENDINGS, load_model, model_option, output_option

MOST_ROWS = 2**48
"""No machine has memory for as many."""


@click.command()
@model_option
@click.option(
    "-n", "n_samples", type=click.IntRange(1, MOST_ROWS), required=True, help="Rows to draw."
)
@output_option(ROW_ENDINGS, "File to write")
@click.option(
    "--seed", type=click.IntRange(0, 2**32 - 1), default=0, show_default=True, help="Random seed."
)
def sample(model_file: Path, n_samples: int, output: Path, seed: int) -> None:
    """Write rows drawn from a model to a file, component after component."""
    from fastgmm.cli.tables import feature_names
    from fastgmm.sinks import ArrayResults, checked_sink, to_file

    checked_sink(output)
    model = load_model(model_file, threads=None)
    rows, _ = model.sample(n_samples, random_state=seed)
    to_file(output, ArrayResults(rows, feature_names(model)))
