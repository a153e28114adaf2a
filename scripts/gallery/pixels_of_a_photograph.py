"""Pixels of a photograph: what is where, without a teacher and with one.

Every pixel becomes a row: its colour, the mean colour around it, and how rough the picture is
there (a leaf in the sun is as bright as a tile, but its surroundings are not). Without a teacher a
mixture of six components finds six kinds of pixels, painted here in their mean colours; which of
them are trees nobody has told it, and a kind that is shade, of trees and of roofs alike, is as good
to it as any other.

Then a person marks a few boxes and says what is in them. One mixture for each class learns what its
pixels look like: several components, since a building is roof, wood and shade. Bayes' rule decides
between them: a pixel goes to the class with the largest (share of the class) x (its density there).
How good is that? Neighbouring pixels are alike, so it is asked of other boxes than those that were
learnt from; pixels picked at random from the same boxes would flatter it. The same goes for a
photograph from the air and its fields, roofs and roads.
"""

import numpy as np
from matplotlib import pyplot
from matplotlib.colors import ListedColormap
from matplotlib.patches import Patch, Rectangle
from scipy.ndimage import uniform_filter
from showing import Show, run
from sklearn.datasets import load_sample_image

from fastgmm import GaussianMixture

NEARBY = 7
"""Pixels on each side of the square that is around one."""
KINDS = 6
"""Components of the mixture that no one teaches."""
COMPONENTS = 4
"""Of each class."""

Box = tuple[int, int, int, int]
"""Left, top, right, bottom, in pixels."""

LEARNT: dict[str, list[Box]] = {
    "sky": [(10, 10, 90, 110), (340, 20, 500, 180)],
    "lake": [(440, 255, 540, 275), (365, 280, 420, 305)],
    "trees": [(5, 210, 40, 250), (130, 370, 200, 420), (400, 340, 480, 410), (590, 220, 630, 300)],
    "building": [(110, 250, 290, 275), (110, 190, 300, 235), (125, 130, 290, 155)],
}
HELD_OUT: dict[str, list[Box]] = {
    "sky": [(240, 10, 330, 70), (520, 20, 630, 110)],
    "lake": [(350, 250, 420, 275), (430, 278, 475, 290)],
    "trees": [(20, 350, 110, 420), (500, 340, 560, 400), (575, 320, 635, 420)],
    "building": [(110, 170, 300, 182), (110, 290, 330, 325), (165, 80, 240, 112)],
}
COLOURS = ListedColormap(["#56B4E9", "#0072B2", "#009E73", "#D55E00"])


def rows_of(photograph):
    """Return (height, width, 7): the colour of a pixel, that around it, and the roughness there."""
    colours = photograph.astype(float)
    grey = colours.mean(axis=2)
    around = np.stack([uniform_filter(colours[..., c], NEARBY) for c in range(3)], axis=2)
    variance = uniform_filter(grey**2, NEARBY) - uniform_filter(grey, NEARBY) ** 2
    # the logarithm of a deviation; + 1 for what the camera rounds away
    roughness = 0.5 * np.log(np.maximum(variance, 0) + 1)
    return np.concatenate([colours, around, roughness[..., np.newaxis]], axis=2)


def inside(rows, boxes, step):
    """Return the rows of some boxes, every so many in both directions."""
    return np.concatenate(
        [
            rows[top:bottom:step, left:right:step].reshape(-1, rows.shape[2])
            for left, top, right, bottom in boxes
        ]
    )


class Bayes:
    """One mixture for each class, and the rule that decides between them."""

    def fit(self, rows_by_class):
        """Learn what rows of every class look like; classes are taken to be equally common."""
        self.mixtures = [
            GaussianMixture(COMPONENTS, n_init=3, reg_covar=1e-3, random_state=0).fit(rows)
            for rows in rows_by_class
        ]
        return self

    def predict(self, X):
        """Return the number of the class in which each row is likeliest."""
        return np.argmax([mixture.score_samples(X) for mixture in self.mixtures], axis=0)


def draw(show, photograph, kinds, means, classes, accuracy):
    """Draw the photograph with its boxes, the kinds in their mean colours, and the map."""
    figure, axes = pyplot.subplots(1, 3, figsize=(15, 3.7))
    axes[0].imshow(photograph)
    for boxes, style in ((LEARNT, "-"), (HELD_OUT, "--")):
        for number, name in enumerate(boxes):
            for left, top, right, bottom in boxes[name]:
                box = Rectangle((left, top), right - left, bottom - top, fill=False)
                box.set(edgecolor=COLOURS(number), linestyle=style, linewidth=2)
                axes[0].add_patch(box)
    axes[0].set_title("marked by a person: to learn from (solid), to ask about (dashed)")
    axes[1].imshow(means[kinds].clip(0, 255).astype(np.uint8))
    axes[1].set_title(f"no teacher: {KINDS} kinds of pixels in their mean colours")
    axes[2].imshow(classes, cmap=COLOURS, interpolation="nearest")
    axes[2].set_title(f"Bayes' rule: {accuracy:.1%} of the pixels asked about are right")
    legend = [Patch(color=COLOURS(number), label=name) for number, name in enumerate(LEARNT)]
    axes[2].legend(handles=legend, loc="upper right", framealpha=0.9)
    for ax in axes:
        ax.set_axis_off()
    show.picture(figure)


def main(show: Show) -> None:
    """Segment the picture without a teacher, learn the classes, and ask about other boxes."""
    photograph = load_sample_image("china.jpg")
    rows = rows_of(photograph)
    step = 4 if show.small else 1
    pixels = rows[::step, ::step].reshape(-1, rows.shape[2])
    height, width = rows[::step, ::step].shape[:2]
    print(f"  {height * width:,} pixels, {rows.shape[2]} columns")

    free = GaussianMixture(KINDS, n_init=3, random_state=0).fit(pixels)
    kinds = free.predict(pixels)
    shares = np.sort(np.bincount(kinds, minlength=KINDS) / len(kinds))
    print(f"  no teacher: {KINDS} kinds of pixels, of {shares[0]:.0%} to {shares[-1]:.0%}")
    show.claim("each of them holds pixels", shares[0] > 0.005)

    model = Bayes().fit([inside(rows, boxes, step) for boxes in LEARNT.values()])
    asked = [inside(rows, boxes, step) for boxes in HELD_OUT.values()]
    table = np.array([np.bincount(model.predict(X), minlength=len(asked)) for X in asked])
    print(f"  pixels asked about {'':9}taken for", *(f"{name:>9}" for name in LEARNT))
    for name, line in zip(LEARNT, table, strict=True):
        print(f"  {name:<28}     ", *(f"{share:>9.1%}" for share in line / line.sum()))
    accuracy = np.trace(table) / table.sum()
    show.claim(
        f"of {table.sum():,} pixels in boxes not learnt from {accuracy:.1%} are right (>= 95 %)",
        accuracy >= 0.95,
    )
    recall = np.diag(table) / table.sum(axis=1)
    show.claim(f"and of every class at least 90 %: {recall.min():.1%}", min(recall) >= 0.9)

    # the best that kinds found without a teacher could do: each named after what it mostly is
    found = np.array([np.bincount(free.predict(X), minlength=KINDS) for X in asked])
    named = found.max(axis=0).sum() / found.sum()
    show.claim(
        f"better than the kinds, were they named by who knows the answers: {named:.1%}",
        accuracy > named,
    )
    draw(
        show,
        photograph,
        kinds.reshape(height, width),
        free.means_[:, :3],
        model.predict(pixels).reshape(height, width),
        accuracy,
    )


if __name__ == "__main__":
    run(main, __file__, __doc__)
