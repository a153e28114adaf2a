"""Motion in a quiet video: what does not belong to the background?

A camera looks at a still scene. Every pixel is noisy, a lamp flickers, and boxes move through the
picture, some of them hardly brighter than what is behind them. To compare each frame with the one
before finds edges only, and the lamp in every frame. But the colours that a pixel has had, frame
after frame, are a small mixture of its own: the wall behind it is one component, the lamp's two
states are two, and a box that passes is a light one that is soon forgotten. All these mixtures, one
for each pixel, make a step of EM at every frame, without keeping any frame; a pixel is foreground
where none of its heavy components explains its colour.

F1 = 2 found / (marked + true): 1 if the marked pixels are those of the boxes.
"""

import time

import numpy as np
from matplotlib import pyplot
from scipy.ndimage import gaussian_filter
from showing import Show, run

from fastgmm import BackgroundMixtures

NOISE = 4.0
"""Standard deviation of the sensor, in grey levels of 0 to 255."""
WATCHED = 60
"""Frames before anything moves."""


def scene(generator, shape):
    """Return a still picture (height, width, 3), and which pixels are the lamp."""
    coarse = generator.uniform(60, 180, size=(*shape, 3))
    still = np.stack([gaussian_filter(coarse[..., c], 12) for c in range(3)], axis=2)
    still = 120 + (still - still.mean()) * 12
    lamp = np.zeros(shape, dtype=bool)
    lamp[: shape[0] // 8, -shape[1] // 8 :] = True
    return still.clip(30, 200), lamp


def frames(generator, shape, n_idle, n_moving):
    """Yield frames of a camera, and which pixels of them belong to something that moves."""
    still, lamp = scene(generator, shape)
    height, width = shape
    size = height // 6
    # rows they move along, their speeds, and how much brighter or darker they are
    boxes = [(height // 8, 2.0, 60.0), (height // 2, -3.0, -50.0), (3 * height // 4, 1.5, 35.0)]
    for t in range(n_idle + n_moving):
        frame, moving = still.copy(), np.zeros(shape, dtype=bool)
        if generator.uniform() < 0.3:
            frame[lamp] += 40
        for top, speed, contrast in boxes if t >= n_idle else ():
            left = int(speed * (t - n_idle)) % (2 * width)  # half of the time outside
            frame[top : top + size, left : left + size] += contrast
            moving[top : top + size, left : left + size] = True
        frame += generator.normal(0, NOISE, size=frame.shape)
        yield np.rint(frame).clip(0, 255).astype(np.uint8), moving


def f1(found, true):
    """Return 2 hits / (marked + true)."""
    return 2 * np.sum(found & true) / (np.sum(found) + np.sum(true))


def main(show: Show) -> None:
    """Watch a video; draw a frame of it, its mask, and the background that was learnt."""
    shape, n_moving = ((96, 128), 60) if show.small else ((240, 320), 200)
    n_idle = 2 * WATCHED
    background = BackgroundMixtures()
    found, true, idle, differing, seconds = [], [], [], [], []
    before = None
    for t, (frame, moving) in enumerate(frames(np.random.default_rng(0), shape, n_idle, n_moving)):
        began = time.perf_counter()
        mask = background.update(frame)
        seconds.append(time.perf_counter() - began)
        if WATCHED <= t < n_idle:
            idle.append(mask.mean())
        if t >= n_idle:
            found.append(mask)
            true.append(moving)
            differing.append((np.abs(frame - before) > 5 * NOISE * 2**0.5).any(axis=2))
        before = frame.astype(float)
    score, score_of_difference = (
        f1(np.array(found), np.array(true)),
        f1(np.array(differing), np.array(true)),
    )
    rate = np.prod(shape) / np.median(seconds) / 1e6
    print(f"  frames {shape[0]} x {shape[1]} in colour: {rate:.0f} million pixels a second")
    print(f"  F1 {score:.3f}; of differences between neighbouring frames {score_of_difference:.3f}")
    print(f"  idle frames: {100 * np.mean(idle):.4f} % foreground, {100 * max(idle):.4f} % at most")

    figure, axes = pyplot.subplots(1, 4, figsize=(15, 3.2))
    pictures = (
        ("the last frame", frame),
        ("what moves in it", moving),
        (f"foreground: F1 {score:.2f}", mask),
        ("the background that was learnt", background.background_.clip(0, 255).astype(np.uint8)),
    )
    for ax, (title, picture) in zip(axes, pictures, strict=True):
        ax.imshow(picture, cmap="gray")
        ax.set(title=title, xticks=[], yticks=[])
    show.claim("F1 of what moves is at least 0.9", score >= 0.9)
    show.claim("under 0.1 % of idle frames is foreground", max(idle) < 1e-3)
    show.claim("to compare neighbouring frames is worse", score_of_difference < score)
    show.picture(figure)


if __name__ == "__main__":
    run(main, __file__, __doc__)
