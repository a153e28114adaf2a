"""The four shapes of covariance: what may a component look like?

"spherical" components are circles, each of its own size; "diag" ones are stretched along the axes;
with "tied" all share one ellipse; with "full" each has its own. Every step up fits the rows at
least as well and costs parameters: with d columns and k components spherical has k variances, diag
k d, tied d (d + 1) / 2, full k d (d + 1) / 2. The Bayesian information criterion (BIC, smaller is
better) says whether they were worth it: here, for two clouds that lie across each other, they are.
"""

import numpy as np
from matplotlib import pyplot
from showing import Show, run
from sklearn.metrics import adjusted_rand_score

from fastgmm import GaussianMixture
from fastgmm.plotting import plot_ellipses, plot_responsibilities

SHAPES = ("spherical", "diag", "tied", "full")


def clouds(generator):
    """Return two elongated clouds of different orientation, and which row is of which."""
    rising, falling = np.array([[2.0, 1.6], [1.6, 1.5]]), np.array([[1.5, -1.3], [-1.3, 1.4]])
    X = np.vstack(
        [
            generator.multivariate_normal([0.0, 0.0], rising, 300),
            generator.multivariate_normal([3.0, 0.5], falling, 300),
        ]
    )
    return X, np.repeat([0, 1], 300)


def main(show: Show) -> None:
    """Fit the four shapes side by side."""
    X, truth = clouds(np.random.default_rng(2))
    figure, axes = pyplot.subplots(1, 4, figsize=(14, 3.6), sharex=True, sharey=True)
    scores, criteria = {}, {}
    print("  shape      log likelihood per row       BIC  adjusted Rand")
    for shape, ax in zip(SHAPES, axes, strict=True):
        model = GaussianMixture(
            2, covariance_type=shape, tol="statistical", max_iter=1000, n_init=5, random_state=0
        ).fit(X)
        scores[shape], criteria[shape] = model.score(X), model.bic(X)
        rand = adjusted_rand_score(truth, model.predict(X))
        print(f"  {shape:<9} {scores[shape]:>23.4f} {criteria[shape]:>9.1f} {rand:>14.2f}")
        plot_responsibilities(X, model.predict_proba(X), ax, size=10)
        plot_ellipses(model, (0.5, 0.9), ax)
        ax.set_title(f"{shape}\nBIC {criteria[shape]:.0f}, adjusted Rand {rand:.2f}")
        ax.label_outer()
        ax.set_aspect("equal")
    nested = [("spherical", "diag"), ("diag", "full"), ("tied", "full")]
    show.claim(
        "no shape fits worse than one that it includes",
        all(scores[inner] <= scores[outer] + 1e-6 for inner, outer in nested),
    )
    show.claim(
        "BIC chooses the shape the rows were drawn from: full",
        min(criteria, key=criteria.get) == "full",
    )
    show.picture(figure)


if __name__ == "__main__":
    run(main, __file__, __doc__)
