"""Mixtures of pixels: stepwise EM next to the textbook, and what users do with frames."""

import copy
import pickle

import numpy as np
import pytest

from fastgmm import BackgroundMixtures
from fastgmm.exceptions import DataError, InvalidParameterError, NotFittedError


class Pixel:
    """One pixel's mixture by its sufficient statistics, which are mixed with a frame's."""

    def __init__(self, colour, k, noise, limit, share):
        self.c, self.noise, self.share = len(colour), noise, share
        self.limit = limit + (self.c - 1) ** 0.5
        self.n = np.eye(1, k)[0]
        self.mean, self.variance = np.tile(colour, (k, 1)), np.full(k, (2 * noise) ** 2)

    def update(self, x, g):
        square = ((x - self.mean) ** 2).sum(axis=1)
        close = (square <= self.limit**2 * self.variance) & (self.n > 0)
        order = np.argsort(-self.n, kind="stable")
        before = np.empty_like(self.n)
        before[order] = np.cumsum(self.n[order]) - self.n[order]
        moving = not (close & (before < self.share)).any()
        gaps = np.diff(np.sort(self.n[self.n > 0]))
        if (gaps < 1e-9).any() or (abs(before - self.share) < 1e-9).any():
            moving = None  # rounding decides
        if close.any():
            with np.errstate(divide="ignore"):
                log_density = (
                    np.log(self.n) - (self.c * np.log(self.variance) + square / self.variance) / 2
                )
            r = np.exp(log_density - log_density.max())
            r /= r.sum()
            first = (1 - g) * self.n[:, None] * self.mean + g * r[:, None] * x
            second = (1 - g) * self.n * (self.c * self.variance + (self.mean**2).sum(axis=1))
            second += g * r * (x**2).sum()
            n = (1 - g) * self.n + g * r
            for k in np.flatnonzero(n):
                self.mean[k] = first[k] / n[k]
                spread = (second[k] / n[k] - (self.mean[k] ** 2).sum()) / self.c
                self.variance[k] = max(spread, (self.noise / 2) ** 2)
        else:
            lightest = self.n.argmin()
            n = (1 - g) * self.n
            n[lightest] = g
            self.mean[lightest], self.variance[lightest] = x, (2 * self.noise) ** 2
        self.n = n / n.sum()
        return moving


def video(shape, n_frames, seed=0):
    """Yield frames of noise on colours that jump between a few, in some pixels more often."""
    rng = np.random.default_rng(seed)
    colours = rng.normal(0, 20, size=(4, *shape))
    restless = rng.uniform(0, 0.5, size=shape[:2])
    for _ in range(n_frames):
        which = np.where(rng.uniform(size=shape[:2]) < restless, rng.integers(4, size=shape[:2]), 0)
        at = which.reshape(*shape[:2], *[1] * (len(shape) - 2))
        yield np.take_along_axis(colours, at[np.newaxis], axis=0)[0] + rng.normal(0, 1, size=shape)


@pytest.mark.parametrize("shape", [(5, 7), (3, 5, 1), (4, 9, 3), (2, 3, 5)])
@pytest.mark.parametrize("k", [1, 2, 4])
@pytest.mark.parametrize("threshold", [4.0, 15.0])
def test_every_pixel_makes_the_textbooks_steps(shape, k, threshold):
    background = BackgroundMixtures(
        k, memory=20, threshold=threshold, background_share=0.7, noise=1.5
    )
    pixels, compared = {}, 0
    for t, frame in enumerate(video(shape, 40)):
        moving = background.update(frame)
        for place in np.ndindex(shape[:2]):
            colour = np.atleast_1d(frame[place])
            if t == 0:
                pixels[place] = Pixel(colour, k, 1.5, threshold, 0.7)
                assert not moving[place]
            else:
                expected = pixels[place].update(colour, 1 / min(t + 1, 20))
                assert expected is None or moving[place] == expected, (t, place)
                compared += expected is not None
    assert compared > 20 * len(pixels)
    for place, pixel in pixels.items():
        np.testing.assert_allclose(background.weights_[place], pixel.n, atol=1e-12)
        assert ((background.weights_[place] > 0) == (pixel.n > 1e-30)).all()
        known = pixel.n > 0
        np.testing.assert_allclose(background.means_[place][known], pixel.mean[known], atol=1e-9)
        np.testing.assert_allclose(
            background.variances_[place][known], pixel.variance[known], rtol=1e-9
        )
        heaviest = pixel.mean[pixel.n.argmax()]
        np.testing.assert_allclose(background.background_[place], heaviest.squeeze(), atol=1e-9)


