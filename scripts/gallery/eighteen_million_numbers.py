"""Eighteen million numbers, one column: when has EM arrived?

17,991,402 values lie in a file, drawn from two normals that are two deviations apart, a quarter
from the one and three quarters from the other. So many rows know the weights to 0.001; but the two
bells make a single hump, and EM creeps towards the best fit in more than a thousand tiny steps.
scikit-learn's default stops as soon as a step gains less than 0.001 nats *per row*. Of so many rows
together that is 18,000 nats, enough to tell one model from another with any certainty: it stops
after a few steps, more than a hundred standard errors (SE) from the truth. ``tol="statistical"``
asks instead what is left to gain in *all* rows, and stops when that is less than 0.01 nats: what
remains between the fit and the truth is chance.

The file is mapped, not loaded: fastgmm reads it block by block in each step, from the page cache as
long as it stays there, and allocates some megabytes whatever its size. The table tells seconds,
steps, megabytes allocated and how far the farthest parameter is from the truth.
"""

import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from large_data import MemoryWatch
from matplotlib import pyplot
from showing import Show, run
from sklearn.mixture import GaussianMixture as ScikitLearns

from fastgmm import GaussianMixture
from fastgmm.cli.truths import Truth, match, parameter_vector, standard_errors, write_npy
from fastgmm.plotting import histogram_1d, plot_density_1d
from fastgmm.progress import ParameterTrace

TRUTH = Truth(np.array([0.25, 0.75]), np.array([[0.0], [2.0]]), np.array([[[1.0]], [[1.0]]]))
NAMES = ("weight 0", "weight 1", "mean 0", "mean 1", "variance 0", "variance 1")
HIDDEN = "weight 1"
"""As far from the truth as weight 0."""


def distances(weights, means, covariances, errors):
    """Return how far each parameter is from the truth, in standard errors."""
    order = match(TRUTH, means)
    found = Truth(weights[order], means[order], covariances[order])
    return (parameter_vector(found) - parameter_vector(TRUTH)) / errors


def timed(name, model, X, errors):
    """Fit; print seconds, memory and distances; return the distances and the memory."""
    with MemoryWatch() as watch:
        began = time.perf_counter()
        model.fit(X)
        seconds = time.perf_counter() - began
    found = distances(model.weights_, model.means_, model.covariances_, errors)
    print(
        f"  {name:<28}{seconds:>7.1f} s {model.n_iter_:>5} steps {watch.growth / 2**20:>6,.0f} MB "
        f"{np.abs(found).max():>7.1f} SE",
        flush=True,
    )
    return np.abs(found), watch.growth


def one_dal(X, errors):
    """Let oneDAL fit to scikit-learn's tolerance, from the truth's means, where it is installed."""
    try:
        import daal4py  # noqa: F401
    except ImportError:
        print("  oneDAL is not installed (pip install scikit-learn-intelex): left out")
        return
    sys.path.append(str(Path(__file__).parents[1]))
    from peers import OneDal

    with MemoryWatch() as watch:
        began = time.perf_counter()
        start = np.array([[-1.0], [3.0]]), 1.0
        *found, n_iter = OneDal().fit(X, start, "full", 100, tol=1e-3)
        seconds = time.perf_counter() - began
    farthest = np.abs(distances(*found, errors)).max()
    print(
        f"  {'oneDAL, tol=1e-3':<28}{seconds:>7.1f} s {n_iter:>5} steps "
        f"{watch.growth / 2**20:>6,.0f} MB {farthest:>7.1f} SE"
    )


def draw(show, X, model, course, stopped):
    """Draw the fit over the histogram, and every parameter's way to the truth."""
    figure, (left, right) = pyplot.subplots(1, 2, figsize=(12, 4.6))
    plot_density_1d(model, histogram_1d(X), left)
    left.set(xlabel="x", title=f"{len(X):,} values, and the two bells in their one hump")
    steps = np.arange(1, len(course) + 1)
    for name, line in zip(NAMES, course.T, strict=True):
        if name == HIDDEN:
            continue
        right.plot(steps, line, label=name, linewidth=1.3, linestyle="-" if "0" in name else "--")
    right.axhspan(1e-2, 3, color="#009E73", alpha=0.15, linewidth=0)
    right.text(1.2, 1.1, "within 3 standard errors", color="#00664a")
    for step, text in ((stopped, "tol=1e-3\nstops here"), (len(course), 'tol=\n"statistical"')):
        right.axvline(step, color="0.5", linestyle=":")
        right.text(
            step * 0.93, 0.98, text, ha="right", va="top", transform=right.get_xaxis_transform()
        )
    right.set(
        xscale="log",
        yscale="log",
        ylim=(0.05, 3 * course.max()),
        xlim=(1, 1.4 * len(course)),
        xlabel="step of EM",
        ylabel="distance from the truth in SE",
        title="how far every parameter still is",
    )
    right.legend(frameon=False, loc="lower left", ncols=2)
    show.picture(figure)


def main(show: Show) -> None:
    """Write the file, fit it to both tolerances, and scikit-learn next to it."""
    n_samples = 50_000 if show.small else 17_991_402
    errors = standard_errors(TRUTH, n_samples)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "numbers.npy"
        write_npy(path, TRUTH, n_samples, seed=1)
        X = np.load(path, mmap_mode="r")
        print(f"  {n_samples:,} numbers, {X.nbytes / 2**20:,.0f} MB in a file")
        GaussianMixture(2, random_state=0).fit(X[:1000])  # compiled before the clock runs

        trace = ParameterTrace()
        model = GaussianMixture(2, tol="statistical", max_iter=20_000, random_state=0)
        arrived, allocated = timed(
            'fastgmm, tol="statistical"', model.set_callbacks(trace), X, errors
        )
        early = GaussianMixture(2, random_state=0)
        stopped, _ = timed("fastgmm, tol=1e-3", early, X, errors)
        theirs, _ = timed("scikit-learn, tol=1e-3", ScikitLearns(2, random_state=0), X, errors)
        one_dal(X, errors)
        by_path = GaussianMixture(2, random_state=0).fit(path)

        show.claim(
            f"every parameter is within 3 SE of the truth: the farthest at {arrived.max():.2f}",
            model.converged_ and arrived.max() <= 3,
        )
        far = 3 if show.small else 50
        show.claim(
            f"at scikit-learn's default tolerance they are not, in either library: "
            f"{stopped.max():.0f} and {theirs.max():.0f} SE",
            min(stopped.max(), theirs.max()) > far,
        )
        bound = 100 * 2**20
        show.claim(
            f"no more than 100 MB are allocated: {allocated / 2**20:.0f} MB", allocated < bound
        )
        show.claim(
            "fit(path) gives the same bits as the mapped array",
            np.array_equal(by_path.means_, early.means_)
            and np.array_equal(by_path.covariances_, early.covariances_),
        )
        course = np.abs([distances(*one, errors) for one in trace.models[0]])
        draw(show, X, model, course, early.n_iter_)


if __name__ == "__main__":
    run(main, __file__, __doc__)
