"""``fastgmm sample``: rows drawn from a model."""

from pathlib import Path

import click

from fastgmm.cli.options import ROW_ENDINGS, load_model, model_option, output_option

BLOCK_ROWS = 2**20
"""Rows written at once, which in Parquet make a row group."""


@click.command()
@model_option
@click.option("-n", "n_samples", type=click.IntRange(min=1), required=True, help="Rows to draw.")
@output_option(ROW_ENDINGS, "File to write")
@click.option(
    "--seed", type=click.IntRange(0, 2**32 - 1), default=0, show_default=True, help="Random seed."
)
def sample(model_file: Path, n_samples: int, output: Path, seed: int) -> None:
    """Write rows drawn from a model to a file, component after component."""
    import numpy as np

    from fastgmm.cli.tables import feature_names
    from fastgmm.sinks import to_file

    model = load_model(model_file, threads=None)
    rows, _ = model.sample(n_samples, random_state=seed)
    blocks = np.array_split(rows, -(-n_samples // BLOCK_ROWS))
    to_file(output, blocks, n_samples, feature_names(model))
