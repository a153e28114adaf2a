"""k-means or a mixture?

k-means draws a hard line half-way between two centres: its clusters are circles of one size, and a
row on the border belongs as surely as one in the middle. A mixture says how sure it is (here the
size of a point) and gives every cluster an ellipse of its own. On round blobs both find the same.
Stretch the same rows by a matrix and k-means cuts through them, because the nearest centre is no
longer the likeliest; the mixture with covariance_type="full" does not mind, its ellipses are
stretched along with the rows.
"""

import numpy as np
from matplotlib import pyplot
from matplotlib.patches import Circle
from showing import Show, run
from sklearn.cluster import KMeans
from sklearn.datasets import make_blobs
from sklearn.metrics import adjusted_rand_score

from fastgmm import GaussianMixture
from fastgmm.plotting import palette, plot_ellipses, plot_responsibilities

STRETCH = np.array([[0.6, -0.6], [-0.3, 0.8]])


def draw_circles(X, kmeans, ax):
    """Draw rows in their hard colours and k-means' clusters as what they are: circles."""
    ax.scatter(*X.T, color=palette(4)[kmeans.labels_], s=12)
    for k, centre in enumerate(kmeans.cluster_centers_):
        radius = np.linalg.norm(X[kmeans.labels_ == k] - centre, axis=1).max()
        ax.add_patch(Circle(centre, radius, fc="none", ec=palette(4)[k], linewidth=1.2))


def main(show: Show) -> None:
    """Fit both to round and to stretched blobs."""
    round_blobs, truth = make_blobs(n_samples=400, centers=4, cluster_std=0.6, random_state=0)
    figure, axes = pyplot.subplots(2, 2, figsize=(9, 8))
    found = {}
    for row, (name, X) in zip(
        axes, {"round": round_blobs, "stretched": round_blobs @ STRETCH}.items(), strict=True
    ):
        kmeans = KMeans(4, n_init=10, random_state=0).fit(X)
        model = GaussianMixture(4, n_init=10, random_state=0).fit(X)
        found[name] = [
            adjusted_rand_score(truth, labels) for labels in (kmeans.labels_, model.predict(X))
        ]
        draw_circles(X, kmeans, row[0])
        row[0].set_title(f"k-means, {name} blobs: adjusted Rand {found[name][0]:.2f}")
        plot_ellipses(model, (0.9,), row[1])
        plot_responsibilities(X, model.predict_proba(X), row[1], size=18)
        row[1].set_title(f"mixture, {name} blobs: adjusted Rand {found[name][1]:.2f}")
        row[1].set(xlabel="", ylabel="")
        for ax in row:
            ax.set_aspect("equal", adjustable="datalim")

    print("  adjusted Rand index   k-means  mixture")
    for name, (kmeans_index, mixture_index) in found.items():
        print(f"  {name:<20} {kmeans_index:>8.3f} {mixture_index:>8.3f}")
    show.claim(
        "full covariances recover the stretched blobs: >= 0.95", found["stretched"][1] >= 0.95
    )
    show.claim("k-means does not: < 0.95", found["stretched"][0] < 0.95)
    figure.suptitle("Point size: how sure the mixture is. Ellipses: 90 % of a component")
    show.picture(figure)


if __name__ == "__main__":
    run(main, __file__, __doc__)
