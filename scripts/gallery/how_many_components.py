"""How many components? One sweep, three criteria.

More components always fit better, so likelihood alone never says stop. AIC takes 2 off for every
parameter and looks for the model that predicts best; BIC takes log n off and looks for the smallest
that does justice to the rows; ICL = BIC + 2 x entropy also wants rows to belong to one component
clearly, so it counts clusters rather than beads of a density. Smaller is better for all three.

``select`` fits all numbers of components and all starts in the same passes: the data are read as
often as the slowest fit needs, not once for each fit and iteration. For a file larger than memory
that is the difference between one fit's time and two hundred.
"""

from matplotlib import pyplot
from showing import Show, run
from sklearn.datasets import make_moons

from fastgmm import select
from fastgmm.plotting import plot_convergence, plot_criteria, plot_ellipses, plot_responsibilities

REG_COVAR = 1e-5
"""A standard deviation of 0.003, beside noise of 0.05: keeps a component from closing in on two
rows, and leaves the criteria alone."""


def main(show: Show) -> None:
    """Sweep over K = 1 ... 20 with 10 starts."""
    X, _ = make_moons(200, noise=0.05, random_state=0)
    selection = select(
        X,
        range(1, 21),
        "full",
        criterion="aic",
        n_init=3 if show.small else 10,
        reg_covar=REG_COVAR,
        max_iter=500,
        random_state=0,
    )
    table = selection.table
    best = {
        name: min(
            (row for row in table if not row.degenerate), key=lambda row: getattr(row, name)
        ).n_components
        for name in ("aic", "bic", "icl")
    }
    fits = sum(model.n_init for model in selection.models)
    iterations = sum(len(model.history_) for model in selection.models)
    print(
        f"  {fits} fits of {iterations} iterations together read the data {selection.passes.em} "
        f"times for EM, {selection.passes.total} times in all"
    )
    print(f"  best numbers of components: {best}")
    show.claim(f"AIC's best is in 8 ... 12: {best['aic']}", 8 <= best["aic"] <= 12)
    show.claim(f"BIC's is smaller: {best['bic']}", best["bic"] < best["aic"])
    slowest = max(line.iteration for model in selection.models for line in model.history_)
    show.claim(
        f"the data are read once per iteration of the slowest fit: {slowest} times",
        selection.passes.em <= slowest + 1,
    )

    figure, axes = pyplot.subplots(2, 2, figsize=(11, 8))
    plot_criteria(table, ax=axes[0, 0])
    axes[0, 0].set_title("three criteria over the number of components")
    model = selection.best
    plot_convergence(model, axes[0, 1])
    axes[0, 1].set_title(f"K={model.n_components}: all {model.n_init} starts")
    for name, ax in zip(("aic", "icl"), axes[1], strict=True):
        model = next(m for m in selection.models if m.n_components == best[name])
        plot_responsibilities(X, model.predict_proba(X), ax, size=14)
        plot_ellipses(model, (0.9,), ax)
        ax.set_aspect("equal")
        ax.set(xlim=(-1.4, 2.4), ylim=(-0.8, 1.3))
        ax.set_title(f"{name.upper()}'s choice: {model.n_components} components")
    show.picture(figure)


if __name__ == "__main__":
    run(main, __file__, __doc__)
