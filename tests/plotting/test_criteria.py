"""The picture of a sweep marks the best sound candidate of each criterion."""

from dataclasses import dataclass

import pytest
from matplotlib.figure import Figure

from fastgmm.exceptions import DataError
from fastgmm.plotting import plot_criteria, plot_cross_validation


@dataclass
class Candidate:
    n_components: int
    covariance_type: str
    aic: float
    bic: float
    degenerate: bool = False
    cv: float | None = None
    cv_spread: float | None = None


def ringed(ax):
    labels = [text.get_text() for text in ax.get_legend().texts]
    return [label for label in labels if label.startswith("lowest")]


def test_the_lowest_sound_candidates_are_named():
    table = [
        Candidate(3, "full", aic=6.0, bic=9.0),
        Candidate(1, "full", aic=9.0, bic=7.5),
        Candidate(2, "full", aic=7.0, bic=7.0),
        Candidate(4, "full", aic=1.0, bic=1.0, degenerate=True),
    ]
    ax = plot_criteria(table, ("aic", "bic"), Figure().subplots())
    assert ringed(ax) == ["lowest AIC: 3", "lowest BIC: 2"]
    aic, bic, crosses, *_ = ax.lines
    assert aic.get_xdata().tolist() == [1, 2, 3, 4]
    assert bic.get_ydata().tolist() == [7.5, 7.0, 9.0, 1.0]
    assert crosses.get_xdata().tolist() == [4]


def test_what_failed_is_left_out():
    nan = float("nan")
    table = [Candidate(1, "full", nan, nan), Candidate(2, "full", 3.0, 4.0)]
    assert ringed(plot_criteria(table, ["bic"], Figure().subplots())) == ["lowest BIC: 2"]


def test_a_cross_validation_is_drawn_with_the_spread_of_its_folds():
    nan = float("nan")
    table = [
        Candidate(2, "full", 0.0, 0.0, cv=-2.0, cv_spread=0.5),
        Candidate(1, "full", 0.0, 0.0, cv=-3.0, cv_spread=0.25),
        Candidate(3, "full", 0.0, 0.0, cv=-1.0, cv_spread=0.1, degenerate=True),
        Candidate(4, "full", 0.0, 0.0, cv=nan, cv_spread=nan),
    ]
    ax = plot_cross_validation(table, Figure().subplots())
    (bars,) = ax.containers
    curve, _, (up_and_down,) = bars
    assert curve.get_xdata().tolist() == [1, 2, 3, 4]
    ends = [segment[:, 1].tolist() for segment in up_and_down.get_segments()[:3]]
    assert ends == [[-3.25, -2.75], [-2.5, -1.5], [-1.1, -0.9]]
    assert "highest: 2" in [text.get_text() for text in ax.get_legend().texts]
    with pytest.raises(DataError, match="select with criterion='cv'"):
        plot_cross_validation([Candidate(1, "full", 1.0, 1.0)], Figure().subplots())
    with pytest.raises(DataError, match="nothing to draw without a candidate"):
        plot_cross_validation([], Figure().subplots())


def test_shapes_have_lines_of_their_own():
    table = [
        Candidate(k, shape, aic=k + bonus, bic=0.0)
        for shape, bonus in (("full", 0.0), ("diag", -0.5))
        for k in (1, 2)
    ]
    ax = plot_criteria(table, ["aic"], Figure().subplots())
    labels = [text.get_text() for text in ax.get_legend().texts]
    assert labels[:2] == ["AIC, full", "AIC, diag"]
    assert ax.lines[0].get_linestyle() != ax.lines[1].get_linestyle()
    assert ringed(ax) == ["lowest AIC: 1 (diag)"]


def test_nothing_is_ringed_where_all_are_degenerate():
    table = [Candidate(2, "full", 1.0, 1.0, degenerate=True)]
    assert ringed(plot_criteria(table, ["bic"], Figure().subplots())) == []


def test_without_candidates_or_criteria_there_is_nothing_to_draw():
    axes = Figure().subplots()
    with pytest.raises(DataError, match="nothing to draw without a candidate"):
        plot_criteria([], ax=axes)
    with pytest.raises(DataError, match="nothing to draw without a criterion"):
        plot_criteria([Candidate(2, "full", 1.0, 1.0)], (), axes)
    assert not axes.lines