@pytest.mark.parametrize(("dtype", "far"), [(np.float32, 3.4e38), (np.float64, 1.7e308)])
def test_a_frame_infinitely_far_away_spoils_nothing(dtype, far):
    rng = np.random.default_rng(0)
    background = BackgroundMixtures(noise=2.0)
    for _ in range(50):
        background.update(rng.normal(100, 2, size=(30, 40)).astype(dtype))
    means, variances = background.means_[:, :, 0].copy(), background.variances_[:, :, 0].copy()
    for sign in (-1, 1, -1):
        assert background.update(np.full((30, 40), sign * far, dtype)).all()
    assert (background.means_[:, :, 0] == means).all()
    assert (background.variances_[:, :, 0] == variances).all()


def test_threads_make_no_difference():
    one, three = (BackgroundMixtures(n_threads=n) for n in (1, 3))
    for frame in video((90, 151, 3), 12):
        assert (one.update(frame) == three.update(frame)).all()
    for name in ("weights_", "means_", "variances_"):
        assert (getattr(one, name) == getattr(three, name)).all()


@pytest.mark.parametrize("dtype", ["uint8", "int32", "float32", "float64"])
def test_somebody_walks_through_a_noisy_picture(dtype):
    rng = np.random.default_rng(0)
    still = rng.integers(60, 190, size=(60, 80, 3))
    background, idle, moving = BackgroundMixtures(memory=100), [], np.zeros(3)
    for t in range(120):
        frame = still + rng.normal(0, 3, size=still.shape)
        truth = np.zeros(still.shape[:2], dtype=bool)
        if t >= 60:
            truth[20:40, t - 60 : t - 50] = True
            frame[truth] += 40
        if dtype != "float64":
            frame = np.rint(frame)
        found = background.update(frame.astype(dtype))
        if 10 <= t < 60:
            idle.append(found.mean())
        if t >= 60:
            moving += (found & truth).sum(), found.sum(), truth.sum()
    assert np.mean(idle) < 1e-3
    assert 2 * moving[0] / (moving[1] + moving[2]) > 0.95
    assert np.abs(background.background_ - still).mean() < 1.0
    assert background.weights_.dtype == ("float64" if dtype == "float64" else "float32")


def test_what_stays_becomes_background():
    background, frame = (
        BackgroundMixtures(memory=50, background_share=0.8, noise=1.0),
        np.zeros((4, 4)),
    )
    for _ in range(50):
        background.update(frame)
    frame[1, 1] = 100.0
    seen = [bool(background.update(frame)[1, 1]) for _ in range(20)]
    assert seen[0]
    assert not seen[-1]
    assert 8 <= sum(seen) <= 13
    assert background.update(np.full((4, 4), 100.0)).sum() == 15


def test_looking_teaches_nothing():
    background, frames = BackgroundMixtures(), list(video((6, 6), 12))
    for frame in frames[:-1]:
        background.update(frame)
    before = background.weights_, background.means_, background.variances_
    seen = background.predict(frames[-1])
    for old, new in zip(
        before, (background.weights_, background.means_, background.variances_), strict=True
    ):
        assert (old == new).all()
    assert (background.update(frames[-1]) == seen).all()


