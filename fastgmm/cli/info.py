"""``fastgmm info``: what is in a model file."""

from pathlib import Path

import click


@click.command()
@click.argument("model_file", type=click.Path(path_type=Path), metavar="MODEL")
@click.option("--json", "json", is_flag=True, help="Parameters and how the fit ended, as JSON.")
@click.option("--csv", "csv", is_flag=True, help="One line a component, as CSV.")
def info(model_file: Path, json: bool, csv: bool) -> None:
    """Print the parameters of a model file."""
    if json and csv:
        raise click.UsageError("--json and --csv exclude each other: choose one")
    from fastgmm.cli.options import load_model
    from fastgmm.cli.tables import as_csv, as_json, collapsed_components, parameter_table

    model = load_model(model_file, threads=None)
    if json:
        click.echo(as_json(model))
    elif csv:
        click.echo(as_csv(model), nl=False)
    else:
        k, d = model.means_.shape
        plural = "" if d == 1 else "s"
        click.echo(f"{k} components, {d} feature{plural}, {model.covariance_type} covariances")
        click.echo("\n".join([*collapsed_components(model), "", *parameter_table(model)]))
