"""Why does my sum of Gaussians not match the density?

Somebody fits three Gaussians to one column, draws the three bells, adds them up, and the sum does
not lie on the histogram. The usual reason: bells of height 1, exp(-(x - mean)^2 / (2 variance)),
were weighted and added, and the sum was scaled to an area of 1 in the end. A weight is a share of
the *area*, so every bell has to be divided by its own area, sqrt(2 pi variance), before it is
weighted; nothing is left to scale then. Normalised too late, wide components are lent what narrow
ones should have.
"""

import numpy as np
from matplotlib import pyplot
from showing import Show, run

from fastgmm import GaussianMixture
from fastgmm.plotting import histogram_1d, plot_density_1d


def draws(generator):
    """Return 17,000 values of three overlapping normals, as one column."""
    return np.concatenate(
        [
            generator.normal(-0.5, 0.2, 2000),
            generator.normal(-0.1, 0.07, 5000),
            generator.normal(0.2, 0.13, 10000),
        ]
    )[:, np.newaxis]


def bells(model, x):
    """Return the components' bells of height 1, (points, k)."""
    means, variances = model.means_[:, 0], model.covariances_[:, 0, 0]
    return np.exp(-0.5 * (x[:, np.newaxis] - means) ** 2 / variances)


def main(show: Show) -> None:
    """Compare both sums with the model's density."""
    X = draws(np.random.default_rng(0))
    model = GaussianMixture(3, tol="statistical", max_iter=1000, random_state=0).fit(X)

    x = np.linspace(-2.0, 1.5, 7001)
    density = np.exp(model.score_samples(x[:, np.newaxis]))
    areas = np.sqrt(2 * np.pi * model.covariances_[:, 0, 0])
    right = bells(model, x) / areas @ model.weights_
    wrong = bells(model, x) @ model.weights_
    step = x[1] - x[0]
    wrong /= wrong.sum() * step

    difference = np.max(np.abs(right / density - 1))
    integral = right.sum() * step
    show.claim(
        "the sum of normalised weighted components is exp(score_samples): "
        f"largest relative difference {difference:.1e}, at most 1e-12",
        difference <= 1e-12,
    )
    show.claim(
        f"its integral is 1 to {abs(integral - 1):.1e}, at most 1e-6", abs(integral - 1) <= 1e-6
    )
    narrow = np.argmin(np.abs(x + 0.1))
    share = wrong[narrow] / density[narrow]
    show.claim(
        f"normalised too late, the sum has {share:.0%} of the density at -0.1, where the narrowest "
        "component stands: less than 80 %",
        share < 0.8,
    )

    figure, ax = pyplot.subplots(figsize=(7.5, 4))
    plot_density_1d(model, histogram_1d(X, bins=120), ax)
    ax.plot(x, wrong, color="#D55E00", linewidth=1.8, label="bells normalised after the sum")
    ax.legend(frameon=False, loc="upper left")
    ax.set(xlim=(-1.2, 0.8), title="A weight is a share of the area, not of the height")
    show.picture(figure)


if __name__ == "__main__":
    run(main, __file__, __doc__)
