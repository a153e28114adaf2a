"""New handwritten digits, drawn from a mixture that has seen 1,797 old ones.

The images (8 x 8) are rotated onto their principal axes, which keep 99 % of the variance in 41
whitened columns. A mixture of 110 full covariances is fitted there, 100 rows are drawn from it, and
the rotation is undone: new digits. How many components? AIC is lowest near 110 where reg_covar is
1e-4. But it moves: to about 150 at 1e-6, to 50 at 1e-2.

Why does it move? Because 110 components have 16 rows each, and 16 rows do not span 41 dimensions:
such covariances are flat, and in the flat directions all that they hold is reg_covar. The density
there, and with it AIC, is whatever that number makes it, and AIC's promise (prediction) is off.
Rows that the fit has not seen say so plainly: under 110 components they are unlikely, under about
ten they are likeliest. The pictures are good *because* the components are flat: each draws blends
of a handful of real digits. A good picture is no proof of a good density.
"""

import numpy as np
from matplotlib import pyplot
from showing import Show, run
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA

from fastgmm import GaussianMixture, select

REG_COVAR = 1e-4
SETTINGS = {"covariance_type": "full", "n_init": 1, "reg_covar": REG_COVAR, "random_state": 0}


def mosaic(images):
    """Return 100 images of 8 x 8 pixels as one, with white between them."""
    framed = np.pad(images.reshape(10, 10, 8, 8), ((0, 0), (0, 0), (2, 2), (2, 2)))
    return framed.swapaxes(1, 2).reshape(120, 120)


def at_the_floor(model):
    """Return how many components are in some direction hardly wider than reg_covar makes them."""
    narrowest = np.linalg.eigvalsh(model.covariances_)[:, 0]
    return int(np.sum(narrowest < 10 * REG_COVAR))


def draw(show, digits, new, aic, surprise):
    """Draw the sweep of AIC, the surprise of rows held out, and old digits next to new ones."""
    figure, axes = pyplot.subplot_mosaic(
        [["aic", "old", "new"], ["unseen", "old", "new"]],
        figsize=(14, 5),
        width_ratios=[1, 1.25, 1.25],
    )
    for name, curve, colour, title in (
        ("aic", aic, "#0072B2", f"AIC at reg_covar={REG_COVAR:g}"),
        ("unseen", surprise, "#D55E00", "-log density of an unseen row (nats)"),
    ):
        ax, best = axes[name], min(curve, key=curve.get)
        ax.plot(list(curve), list(curve.values()), ".-", color=colour)
        ax.plot(best, curve[best], "o", markersize=11, fillstyle="none", color=colour)
        ax.set(xlabel="number of components", title=f"{title}: least at {best}")
        ax.margins(y=0.15)
    axes["unseen"].set(xscale="log", yscale="log")
    for name, images, title in (
        ("old", digits[:100], "100 of the 1,797 digits"),
        ("new", new, "100 digits that nobody wrote"),
    ):
        axes[name].imshow(mosaic(images), cmap="binary", vmin=0, vmax=16)
        axes[name].set_title(title)
        axes[name].set_axis_off()
    show.picture(figure)


def main(show: Show) -> None:
    """Sweep AIC, fit, draw digits, and ask rows that were held out."""
    digits = load_digits().data[: 700 if show.small else None]
    pca = PCA(0.99, whiten=True).fit(digits)
    X = pca.transform(digits)
    n, d = X.shape
    sizes, few, k = (
        ((20, 40), (1, 4, 40), 40)
        if show.small
        else (range(50, 211, 10), (1, 2, 5, 10, 20, 50, 110), 110)
    )

    # degenerate candidates are wanted here: all of them are
    sweep = select(X, sizes, criterion="aic", allow_degenerate=True, **SETTINGS)
    aic = {row.n_components: row.aic for row in sweep.table}
    lowest = min(aic, key=aic.get)
    print(f"  {n} digits in {d} columns; AIC is lowest at K={lowest} (reg_covar={REG_COVAR:g})")
    if not show.small:
        show.claim("that is near 110: 90 ... 130", 90 <= lowest <= 130)

    model = GaussianMixture(k, **SETTINGS).fit(X)
    rows, _ = model.sample(100)
    new = pca.inverse_transform(np.random.default_rng(0).permutation(rows))
    inside = np.mean((new > -4) & (new < 20))
    show.claim(
        f"100 new digits are images: {inside:.1%} of their pixels are in -4 ... 20 (old: 0 ... 16)",
        inside > 0.97,
    )

    floor = at_the_floor(model)
    print(f"  {floor} of {k} components are at the floor of the regularisation,")
    print(f"  and {np.sum(model.weights_ * n <= d)} hold no more rows than there are columns")
    show.claim(f"at K={k} most components are at the floor", floor > 0.5 * k)
    checked = select(X, few, criterion="cv", allow_degenerate=True, **SETTINGS)
    surprise = {row.n_components: -row.cv for row in checked.table}
    print("  mean log density of rows held out, by K:")
    print("   ", ", ".join(f"{size}: {-value:.1f}" for size, value in surprise.items()))
    preferred = min(surprise, key=surprise.get)
    show.claim(f"held-out rows prefer few components, K={preferred}, not {k}", preferred <= 20)
    draw(show, digits, new, aic, surprise)


if __name__ == "__main__":
    run(main, __file__, __doc__)
