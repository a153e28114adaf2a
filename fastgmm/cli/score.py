"""``fastgmm score``: how well a model describes rows."""

from pathlib import Path
from typing import Any

import click

from fastgmm.cli.clusters import Place, one_place, place_options, placed
from fastgmm.cli.options import (
    ROW_ENDINGS,
    columns_option,
    data_argument,
    load_model,
    missing_option,
    model_option,
    open_rows,
    output_option,
    weight_option,
)


@click.command()
@data_argument
@model_option
@click.option("--per-row", is_flag=True, help="Write the log density of every row to OUTPUT.")
@output_option(ROW_ENDINGS, "File or folder for --per-row", required=False)
@columns_option
@weight_option
@missing_option
@place_options
def score(
    data: tuple[str, ...],
    model_file: Path,
    per_row: bool,
    output: Path | None,
    columns: list[str] | None,
    weight: str | None,
    missing: str,
    **places: Any,
) -> None:
    """Print the mean log likelihood per row of DATA (nats), or write every row's log density.

    Rows that --missing drop leaves out of the mean have NaN among the densities.
    """
    if per_row != (output is not None):
        raise click.UsageError("--per-row and -o go together: give both or neither")
    place = one_place(Place(**places))
    model = load_model(model_file, place.threads).set_params(missing=missing)
    left_out = "raise" if per_row else missing
    rows = open_rows(data, columns, weight, left_out, model=model)
    with placed(model, place):
        if output is None:
            click.echo(repr(float(model.score(rows.source))))
        else:
            model.score_samples(rows.source, out=output)
