"""``fastgmm predict``: the component of every row, written as it is computed."""

from pathlib import Path
from typing import Any

import click

from fastgmm.cli.clusters import Place, one_place, place_options, placed
from fastgmm.cli.options import (
    ROW_ENDINGS,
    columns_option,
    data_argument,
    load_model,
    missing_rows_option,
    model_option,
    open_rows,
    output_option,
)


@click.command()
@data_argument
@model_option
@output_option(ROW_ENDINGS, "File or folder to write")
@click.option("--proba", is_flag=True, help="Probabilities of all components, not the best one.")
@columns_option
@missing_rows_option
@place_options
def predict(
    data: tuple[str, ...],
    model_file: Path,
    output: Path,
    proba: bool,
    columns: list[str] | None,
    missing: str,
    **places: Any,
) -> None:
    """Write the component of every row of DATA, in the order of the rows.

    To one .npy file, or to a new folder of Parquet files or a Zarr array, whose parts the threads
    or the workers of a cluster write side by side.
    """
    place = one_place(Place(**places))
    model = load_model(model_file, place.threads).set_params(missing=missing)
    rows = open_rows(data, columns, model=model)
    with placed(model, place):
        (model.predict_proba if proba else model.predict)(rows.source, out=output)
