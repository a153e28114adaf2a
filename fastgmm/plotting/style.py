"""Colours that colour-blind readers tell apart, names of axes, and axes to draw on."""

from typing import TYPE_CHECKING

import numpy as np

from fastgmm._typing import Float64Array
from fastgmm.covariance import FAMILIES
from fastgmm.exceptions import DataError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from fastgmm.estimators.mixtures.mixture import Mixture

DISTINCT = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9")
"""Okabe and Ito's colours (2008) but for black, which is the mixture's, and yellow, which is too
pale for a line on white."""

NAMED_COMPONENTS = 6
"""Components that a legend lists one by one; more would bury the picture."""


def palette(n_components: int) -> Float64Array:
    """Return a colour for each of k components, (k, 3) red, green and blue in [0, 1].

    Up to six are colours of their own; more are steps from dark blue to yellow-green (viridis),
    where neighbours are alike.

    Examples
    --------
    >>> palette(2).round(2)
    array([[0.  , 0.45, 0.7 ],
           [0.9 , 0.62, 0.  ]])
    """
    if n_components <= len(DISTINCT):
        digits = [bytes.fromhex(colour[1:]) for colour in DISTINCT[:n_components]]
        return np.array([list(colour) for colour in digits], dtype=np.float64).reshape(-1, 3) / 255
    from matplotlib import colormaps

    steps = colormaps["viridis"](np.linspace(0.0, 0.9, n_components))
    return np.asarray(steps[:, :3], dtype=np.float64)


def current_axes(ax: "Axes | None") -> "Axes":
    """Return ``ax``, or the axes that pyplot is drawing on."""
    if ax is not None:
        return ax
    from matplotlib import pyplot

    return pyplot.gca()


def column_names(model: "Mixture") -> list[str]:
    """Return what the axes of a model's columns are called: as the data's columns, or x0, x1."""
    names = getattr(model, "feature_names_in_", None)
    if names is not None:
        return [str(name) for name in names]
    d = model.n_features_in_
    return ["x"] if d == 1 else [f"x{j}" for j in range(d)]


def dense_covariances(model: "Mixture") -> Float64Array:
    """Return the covariances as matrices (k, d, d) in float64, whatever their shape."""
    covariances = np.asarray(model.covariances_, dtype=np.float64)
    return FAMILIES[model.covariance_type].dense(covariances, *model.means_.shape)


def check_n_features(model: "Mixture", wanted: int) -> None:
    """Raise DataError unless a model has as many features as a picture has axes."""
    model._check_is_fitted()
    if model.n_features_in_ != wanted:
        axes, columns = ("one axis", "[0]") if wanted == 1 else ("two axes", "[0, 1]")
        raise DataError(
            f"the model has {model.n_features_in_} features, the picture has {axes}: draw the "
            f"mixture of {wanted} of its columns, as model.marginal({columns})"
        )
