"""A model's parameters as text: a table for people, JSON and CSV for programs."""

import csv
import io
import json
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fastgmm.estimators import GaussianMixture

COLUMNS_SHOWN = 6
"""Features in the table for people: more do not fit the width of a terminal."""

COLLAPSED_SHOWN = 10
"""Components named in the line about collapsed ones."""


def feature_names(model: "GaussianMixture") -> list[str]:
    """Return the names of the features, or x0, x1, ... where the data had none."""
    names = getattr(model, "feature_names_in_", None)
    return [f"x{j}" for j in range(model.n_features_in_)] if names is None else [*map(str, names)]


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return the lines of a table whose columns are as wide as their widest cell."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(cell.rjust(w) for cell, w in zip(row, widths, strict=True)) for row in rows]


def parameter_table(model: "GaussianMixture") -> list[str]:
    """Return the lines of a table: weight, means and standard deviations of every component."""
    names = feature_names(model)
    shown = names[:COLUMNS_SHOWN]
    deviations = [
        [math.sqrt(matrix[j, j]) for j in range(len(shown))]
        for matrix in model.covariance_matrices()
    ]
    rows = [
        ["component", "weight", *(f"mean {name}" for name in shown), *(f"sd {n}" for n in shown)]
    ]
    for k, (weight, mean) in enumerate(zip(model.weights_, model.means_, strict=True)):
        numbers = [weight, *mean[: len(shown)], *deviations[k]]
        rows.append([str(k), *(f"{number:.6g}" for number in numbers)])
    lines = aligned(rows)
    if len(names) > len(shown):
        lines.append(f"(and {len(names) - len(shown)} more columns: fastgmm info --json or --csv)")
    return lines


def collapsed_components(model: "GaussianMixture") -> list[str]:
    """Return a line that names the components that had collapsed when the fit ended, if any."""
    numbers = [str(k) for k in getattr(model, "collapsed_", [])]
    if not numbers:
        return []
    shown = ", ".join(numbers[:COLLAPSED_SHOWN]) + (", ..." * (len(numbers) > COLLAPSED_SHOWN))
    plural = "" if len(numbers) == 1 else "s"
    advice = "see fastgmm fit --on-collapse"
    if len(numbers) == len(model.weights_):
        advice += "; if --reg-covar is wide for these data, --regularization relative"
    return [f"{len(numbers)} component{plural} collapsed: {shown} ({advice})"]


def as_json(model: "GaussianMixture") -> str:
    """Return the parameters of a model, and how its fit ended."""
    lower_bound = getattr(model, "lower_bound_", None)
    contents: dict[str, Any] = {
        "covariance_type": model.covariance_type,
        "n_components": len(model.weights_),
        "n_features": model.n_features_in_,
        "features": feature_names(model),
        "converged": bool(getattr(model, "converged_", False)),
        "n_iter": getattr(model, "n_iter_", None),
        "lower_bound": lower_bound if lower_bound is None or math.isfinite(lower_bound) else None,
        "collapsed": [int(k) for k in getattr(model, "collapsed_", [])],
        "weights": model.weights_.tolist(),
        "means": model.means_.tolist(),
        "covariances": model.covariances_.tolist(),
    }
    return json.dumps(contents, indent=2)


def as_csv(model: "GaussianMixture") -> str:
    """Return one row a component: weight, mean, and the lower triangle of its covariance."""
    names = feature_names(model)
    lower = [(i, j) for i in range(len(names)) for j in range(i + 1)]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(
        ["component", "weight"]
        + [f"mean {name}" for name in names]
        + [f"cov {names[i]} {names[j]}" for i, j in lower]
    )
    for k, matrix in enumerate(model.covariance_matrices()):
        numbers = [model.weights_[k], *model.means_[k], *(matrix[i, j] for i, j in lower)]
        writer.writerow([k, *(repr(float(number)) for number in numbers)])
    return text.getvalue()
