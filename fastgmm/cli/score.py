"""``fastgmm score``: how well a model describes rows."""

from pathlib import Path

import click

from fastgmm.cli.options import (
    ROW_ENDINGS,
    columns_option,
    data_argument,
    load_model,
    missing_option,
    model_option,
    open_rows,
    output_option,
    threads_option,
    weight_option,
)


@click.command()
@data_argument
@model_option
@click.option("--per-row", is_flag=True, help="Write the log density of every row to OUTPUT.")
@output_option(ROW_ENDINGS, "File for --per-row", required=False)
@columns_option
@weight_option
@missing_option
@threads_option
def score(
    data: tuple[str, ...],
    model_file: Path,
    per_row: bool,
    output: Path | None,
    columns: list[str] | None,
    weight: str | None,
    missing: str,
    threads: int | None,
) -> None:
    """Print the mean log likelihood per row of DATA (nats), or write every row's log density."""
    if per_row != (output is not None):
        raise click.UsageError("--per-row and -o go together: give both or neither")
    if per_row and missing == "drop":
        raise click.UsageError(
            "--per-row keeps one value a row: --missing drop does not go with it"
        )
    model = load_model(model_file, threads)
    rows = open_rows(data, columns, weight, missing, model=model, output=output)
    if output is None:
        click.echo(repr(float(model.score(rows.source))))
    else:
        model.score_samples(rows.source, out=output)
