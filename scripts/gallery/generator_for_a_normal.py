"""Learn a generator for N(3, 1): how many rows until nobody can tell the copy from the original?

A mixture is fitted to draws of N(3, 1), without being told that one component is enough: the number
is chosen by BIC. It then generates 10,000 values, and a Kolmogorov-Smirnov test asks whether they
come from N(3, 1). At the 5 % level even perfect values are rejected in 5 of 100 repetitions.

2,000 rows are too few, whatever the method: they leave an error of 1 / sqrt(2000) = 0.022 in the
mean, and 10,000 generated values are sharp enough to see 0.01. From 200,000 rows the error is
0.002, and the test finds nothing.
"""

import numpy as np
from matplotlib import pyplot
from scipy.stats import kstest, norm
from showing import Show, run

from fastgmm import select
from fastgmm.plotting import Histogram

GENERATED = 10_000


def repetitions(n_samples, n_repetitions):
    """Return the p-values, the chosen numbers of components, and the last values generated."""
    p_values, chosen = [], []
    for seed in range(n_repetitions):
        X = np.random.default_rng(seed).normal(3.0, 1.0, (n_samples, 1))
        best = select(X, range(1, 4), "full", criterion="bic", n_init=1, random_state=seed).best
        values, _ = best.sample(GENERATED)
        p_values.append(kstest(values[:, 0], norm(3.0, 1.0).cdf).pvalue)
        chosen.append(best.n_components)
    return np.array(p_values), np.bincount(chosen)[1:], values[:, 0]


def main(show: Show) -> None:
    """Train on few and on many rows, again and again."""
    n_repetitions, many = (10, 20_000) if show.small else (100, 200_000)
    figure, (left, right) = pyplot.subplots(1, 2, figsize=(11, 4))
    for n_samples, colour in ((2000, "#E69F00"), (many, "#0072B2")):
        p_values, chosen, values = repetitions(n_samples, n_repetitions)
        passed = np.mean(p_values > 0.05)
        sizes = ", ".join(f"{n} times K={k}" for k, n in enumerate(chosen, 1))
        print(f"  trained on {n_samples:,} rows: BIC chose {sizes}; {passed:.0%} pass")
        right.plot(
            np.sort(p_values),
            (np.arange(n_repetitions) + 1) / n_repetitions,
            drawstyle="steps-post",
            color=colour,
            label=f"trained on {n_samples:,} rows: {passed:.0%} pass",
        )
    wanted = 0.7 if show.small else 0.9
    show.claim(
        f"of {n_repetitions} repetitions trained on {many:,} rows at least {wanted:.0%} pass",
        passed >= wanted,
    )

    x = np.linspace(-1, 7, 400)
    counts, edges = np.histogram(values, 80)
    histogram = Histogram(edges, counts / (counts.sum() * np.diff(edges)))
    left.stairs(*histogram[::-1], fill=True, color="0.8", label="10,000 generated values")
    left.plot(x, norm(3.0, 1.0).pdf(x), color="black", label="N(3, 1)")
    left.set(xlabel="x", ylabel="density", ylim=(0, 0.5), title="what the last generator draws")
    left.legend(frameon=False, loc="upper right")
    right.axvline(0.05, color="0.5", linestyle=":", label="5 % level")
    right.plot([0, 1], [0, 1], "--", color="0.5", label="p-values of perfect values")
    right.set(
        xlabel="p-value",
        ylabel="share of repetitions at or below",
        title="Kolmogorov-Smirnov tests against N(3, 1)",
    )
    right.legend(frameon=False, loc="lower right")
    show.picture(figure)


if __name__ == "__main__":
    run(main, __file__, __doc__)
