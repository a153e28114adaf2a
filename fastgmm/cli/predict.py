"""``fastgmm predict``: the component of every row, streamed to a file."""

from pathlib import Path

import click

from fastgmm.cli.options import (
    ROW_ENDINGS,
    columns_option,
    data_argument,
    load_model,
    model_option,
    open_rows,
    output_option,
    threads_option,
)


@click.command()
@data_argument
@model_option
@output_option(ROW_ENDINGS, "File to write")
@click.option("--proba", is_flag=True, help="Probabilities of all components, not the best one.")
@columns_option
@threads_option
def predict(
    data: tuple[str, ...],
    model_file: Path,
    output: Path,
    proba: bool,
    columns: list[str] | None,
    threads: int | None,
) -> None:
    """Write the component of every row of DATA to a file, in the order of the rows."""
    model = load_model(model_file, threads)
    rows = open_rows(data, columns, model=model, output=output)
    (model.predict_proba if proba else model.predict)(rows.source, out=output)
