"""EM by hand, step by step.

Expectation-maximisation repeats two steps. E: how much of each row belongs to each component, if
the parameters were right? r[i, k] = w[k] N(x[i]; mean[k], sd[k]) / sum over k of the same. M: what
are the parameters, if the shares were right? w[k] = mean of r[:, k]; mean[k] = average of x with
weights r[:, k]; sd[k]^2 = average of (x - mean[k])^2 about the *new* mean with the same weights.
``textbook`` below is nothing but these lines, and fastgmm's trace equals it at every iteration.

Tutorials often print another trace, and readers who follow one with a library wonder who is wrong.
``tutorial`` differs in two ways. The widths are taken about the old means: then the M-step is not
the maximum, the likelihood need not rise, but the difference fades as the means come to rest. The
weights are counts of rows by the higher *unweighted* density instead of mean shares: rows in
between are counted as if they were certain, and that changes where the iteration ends.
"""

import warnings

import numpy as np
from matplotlib import pyplot
from showing import Show, run

from fastgmm import GaussianMixture
from fastgmm.exceptions import ConvergenceWarning
from fastgmm.plotting import palette
from fastgmm.progress import ParameterTrace

STEPS = 100
START = np.array([0.5, 0.5]), np.array([0.0, 1.0]), np.array([2.0, 2.0])  # weights, means, sds
TEXTBOOK_END = [[0.504, 0.496], [0.1657, 1.9675], [1.1524, 0.8678]]
TUTORIAL_END = [[0.43, 0.57], [-0.0156, 1.8741], [1.0914, 0.9043]]


def densities(x, means, sds):
    """Return N(x; mean, sd) of each row and component, (n, 2)."""
    return np.exp(-0.5 * ((x[:, None] - means) / sds) ** 2) / (sds * np.sqrt(2 * np.pi))


def textbook(x, weights, means, sds):
    """Do one iteration of EM."""
    joint = weights * densities(x, means, sds)
    shares = joint / joint.sum(axis=1, keepdims=True)
    counts = shares.sum(axis=0)
    means = (shares * x[:, None]).sum(axis=0) / counts
    sds = np.sqrt((shares * (x[:, None] - means) ** 2).sum(axis=0) / counts)
    return counts / len(x), means, sds


def tutorial(x, weights, means, sds):
    """Do the same by a tutorial's rules: widths about old means, weights from hard counts."""
    joint = weights * densities(x, means, sds)
    shares = joint / joint.sum(axis=1, keepdims=True)
    counts = shares.sum(axis=0)
    hard = np.bincount(densities(x, means, sds).argmax(axis=1), minlength=2)
    sds = np.sqrt((shares * (x[:, None] - means) ** 2).sum(axis=0) / counts)
    return hard / len(x), (shares * x[:, None]).sum(axis=0) / counts, sds


def traced(step, x):
    """Return weights, means and deviations after each step, (steps, 3, 2)."""
    state, states = START, []
    for _ in range(STEPS):
        state = step(x, *state)
        states.append(state)
    return np.array(states)


def fastgmm_trace(x):
    """Return the same from fastgmm: its start given, nothing added to variances, no early end."""
    weights, means, sds = START
    trace = ParameterTrace()
    model = GaussianMixture(
        2,
        weights_init=weights,
        means_init=means[:, None],
        precisions_init=1 / sds[:, None, None] ** 2,
        reg_covar=0.0,
        tol=0.0,
        max_iter=STEPS,
    ).set_callbacks(trace)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # tol=0 wants all the steps
        model.fit(x[:, None])
    return np.array(
        [(p.weights, p.means[:, 0], np.sqrt(p.covariances[:, 0, 0])) for p in trace.models[0]]
    )


def draw(ours, theirs):
    """Draw the three kinds of parameters against the iteration, by both rules."""
    figure, axes = pyplot.subplots(1, 3, figsize=(12, 4))
    iterations, colours = np.arange(1, STEPS + 1), palette(2)
    for part, (ax, name) in enumerate(
        zip(axes, ("weights", "means", "standard deviations"), strict=True)
    ):
        for k in range(2):
            ax.semilogx(iterations, ours[:, part, k], color=colours[k], label=f"EM, component {k}")
            ax.semilogx(
                iterations,
                theirs[:, part, k],
                "--",
                color=colours[k],
                label=f"tutorial, component {k}",
            )
        ax.set(title=name, xlabel="iteration")
    figure.legend(
        *axes[0].get_legend_handles_labels(), frameon=False, ncols=4, loc="outside lower center"
    )
    return figure


def main(show: Show) -> None:
    """Compare traces and their ends."""
    np.random.seed(0)
    x = np.concatenate([np.random.normal(0, 1, 50), np.random.normal(2, 1, 50)])
    ours, by_hand, theirs = fastgmm_trace(x), traced(textbook, x), traced(tutorial, x)
    for name, end in (("EM", ours[-1]), ("tutorial", theirs[-1])):
        print(f"  {name} after {STEPS} steps: weights, means, standard deviations")
        print("   ", "; ".join(" ".join(f"{number:.4f}" for number in part) for part in end))
    difference = np.max(np.abs(ours - by_hand))
    show.claim(
        f"fastgmm equals the textbook's EM at each of {STEPS} steps: largest difference "
        f"{difference:.1e}, at most 1e-10",
        difference <= 1e-10,
    )
    show.claim(
        "EM ends at the known parameters", np.allclose(ours[-1], TEXTBOOK_END, rtol=0, atol=5e-4)
    )
    show.claim(
        "the tutorial's rules end at the parameters it prints",
        np.allclose(theirs[-1], TUTORIAL_END, rtol=0, atol=5e-5),
    )
    show.picture(draw(ours, theirs))


if __name__ == "__main__":
    run(main, __file__, __doc__)
