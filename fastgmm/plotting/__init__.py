"""Pictures of mixtures: axes in, axes out, drawn from what is already known.

Every function takes the axes to draw on (else those that pyplot is drawing on) and returns them,
so that pictures combine. What is dear to compute is handed in: a histogram, responsibilities, the
table of a sweep. matplotlib (``pip install "fastgmm[plot]"``) is imported by the first picture.
"""

from fastgmm.plotting.course import plot_convergence
from fastgmm.plotting.criteria import plot_criteria, plot_cross_validation
from fastgmm.plotting.one_column import (
    Histogram,
    component_densities,
    histogram_1d,
    plot_density_1d,
)
from fastgmm.plotting.style import palette
from fastgmm.plotting.two_columns import (
    plot_density_2d,
    plot_ellipses,
    plot_responsibilities,
)

__all__ = [
    "Histogram",
    "component_densities",
    "histogram_1d",
    "palette",
    "plot_convergence",
    "plot_criteria",
    "plot_cross_validation",
    "plot_density_1d",
    "plot_density_2d",
    "plot_ellipses",
    "plot_responsibilities",
]
