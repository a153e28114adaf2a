"""A fitted mixture as the base distribution of a larger model, in SciPy and in PyTorch.

A mixture is three arrays, and every library that knows the normal distribution takes them. SciPy:
log p(x) = logsumexp over k of log w[k] + multivariate_normal(mean[k], covariance[k]).logpdf(x).
PyTorch: MixtureSameFamily(Categorical(w), MultivariateNormal(means, covariances)), through which
gradients flow. (Other shapes than "full" are turned into matrices first: variances v into
numpy.diag(v), a tied matrix into k copies.)

The larger model here bends the plane: y = (x0, x1 + x0^2). Its density is the mixture's at the
point that was bent to y, times the Jacobian determinant of the way back, which is 1 for this bend.
"""

from importlib.util import find_spec

import numpy as np
from matplotlib import pyplot
from scipy.special import logsumexp
from scipy.stats import multivariate_normal
from showing import Show, run

from fastgmm import GaussianMixture
from fastgmm.plotting import plot_density_2d


def scipy_log_density(model, x):
    """Return the log density of rows, by SciPy."""
    parts = [
        np.log(weight) + multivariate_normal(mean, covariance).logpdf(x)
        for weight, mean, covariance in zip(
            model.weights_, model.means_, model.covariances_, strict=True
        )
    ]
    return logsumexp(parts, axis=0)


def torch_distribution(model):
    """Return the mixture as a distribution of PyTorch, in float64."""
    import torch
    from torch.distributions import Categorical, MixtureSameFamily, MultivariateNormal

    weights, means, covariances = (
        torch.from_numpy(part) for part in (model.weights_, model.means_, model.covariances_)
    )
    return MixtureSameFamily(Categorical(weights), MultivariateNormal(means, covariances))


def unbend(y):
    """Return the rows that are bent to y."""
    return np.stack([y[:, 0], y[:, 1] - y[:, 0] ** 2], axis=1)


def check_torch(show, model, X):
    """Compare PyTorch's log densities and gradients with the mixture's."""
    if find_spec("torch") is None:
        print("  PyTorch is not installed, so its half was not run: pip install torch")
        return
    import torch

    rows = torch.from_numpy(X).requires_grad_()
    log_density = torch_distribution(model).log_prob(rows)
    error = np.max(np.abs(log_density.detach().numpy() - model.score_samples(X)))
    show.claim(f"PyTorch's log densities agree to {error:.1e}, at most 1e-10", error <= 1e-10)
    log_density.sum().backward()
    shift = np.array([1e-5, 0.0])
    slope = (model.score_samples(X + shift) - model.score_samples(X - shift)) / 2e-5
    error = np.max(np.abs(rows.grad.numpy()[:, 0] - slope))
    show.claim(f"gradients flow: off from differences by {error:.1e}, at most 1e-5", error <= 1e-5)


def main(show: Show) -> None:
    """Fit, hand over, bend."""
    generator = np.random.default_rng(0)
    X = np.vstack(
        [
            generator.multivariate_normal([-1.0, 0.0], [[0.3, 0.1], [0.1, 0.2]], 1000),
            generator.multivariate_normal([1.2, -0.5], [[0.2, -0.1], [-0.1, 0.4]], 2000),
        ]
    )
    model = GaussianMixture(2, random_state=0).fit(X)

    error = np.max(np.abs(scipy_log_density(model, X) - model.score_samples(X)))
    show.claim(f"SciPy's log densities agree to {error:.1e}, at most 1e-10", error <= 1e-10)
    check_torch(show, model, X)

    x, y = np.linspace(-4.5, 4.5, 901), np.linspace(-4.0, 14.0, 901)
    grid = np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)
    bent = np.exp(scipy_log_density(model, unbend(grid))).reshape(901, 901)
    mass = bent.sum() * (x[1] - x[0]) * (y[1] - y[0])
    show.claim(f"the bent density integrates to {mass:.8f}: 1 to 1e-6", abs(mass - 1) <= 1e-6)

    figure, (left, right) = pyplot.subplots(1, 2, figsize=(10, 4.2))
    plot_density_2d(model, (0.5, 0.95), (-3.5, 3.5, -3.5, 2.5), left)
    left.scatter(*X[::5].T, s=4, color="0.35")
    left.set_title("the base: a mixture, and every fifth row")
    right.contourf(x, y, bent, bent.max() * np.linspace(0.02, 1.001, 10), cmap="Blues")
    drawn = model.set_params(random_state=1).sample(600)[0]
    right.scatter(drawn[:, 0], drawn[:, 1] + drawn[:, 0] ** 2, s=4, color="#D55E00")
    right.set(xlim=(-3.5, 3.5), ylim=(-2.0, 6.5), xlabel="y0", ylabel="y1")
    right.set_title("bent: its density, and 600 rows drawn and bent")
    show.picture(figure)


if __name__ == "__main__":
    run(main, __file__, __doc__)