def test_a_pickle_goes_on_where_it_was():
    frames = list(video((9, 9, 3), 20))
    background = BackgroundMixtures()
    for frame in frames[:10]:
        background.update(frame)
    other = pickle.loads(pickle.dumps(background))
    for frame in frames[10:]:
        assert (background.update(frame) == other.update(frame)).all()
    assert (background.means_ == other.means_).all()


def test_frames_without_noise_are_no_reason_to_see_ghosts():
    background, still = BackgroundMixtures(), np.random.default_rng(0).uniform(size=(20, 20))
    for _ in range(300):
        assert not background.update(still).any()
    still[3, 4] += 0.1
    assert np.argwhere(background.update(still)).tolist() == [[3, 4]]
    assert np.isfinite(background.means_).all()


def test_what_is_forgotten_leaves_no_subnormal_numbers():
    background = BackgroundMixtures(memory=2, noise=1.0)
    frame = np.zeros((2, 3), np.float32)
    background.update(frame)
    background.update(frame + 50)
    for _ in range(300):
        background.update(frame)
    assert sorted(set(background.weights_.ravel().tolist())) == [0.0, 1.0]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (np.zeros(4), "height, width"),
        (np.zeros((0, 4)), "height, width"),
        (np.array([["a"]]), "numbers"),
        (np.zeros((2, 3), dtype=bool), "numbers"),
        (np.zeros((3, 4)), r"this frame is \(3, 4\), those before were \(2, 3\)"),
        (np.array([[0, 0, 0], [0, np.nan, 0]]), "nan at row 1, column 1"),
    ],
)
def test_a_bad_frame_is_told_of_and_changes_nothing(wrong, message):
    background = BackgroundMixtures()
    for _ in range(2):
        background.update(np.zeros((2, 3)))
    with pytest.raises(DataError, match=message):
        background.update(wrong)
    assert background.n_frames_ == 2


def test_a_bad_first_frame_leaves_nothing_behind():
    background = BackgroundMixtures()
    with pytest.raises(DataError, match="nan at row 0, column 2"):
        background.update(np.array([[[0.0, 0], [0, 0], [0, np.nan]]]))
    background.update(np.zeros((2, 3)))
    assert background.n_frames_ == 1


@pytest.mark.parametrize(
    "wrong",
    [
        {"n_components": 0},
        {"memory": 0},
        {"threshold": 0.0},
        {"threshold": np.inf},
        {"background_share": 1.0},
        {"noise": -1},
        {"n_threads": 0},
    ],
)
def test_a_bad_setting_is_told_of(wrong):
    (name,) = wrong
    with pytest.raises(InvalidParameterError, match=name):
        BackgroundMixtures(**wrong)


def test_before_the_noise_is_known_there_is_little_to_ask():
    background, frame = BackgroundMixtures(), np.zeros((2, 3))
    with pytest.raises(NotFittedError, match="not seen a frame"):
        _ = background.background_
    background.update(frame)
    assert (background.background_ == frame).all()
    with pytest.raises(NotFittedError, match="noise"):
        background.predict(frame)
    told = BackgroundMixtures(noise=1.0)
    told.update(frame)
    assert told.predict(frame + 100).all()


@pytest.mark.parametrize("dtype", ["uint8", "float32", "float64"])
@pytest.mark.parametrize("n_repeated", [0, 3])
def test_the_noise_is_found_from_frames_that_differ(dtype, n_repeated):
    rng = np.random.default_rng(1)
    still = rng.uniform(50, 200, size=(60, 80, 3))
    noisy = [(still + rng.normal(0, 4, size=still.shape)).astype(dtype) for _ in range(3)]
    background = BackgroundMixtures()
    for frame in [noisy[0]] * (1 + n_repeated):
        assert not background.update(frame).any()
    assert background._noise is None
    background.update(noisy[1])
    assert background._noise == pytest.approx(4.0, rel=0.05)
    assert background.update(noisy[2]).mean() < 1e-3


