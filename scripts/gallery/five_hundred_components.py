"""Five hundred components: what becomes of every one of them?

A speech background model is a mixture of 512 diagonal components over frames of 39 numbers: 13
cepstral coefficients (MFCC), and how fast they change, and how fast that changes. The frames here
are made up, with what makes real ones hard: columns of very different scale, sounds of very
different frequency, heavy tails, and stretches of near silence that are all but alike.

With so many components some are bound to be left with hardly a frame. One of them is no error, but
a spike on a single frame says nothing about speech, and must neither end the fit nor be hidden:
``collapsed_`` lists the components that are left with a row (more exactly: with no more rows than
determine a covariance of their shape) or without spread. They can also be put to use:
``on_collapse="reseed"`` starts them anew where the model explains the frames worst.

Ten iterations are what such models often get; ``warm_start`` goes on from there to convergence.
"""

import time
import warnings

import numpy as np
from matplotlib import pyplot
from showing import Show, run

from fastgmm import GaussianMixture
from fastgmm.exceptions import ConvergenceWarning
from fastgmm.progress import ComponentsReseeded, IterationDone

K, SOUNDS = 512, 200
CEPSTRA = np.array([20.0, *(16.0 / np.sqrt(np.arange(1, 13)))])
SCALE = np.concatenate([CEPSTRA, 0.2 * CEPSTRA, 0.06 * CEPSTRA])
"""Deviations of the 13 coefficients, of their changes, and of the changes of these."""
COLOURS = {"keep": "#D55E00", "reseed": "#0072B2"}


def speech(n_samples, seed):
    """Return frames like those of speech, in float32."""
    language = np.random.default_rng(0)  # the same sounds whatever the seed
    centres = SCALE * language.normal(size=(SOUNDS, 39))
    widths = SCALE * language.uniform(0.4, 1.2, size=(SOUNDS, 39))
    frequencies = language.dirichlet(np.full(SOUNDS, 0.5))

    speaker = np.random.default_rng(seed)
    sounds = speaker.choice(SOUNDS, n_samples, p=frequencies)
    tails = np.sqrt(speaker.chisquare(5, size=(n_samples, 1)) / 5)  # Student's t, 5 degrees
    frames = centres[sounds] + widths[sounds] * speaker.normal(size=(n_samples, 39)) / tails
    silent = speaker.random(n_samples) < 0.03
    frames[silent] = 0.02 * SCALE * speaker.normal(size=(silent.sum(), 39))
    frames[silent, 0] -= 96.0
    return frames.astype(np.float32)


class Course:
    """What a fit tells of its iterations: the bound after each, components started anew in all."""

    def __init__(self):
        self.bounds, self.reseeded = [], 0

    def __call__(self, event):
        """Take one event."""
        match event:
            case ComponentsReseeded():
                self.reseeded += len(event.components)
            case IterationDone():
                self.bounds.append(event.lower_bound)


def check(show, model, when, n_samples, unheard):
    """Claim that nothing has broken and that no component is lost without a word."""
    parameters = model.weights_, model.means_, model.covariances_, model.precisions_cholesky_
    finite = all(np.isfinite(one).all() for one in parameters)
    # a click, far louder than anything in the data, still has a density and an owner
    rows = np.vstack([unheard, 1e4 * SCALE.astype(np.float32)])
    finite &= bool(np.isfinite(model.score_samples(rows)).all())
    finite &= np.allclose(model.predict_proba(rows).sum(axis=1), 1, atol=1e-4)
    show.claim(f"{when}: parameters, densities and shares are finite", finite)
    held = model.weights_.astype(float) * n_samples
    alone = np.flatnonzero(held < 1.5)
    show.claim(
        f"{when}: every weight is > 0; {len(alone)} components hold a single row, all reported",
        bool((held > 0).all()) and np.isin(alone, model.collapsed_).all(),
    )


def draw(show, models, courses, n_samples):
    """Draw how wide every component is and how many rows it holds, and how the fits went."""
    figure, axes = pyplot.subplots(1, 3, figsize=(14, 5), width_ratios=[1, 1, 0.9])
    for ax, (policy, model) in zip(axes, models.items(), strict=False):
        held = model.weights_ * n_samples
        width = np.exp(0.5 * np.log(model.covariances_ / SCALE**2).mean(axis=1))
        ax.scatter(held, width, s=9, color=COLOURS[policy], alpha=0.6, linewidths=0)
        lost = model.collapsed_
        ax.plot(held[lost], width[lost], "kx", label=f"reported as collapsed: {len(lost)}")
        ax.axhline(0.02, color="0.6", linestyle=":", zorder=0)
        ax.text(
            0.99, 0.021, "near silence", color="0.4", ha="right", transform=ax.get_yaxis_transform()
        )
        ax.set(
            xscale="log",
            yscale="log",
            xlim=(0.6, 2 * held.max()),
            xlabel="rows that a component holds",
            title=f'on_collapse="{policy}": {courses[policy].reseeded} new starts',
        )
        ax.legend(frameon=False, loc="center left")
        bounds = courses[policy].bounds
        axes[2].plot(np.arange(2, len(bounds) + 1), bounds[1:], color=COLOURS[policy], label=policy)
    axes[0].set_ylabel("width of a component (all sounds: 1)")
    axes[1].sharey(axes[0])
    axes[0].set_ylim(top=8)
    axes[2].axvline(10.5, color="0.6", linestyle=":")
    axes[2].set(
        xlabel="iteration",
        ylabel="mean log likelihood of a frame (nats)",
        title="ten iterations, and on to convergence",
    )
    axes[2].legend(frameon=False, loc="lower right")
    show.picture(figure)


def main(show: Show) -> None:
    """Fit for ten iterations and on to convergence, with either policy."""
    n_samples = 5000 if show.small else 100_000
    X, unheard = speech(n_samples, seed=1), speech(2000 if show.small else 20_000, seed=2)
    print(f"  {n_samples:,} frames of 39 numbers in float32, {K} diagonal components")
    warnings.simplefilter("ignore", ConvergenceWarning)  # ten iterations are meant
    warnings.simplefilter("error", RuntimeWarning)  # NumPy's word for an overflow
    models, courses, likely = {}, {}, {}
    for policy in ("keep", "reseed"):
        courses[policy] = Course()
        model = GaussianMixture(
            K, covariance_type="diag", on_collapse=policy, warm_start=True, random_state=0
        )
        models[policy] = model.set_callbacks(courses[policy])
        for max_iter, when in ((10, "ten iterations"), (1000, "convergence")):
            began = time.perf_counter()
            model.set_params(max_iter=max_iter).fit(X)
            seconds = time.perf_counter() - began
            check(show, model, f'"{policy}", {when}', n_samples, unheard)
        likely[policy] = model.score(unheard)
        print(
            f'  "{policy}": {len(courses[policy].bounds)} iterations, the last '
            f"{model.n_iter_} in {seconds:.1f} s; {K - len(model.collapsed_)} of {K} components "
            f"live; {courses[policy].reseeded} new starts; "
            f"mean log density of unheard frames {likely[policy]:.2f}"
        )
        show.claim(f'"{policy}" converges', model.converged_)
    show.claim(
        "with new starts fewer components are lost, or none",
        len(models["reseed"].collapsed_) <= len(models["keep"].collapsed_),
    )
    draw(show, models, courses, n_samples)


if __name__ == "__main__":
    run(main, __file__, __doc__)
