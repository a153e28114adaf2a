"""Fit a curve, or a histogram: what EM can do for them, and what it cannot.

A histogram is rows: so many of them in each bin. Bin centres with counts as ``sample_weight`` are
fitted like the values themselves, but for one thing: a value is anywhere in its bin, not at its
centre, so bins of width h add h^2 / 12 to a variance (Sheppard 1898). Take it off.

A curve y(x) is no histogram, although weighted EM takes it for one without complaint. EM describes
where *mass* lies: a baseline is mass as well, so the bells grow wide to hold it; x that lie closer
together count more often; noise below zero is not allowed. Heights, centres and widths of bumps on
a baseline are found by least squares. What EM gives is the start that least squares needs: with
the baseline off and weights y dx it is near enough for ``curve_fit`` to do the rest, which from its
own default start goes astray.
"""

import warnings

import numpy as np
from matplotlib import pyplot
from scipy.optimize import OptimizeWarning, curve_fit
from showing import Show, run

from fastgmm import GaussianMixture
from fastgmm.plotting import Histogram, plot_density_1d

SETTINGS = {"tol": "statistical", "max_iter": 5000, "random_state": 0}
CENTRES, WIDTHS = np.array([10.0, 14.0]), np.array([0.6, 1.0])
BUMPS = np.array([0.5, 3.0, 2.0, 0.5, 1.5, 5.0, 0.9, 0.8, 8.0, 0.4])
"""A baseline, then height, centre and width of each bump."""


def fit_histogram(show, ax):
    """Fit bin counts and correct the widths."""
    generator = np.random.default_rng(0)
    values = np.concatenate(
        [generator.normal(c, w, 20_000) for c, w in zip(CENTRES, WIDTHS, strict=True)]
    )
    h = 0.8
    edges = np.arange(6.0, 20.0, h)
    counts, _ = np.histogram(values, edges)
    middles = 0.5 * (edges[1:] + edges[:-1])
    model = GaussianMixture(2, **SETTINGS).fit(middles[:, np.newaxis], sample_weight=counts)

    order = np.argsort(model.means_[:, 0])
    centres, variances = model.means_[order, 0], model.covariances_[order, 0, 0]
    raw, corrected = np.sqrt(variances), np.sqrt(variances - h**2 / 12)
    print(f"  histogram, bins of {h}: centres {centres.round(3)}, truth {CENTRES}")
    print(f"  widths {raw.round(3)}, less h^2 / 12: {corrected.round(3)}, truth {WIDTHS}")
    show.claim("centres are right to 0.02", np.max(np.abs(centres - CENTRES)) <= 0.02)
    show.claim("corrected widths are right to 2 %", np.max(np.abs(corrected / WIDTHS - 1)) <= 0.02)
    show.claim("uncorrected, the narrow one is 5 % too wide", raw[0] / WIDTHS[0] >= 1.05)

    plot_density_1d(model, Histogram(edges, counts / (counts.sum() * h)), ax)
    ax.set_title(f"bin counts as weights: variances less {h}² / 12 are right")


def curve(x, baseline, *bumps):
    """Return a sum of Gaussian bumps on a baseline."""
    heights, centres, widths = np.reshape(bumps, (-1, 3)).T
    return baseline + np.exp(-0.5 * ((x[:, np.newaxis] - centres) / widths) ** 2) @ heights


def start_of(x, weights, baseline):
    """Return the curve's parameters that weighted EM finds; an area makes heights of weights."""
    counted = weights / weights.mean()  # points are the observations that tol="statistical" counts
    mixture = GaussianMixture(3, n_init=5, **SETTINGS).fit(x[:, np.newaxis], sample_weight=counted)
    centres, widths = mixture.means_[:, 0], np.sqrt(mixture.covariances_[:, 0, 0])
    heights = mixture.weights_ * weights.sum() / (np.sqrt(2 * np.pi) * widths)
    order = np.argsort(centres)
    return np.r_[baseline, np.stack([heights, centres, widths], axis=1)[order].ravel()]


def fit_curve(show, ax):
    """Fit bumps on a baseline: by weighted EM alone, by least squares, by one after the other."""
    generator = np.random.default_rng(1)
    x = np.sort(np.concatenate([generator.uniform(0, 10, 150), generator.uniform(2, 4, 150)]))
    y = curve(x, *BUMPS) + generator.normal(0, 0.05, len(x))
    spacing = np.gradient(x)

    alone = start_of(x, y.clip(0) * spacing, 0.0)
    floor = np.quantile(y, 0.05)
    start = start_of(x, (y - floor).clip(0) * spacing, floor)
    found, covariance = curve_fit(curve, x, y, start)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", OptimizeWarning)
        astray, _ = curve_fit(curve, x, y, np.ones_like(BUMPS), maxfev=20_000)

    def misfit(parameters):
        return np.sqrt(np.mean((curve(x, *parameters) - y) ** 2))

    print("  curve, root mean square misfit (the noise has 0.05):")
    for name, parameters in (
        ("weighted EM alone", alone),
        ("EM without the baseline, the start", start),
        ("least squares from there", found),
        ("least squares from its default start", astray),
    ):
        print(f"    {name:<37} {misfit(parameters):.3f}")
    distances = np.abs(found - BUMPS) / np.sqrt(np.diag(covariance))
    show.claim(
        "least squares from the mixture's fit recovers heights, centres and widths: the farthest "
        f"is {distances.max():.1f} SE off, at most 3",
        distances.max() <= 3,
    )
    show.claim("weighted EM alone is no least squares", misfit(alone) > 2 * misfit(found))
    show.claim("nor are least squares without a start", misfit(astray) > 2 * misfit(found))

    fine = np.linspace(0, 10, 1000)
    ax.plot(x, y, ".", color="0.6", markersize=4, label="measured")
    ax.plot(fine, curve(fine, *alone), color="#D55E00", label="weighted EM alone")
    ax.plot(fine, curve(fine, *found), color="black", label="least squares, started by EM")
    ax.set(title="a curve: EM gives the start only", xlabel="x", ylabel="y", ylim=(0, 4))
    ax.legend(frameon=False)


def main(show: Show) -> None:
    """Fit both."""
    figure, (left, right) = pyplot.subplots(1, 2, figsize=(12, 4.2))
    fit_histogram(show, left)
    fit_curve(show, right)
    show.picture(figure)


if __name__ == "__main__":
    run(main, __file__, __doc__)