@pytest.mark.parametrize("unit", [1.0, 1 / 255])
def test_values_rounded_to_grey_levels_are_noise_of_half_a_level(unit):
    rng = np.random.default_rng(1)
    still = rng.uniform(50, 200, size=(60, 80))
    background, seen = BackgroundMixtures(), []
    for _ in range(60):
        frame = np.rint(still + rng.normal(0, 0.35, size=still.shape)) * unit
        seen.append(background.update(frame.astype(np.float32)).mean())
    assert background._noise == pytest.approx(0.5 * unit, rel=0.01)
    assert np.mean(seen) < 1e-3


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_a_drawing_without_noise_has_none(dtype):
    drawing = np.zeros((40, 40), dtype)
    drawing[:, 20:] = 255
    background = BackgroundMixtures()
    for t in range(20):
        frame = drawing.copy()
        frame[3:5, t : t + 2] = 100
        seen = background.update(frame)
    assert np.argwhere(seen).tolist() == [[3, 19], [3, 20], [4, 19], [4, 20]]


def test_no_component_is_narrower_than_half_of_the_noise():
    background = BackgroundMixtures(1, noise=3.0)
    for _ in range(400):
        background.update(np.full((3, 4), 7.0))
    np.testing.assert_allclose(background.variances_, 1.5**2)


@pytest.mark.parametrize("channels", [1, 4, 10, 50, 200])
def test_more_channels_are_no_reason_for_false_alarms(channels):
    rng = np.random.default_rng(0)
    still, background = rng.uniform(50, 200, size=(20, 30, channels)), BackgroundMixtures()
    idle = (still + rng.normal(0, 3, size=still.shape) for _ in range(30))
    assert np.mean([background.update(frame) for frame in idle]) < 1e-3
    moved = still + rng.normal(0, 3, size=still.shape)
    moved[5:10, 5:10] += 40
    found = background.predict(moved)
    assert found[5:10, 5:10].all()
    assert found.sum() <= 26


@pytest.mark.parametrize("noise", [1e-25, 1e25])
def test_a_noise_whose_square_is_no_number_is_told_of(noise):
    background = BackgroundMixtures(noise=noise)
    with pytest.raises(DataError, match="noise"):
        background.update(np.zeros((3, 4), np.float32))


def test_a_frame_too_large_for_float32_is_told_of():
    background = BackgroundMixtures()
    background.update(np.zeros((2, 3), np.float32))
    with pytest.raises(DataError, match=r"1e\+300 at row 1, column 2: no float32"):
        background.update(np.array([[0, 0, 0], [0, 0, 1e300]]))


def test_so_many_threads_are_used_as_were_asked_for():
    for n_threads in (1, 3):
        background = BackgroundMixtures(n_threads=n_threads)
        for frame in video((150, 151), 3):
            background.update(frame)
        # this thread works, too
        assert len(background._pool._threads) == (n_threads if n_threads > 1 else 0)


def test_settings_are_checked_whenever_they_are_set():
    frames = list(video((20, 30), 6))
    background = BackgroundMixtures(memory=20)
    for frame in frames[:3]:
        background.update(frame)
    for name, value in (
        ("threshold", -1.0),
        ("memory", 2.5),
        ("background_share", 1),
        ("n_threads", 0),
    ):
        with pytest.raises(InvalidParameterError, match=f"'{name}' parameter"):
            setattr(background, name, value)
    for name, value in (("n_components", 2), ("noise", 3.0)):
        with pytest.raises(InvalidParameterError, match=f"'{name}' cannot be changed once a frame"):
            setattr(background, name, value)
    expected = background.predict(frames[3])
    background.n_threads = 3
    assert (background.predict(frames[3]) == expected).all()
    background.threshold = 1e-3
    assert background.predict(frames[3]).all()


def test_a_copy_learns_by_itself():
    frames = list(video((20, 30), 6))
    background = BackgroundMixtures(memory=20)
    for frame in frames[:3]:
        background.update(frame)
    means = background.means_
    copy.copy(background).update(frames[3])
    assert (background.means_ == means).all()
    assert background.n_frames_ == 3
