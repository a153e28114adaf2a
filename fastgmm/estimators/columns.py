"""Are these the columns of the fit? In scikit-learn's words."""

import warnings
from collections.abc import Sequence

from fastgmm.exceptions import DataError
from fastgmm.sources import Source

MOST_NAMES = 5
"""So many unexpected or missing names are listed."""


def check_columns(
    owner: str, source: Source, n_features: int, fitted_names: Sequence[str] | None
) -> None:
    """Raise DataError unless a source has a fit's columns.

    Warn where only one of them has names, but for files: some kinds have none.
    """
    names = source.columns
    if names is not None and fitted_names is not None:
        if list(names) != list(fitted_names):
            raise DataError(_difference(names, fitted_names))
    elif names is not None and not source.reads_files:
        _warn(f"X has feature names, but {owner} was fitted without feature names")
    elif fitted_names is not None and not source.reads_files:
        _warn(f"X does not have valid feature names, but {owner} was fitted with feature names")
    if source.n_features != n_features:
        raise DataError(
            f"X has {source.n_features} features, but {owner} is expecting {n_features} features "
            "as input."
        )


def _warn(text: str) -> None:
    warnings.warn(text, UserWarning, stacklevel=7)


def _difference(names: Sequence[str], fitted_names: Sequence[str]) -> str:
    unseen = sorted(set(names).difference(fitted_names))
    missing = sorted(set(fitted_names).difference(names))
    message = "The feature names should match those that were passed during fit.\n"
    if unseen:
        message += "Feature names unseen at fit time:\n" + _list(unseen)
    if missing:
        message += "Feature names seen at fit time, yet now missing:\n" + _list(missing)
    if not unseen and not missing:
        message += "Feature names must be in the same order as they were in fit.\n"
    return message


def _list(names: Sequence[str]) -> str:
    more = ["- ...\n"] if len(names) > MOST_NAMES else []
    return "".join([*(f"- {name}\n" for name in names[:MOST_NAMES]), *more])
