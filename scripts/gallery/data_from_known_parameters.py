"""Make data from parameters that you know.

A mixture need not be fitted: ``from_parameters`` makes a model of weights, means and covariances
that are given by hand, and the model does all that a fitted one does. It draws rows, says how
dense they lie and which component they come from, and is saved and loaded. Good for simulations,
for testing a method on data whose truth is known, and for models that somebody else has fitted.
Here a tight cloud of 100 rows at [0, 0] stands beside a wide one of 300 at [30, 30].
"""

import numpy as np
from matplotlib import pyplot
from scipy.special import logsumexp
from scipy.stats import multivariate_normal
from showing import Show, run

from fastgmm import GaussianMixture
from fastgmm.plotting import plot_density_2d, plot_responsibilities

WEIGHTS = np.array([100, 300]) / 400
MEANS = np.array([[0.0, 0.0], [30.0, 30.0]])
COVARIANCES = np.array([np.eye(2), 50.0 * np.eye(2)])


def main(show: Show) -> None:
    """Draw, weigh, label, save and load without a fit."""
    model = GaussianMixture.from_parameters(WEIGHTS, MEANS, COVARIANCES)
    model.set_params(random_state=0)
    X, components = model.sample(400)
    print(f"  drawn: {np.bincount(components)} rows of the two components")

    joint = np.log(WEIGHTS) + np.stack(
        [multivariate_normal(*p).logpdf(X) for p in zip(MEANS, COVARIANCES, strict=True)], axis=1
    )
    density = logsumexp(joint, axis=1)
    error = np.max(np.abs(model.score_samples(X) - density))
    show.claim(f"log densities are SciPy's to {error:.1e}, at most 1e-12", error <= 1e-12)
    posterior = np.exp(joint - density[:, np.newaxis])
    error = np.max(np.abs(model.predict_proba(X) - posterior))
    show.claim(f"posteriors are Bayes' to {error:.1e}, at most 1e-12", error <= 1e-12)
    agreement = np.mean(model.predict(X) == components)
    show.claim(f"{agreement:.1%} of the rows are traced to their component", agreement > 0.99)

    file = show.folder / "known-parameters.npz"
    model.save(file)
    loaded = GaussianMixture.load(file)
    show.claim(
        "the saved model has the same bits and draws the same rows",
        np.array_equal(loaded.score_samples(X), model.score_samples(X))
        and np.array_equal(loaded.sample(400)[0], X),
    )
    many, _ = model.sample(100_000)
    spread = np.cov(many.T, bias=True)
    mean = WEIGHTS @ MEANS
    expected = np.einsum("k,kij->ij", WEIGHTS, COVARIANCES) + np.cov(
        MEANS.T, aweights=WEIGHTS, bias=True
    )
    errors = np.sqrt(np.diag(expected) / len(many))
    farthest = np.max(np.abs(many.mean(axis=0) - mean) / errors)
    show.claim(
        f"the mean of 100,000 drawn rows is {farthest:.1f} standard errors off, at most 3",
        farthest <= 3,
    )
    off = np.max(np.abs(spread / expected - 1))
    show.claim(f"their covariance is off by {off:.1%}, at most 2 %", off <= 0.02)

    figure, ax = pyplot.subplots(figsize=(6, 5.4))
    plot_density_2d(model, (0.5, 0.95), ax=ax)
    plot_responsibilities(X, model.predict_proba(X), ax, size=12)
    ax.set_aspect("equal")
    ax.set_title("400 rows drawn; 50 % and 95 % of the density lie within the lines")
    show.picture(figure)


if __name__ == "__main__":
    run(main, __file__, __doc__)
