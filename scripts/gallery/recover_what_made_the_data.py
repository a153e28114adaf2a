"""Does the fit recover what made the data?

Rows are drawn from three mixtures that are known, and a fit has to come back to their weights,
means and covariances. How near? As near as chance allows: other rows from the same mixture would
have given slightly other estimates, and how far those scatter is the standard error (SE). Here it
comes from a parametric bootstrap: draw as many rows anew from the fitted model, fit them, do so
many times, and take the standard deviation of every parameter. Each estimate should lie within 3 SE
of the truth. That holds at a tight tolerance only: where components overlap, EM creeps, and one
that stops early may stand many SE short of where it was going.

The second mixture starts from random responsibilities, where all three components are the same
broad bell; the lower pictures show how they part.
"""

import numpy as np
from matplotlib import pyplot
from showing import Show, run

from fastgmm import GaussianMixture
from fastgmm.plotting import histogram_1d, plot_density_1d, plot_density_2d
from fastgmm.progress import ParameterTrace

TIGHT = {"tol": 1e-9, "max_iter": 10_000}
SHARES = (0.0, 0.1, 0.6, 0.999)
OVERLAPPING = (
    np.array([0.5, 0.5]),
    np.array([[0.0, 0.0], [2.0, 0.0]]),
    np.array([[[1.0, 0.7], [0.7, 1.0]], [[0.5, 0.4], [0.4, 0.5]]]),
)
ONE_COLUMN = (
    np.full(3, 1 / 3),
    np.array([[-5.0], [5.0], [0.0]]),
    np.array([[[1.2]], [[1.8]], [[1.6]]]),
)
DIAGONAL = (
    np.full(4, 1 / 4),
    np.array([[c, c] for c in (0.0, 5.0, 10.0, 15.0)]),
    np.array([2.0 * np.eye(2)] * 4),
)


def rows_of(truth, rows_each, seed):
    """Return so many rows of each component of a known mixture."""
    generator = np.random.default_rng(seed)
    _, means, covariances = truth
    return np.vstack(
        [
            generator.multivariate_normal(mean, covariance, rows_each)
            for mean, covariance in zip(means, covariances, strict=True)
        ]
    )


def vector(weights, means, covariances):
    """Return all parameters as one vector."""
    lower = np.tril_indices(means.shape[1])
    return np.concatenate([weights, means.ravel(), covariances[:, *lower].ravel()])


def standard_errors(model, n_samples, repetitions):
    """Return the bootstrap's standard errors, of fits that start where their rows come from."""
    found = model.weights_, model.means_, model.covariances_
    drawing = GaussianMixture.from_parameters(*found)
    estimates = []
    for seed in range(repetitions):
        rows, _ = drawing.set_params(random_state=seed).sample(n_samples)
        refit = GaussianMixture(len(found[0]), init_params=found, tol=1e-7, max_iter=2000).fit(rows)
        estimates.append(vector(refit.weights_, refit.means_, refit.covariances_))
    return np.std(estimates, axis=0)


def compare(show, name, truth, model, n_samples):
    """Claim that a fit is within 3 standard errors of the truth, its components put in order."""
    order = [np.argmin(((model.means_ - mean) ** 2).sum(axis=1)) for mean in truth[1]]
    model = GaussianMixture.from_parameters(
        model.weights_[order], model.means_[order], model.covariances_[order]
    )
    errors = standard_errors(model, n_samples, 20 if show.small else 200)
    found = vector(model.weights_, model.means_, model.covariances_)
    distances = np.abs(found - vector(*truth)) / errors
    show.claim(
        f"{name}: every one of {len(found)} parameters is within 3 SE of the truth, "
        f"the farthest at {distances.max():.2f}",
        distances.max() <= 3,
    )


def draw_steps(model, trace, X, axes):
    """Draw the density over the rows, when shares of all that EM gains have been gained."""
    bounds, histogram = np.array(model.lower_bounds_), histogram_1d(X, bins=40)
    gained = (bounds - bounds[0]) / (bounds[-1] - bounds[0])
    for step, ax in zip(np.searchsorted(gained, SHARES) + 1, axes, strict=True):
        plot_density_1d(GaussianMixture.from_parameters(*trace[step - 1]), histogram, ax)
        ax.get_legend().remove()
        ax.set(title=f"after {step} step{'s' if step > 1 else ''}", ylim=(0, 0.16))
        ax.label_outer()


def main(show: Show) -> None:
    """Fit the three data sets."""
    figure, axes = pyplot.subplot_mosaic(
        [["overlap"] * 2 + ["diagonal"] * 2, [0, 1, 2, 3]], figsize=(12, 7.5), height_ratios=[3, 2]
    )
    for name, truth, rows_each, ax in (
        ("two overlapping clouds", OVERLAPPING, 1000, axes["overlap"]),
        ("four clouds on a diagonal", DIAGONAL, 600, axes["diagonal"]),
    ):
        X = rows_of(truth, rows_each, seed=0)
        model = GaussianMixture(len(truth[0]), n_init=3, random_state=0, **TIGHT).fit(X)
        compare(show, name, truth, model, len(X))
        plot_density_2d(model, (0.25, 0.5, 0.75, 0.95), ax=ax)
        ax.scatter(*X.T, s=2, color="0.2", linewidths=0)
        ax.set_title(f"{name}: 25, 50, 75, 95 % of the density")

    X, trace = rows_of(ONE_COLUMN, 100, seed=0), ParameterTrace()
    model = GaussianMixture(3, init_params="random", random_state=0, **TIGHT)
    model.set_callbacks(trace).fit(X)
    print(f"  one column: {model.n_iter_} steps from a random start")
    compare(show, "three bells in one column", ONE_COLUMN, model, len(X))
    draw_steps(model, trace.models[0], X, [axes[i] for i in range(4)])
    show.picture(figure)


if __name__ == "__main__":
    run(main, __file__, __doc__)
