"""The course of a fit is what its history tells, start by start."""

import numpy as np
import pytest
from matplotlib.figure import Figure
from problems import blobs, fit

from fastgmm import GaussianMixture
from fastgmm.exceptions import DataError, NotFittedError
from fastgmm.plotting import plot_convergence


def test_every_start_is_a_line_and_the_kept_one_comes_last(tmp_path):
    X, _ = blobs(300, 2, 3)
    model = fit(X, n_components=3, n_init=4, init_params="random", random_state=0)
    ax = plot_convergence(model, Figure().subplots())
    *others, kept = ax.lines
    assert len(others) == 3
    np.testing.assert_array_equal(kept.get_ydata(), model.lower_bounds_)
    drawn = sorted(tuple(line.get_ydata()) for line in ax.lines)
    told = [
        tuple(line.lower_bound for line in model.history_ if line.start == start)
        for start in range(4)
    ]
    assert drawn == sorted(told)
    labels = [text.get_text() for text in ax.get_legend().texts]
    assert labels == ["3 other starts", f"kept: {kept.get_ydata()[-1]:.6g}"]

    model.save(tmp_path / "model.npz")  # the file has the best start's bounds only
    loaded = GaussianMixture.load(tmp_path / "model.npz")
    assert len(plot_convergence(loaded, Figure().subplots()).lines) == 1


def test_a_model_without_iterations_is_refused():
    known = GaussianMixture.from_parameters([1.0], [[0.0]], [[[1.0]]])
    with pytest.raises(DataError, match="has made no iteration"):
        plot_convergence(known, Figure().subplots())
    with pytest.raises(NotFittedError):
        plot_convergence(GaussianMixture(2), Figure().subplots())
