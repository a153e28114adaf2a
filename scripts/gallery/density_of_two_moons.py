"""The density of something that is not Gaussian: two moons.

A mixture need not mean clusters. Two components are a poor account of two crescents, which are no
ellipses; sixteen small ones follow them like beads on a string. None of the sixteen means anything
alone, but their sum is a density: it can be drawn, compared on new rows, and drawn from. This is a
generative model: 400 points that nobody has measured and that look like the 200 that were.

With 12 rows a bead, likelihood alone would flatten some to splinters; reg_covar=1e-3 adds a
variance of 0.03 squared, a little under that of the noise.
"""

import numpy as np
from matplotlib import pyplot
from showing import Show, run
from sklearn.datasets import make_moons

from fastgmm import GaussianMixture
from fastgmm.plotting import plot_density_2d, plot_ellipses

NOISE = 0.05


def distances(points, others):
    """Return how far each point is from the nearest of others."""
    return np.linalg.norm(points[:, np.newaxis] - others, axis=2).min(axis=1)


def main(show: Show) -> None:
    """Fit 2 and 16 components, draw from both, and measure the distance to the moons."""
    X, _ = make_moons(200, noise=NOISE, random_state=0)
    new, _ = make_moons(2000, noise=NOISE, random_state=1)
    moons, _ = make_moons(1000)  # the crescents themselves
    figure, axes = pyplot.subplots(2, 2, figsize=(10, 6.5), sharex=True, sharey=True)
    near, covered, fresh = {}, {}, {}
    for k, row in zip((2, 16), axes, strict=True):
        model = GaussianMixture(k, reg_covar=1e-3, n_init=10, random_state=0).fit(X)
        drawn, _ = model.sample(400)
        near[k] = np.mean(distances(drawn, moons) < 3 * NOISE)
        covered[k] = np.mean(distances(moons, drawn) < 3 * NOISE)
        fresh[k] = model.score(new)
        print(
            f"  K={k:<2}: {near[k]:.1%} of 400 drawn points lie within 3 deviations of a moon, "
            f"{covered[k]:.1%} of the moons near a drawn point; "
            f"mean log density of 2,000 new rows {fresh[k]:.3f}"
        )
        row[0].scatter(*X.T, s=8, color="0.4")
        plot_ellipses(model, (0.9,), row[0])
        row[0].set_title(f"200 rows and {k} components (90 % ellipses)")
        plot_density_2d(model, (0.5, 0.9), (-1.6, 2.6, -1.1, 1.6), row[1])
        row[1].scatter(*drawn.T, s=8, color="#D55E00")
        row[1].set_title("400 points drawn; 50 % and 90 % of the density")
        for ax in row:
            ax.label_outer()
            ax.set_aspect("equal")
    show.claim("16 components: >= 90 % of what is drawn lies on the moons", near[16] >= 0.9)
    show.claim("16 components: >= 90 % of the moons is covered", covered[16] >= 0.9)
    show.claim("2 components draw beside them: < 75 %", near[2] < 0.75)
    show.claim("new rows are likelier under 16 components", fresh[16] > fresh[2] + 0.3)
    show.picture(figure)


if __name__ == "__main__":
    run(main, __file__, __doc__)
