"""The background of a video: one small mixture per pixel, updated frame by frame."""

import math
from copy import deepcopy
from typing import Any

import numpy as np

from fastgmm import kernels
from fastgmm._typing import BoolArray, FloatArray
from fastgmm.exceptions import DataError, InvalidParameterError, NotFittedError
from fastgmm.executors import Pool
from fastgmm.executors.limits import available_threads
from fastgmm.validation import NONE, Rule, check_setting, integer

PIXELS_TOGETHER = 4096
"""Of a thread's range a multiple: whole vectors, and enough to hand over."""

LEAST_NOISE = 1e-6
"""Standard deviation of sensor noise where frames do not differ, of the largest value in them."""

PATIENCE, DIFFERING = 10, 0.05
"""Frames until which the noise must have shown, in so large a share of the numbers: codecs repeat
frames, and what moves takes less of them."""


def _between(low: float, high: float) -> Rule:
    def accepts(value: Any) -> bool:
        real = int | float | np.integer | np.floating
        is_number = isinstance(value, real) and not isinstance(value, bool)
        return is_number and low < float(value) < high

    return Rule(accepts, f"a float in the range ({low}, {high})")


_RULES = {
    "n_components": (integer(1),),
    "memory": (integer(1),),
    "threshold": (_between(0.0, 1e6),),
    "background_share": (_between(0.0, 1.0),),
    "noise": (NONE, _between(0.0, math.inf)),
    "n_threads": (NONE, integer(1)),
}


_DECIDED = ("n_components", "noise")
"""By the first frame."""


class BackgroundMixtures:
    """Tell the moving from the still in a video of a camera that does not move.

    The colours that a pixel has had are a Gaussian mixture of its own, spherical over the channels.
    Every frame makes a step of stepwise EM in all of them at once (Cappe and Moulines 2009); a
    colour that no component explains begins a new one in the place of the lightest, and the
    heaviest components are the background (Stauffer and Grimson 1999).

    Parameters
    ----------
    n_components
        Colours that a pixel's mixture may hold, the moving ones included.
    memory
        Frames after which an old one counts 1/e: the step of frame t is 1 / min(t, memory). What
        stays where it is becomes background after -log(background_share) memory frames, 112 by
        default, once so many have been seen.
    threshold
        A pixel is foreground if it is farther than threshold + sqrt(channels - 1) standard
        deviations from every component of the background. In c channels noise alone is about
        sqrt(c - 1) away.
    background_share
        The heaviest components with this share of the frames are the background.
    noise
        Standard deviation of the sensor noise, in the units of the frames; by default it is found
        from the first frames that differ. New components begin with twice of it, and no component
        is narrower than half of it.
    n_threads
        All available processors by default. The numbers do not depend on it.

    Raises
    ------
    InvalidParameterError
        A setting is not one of these, here or where it is set later on; or ``n_components`` or
        ``noise`` is set once a frame was seen.

    Examples
    --------
    >>> import numpy as np
    >>> from fastgmm import BackgroundMixtures
    >>> camera = np.random.default_rng(0)
    >>> still = camera.integers(60, 200, size=(48, 64))
    >>> background = BackgroundMixtures()
    >>> for t in range(30):
    ...     frame = still + camera.normal(0, 2, size=still.shape)
    ...     if t == 29:
    ...         frame[10:20, 30:40] += 50  # somebody steps into the picture
    ...     moving = background.update(frame)
    >>> int(moving.sum())
    100
    """

    def __init__(
        self,
        n_components: int = 3,
        *,
        memory: int = 500,
        threshold: float = 5.0,
        background_share: float = 0.8,
        noise: float | None = None,
        n_threads: int | None = None,
    ) -> None:
        self.n_frames_ = 0
        self.n_components, self.memory, self.threshold = n_components, memory, threshold
        self.background_share, self.noise, self.n_threads = background_share, noise, n_threads
        self._shape: tuple[int, ...] = ()
        self._noise = noise

    def __setattr__(self, name: str, value: Any) -> None:
        """Set a setting that is one, and that the first frame has not decided."""
        if name in _RULES:
            check_setting(type(self).__name__, name, value, _RULES[name])
            if name in _DECIDED and self.n_frames_ > 0:
                raise InvalidParameterError(
                    f"'{name}' cannot be changed once a frame was seen: make another "
                    "BackgroundMixtures"
                )
        if name == "n_threads":
            self._pool: Pool | None = None  # those that there are end by themselves
        super().__setattr__(name, value)

    def update(self, frame: Any) -> BoolArray:
        """Return which pixels of a frame are foreground, and learn from it.

        ``frame`` is (height, width) or (height, width, channels), of integers or floats; computed
        in float64 if the first one is float64, else in float32. Nothing is foreground until the
        noise is known, which takes two frames as a rule. Returns (height, width).

        Raises DataError for another shape than the first frame's, for NaN or infinity, and for
        noise whose square is no normal number.
        """
        pixels = self._pixels(frame)
        if self.n_frames_ == 0:
            self._begin(pixels)
        elif self._noise is None:
            self._find_noise(pixels)
        if self.n_frames_ == 0 or self._noise is None:
            self.n_frames_ += 1
            return np.zeros(self._shape[:2], dtype=bool)
        moving = self._look(pixels, rate=1 / min(self.n_frames_ + 1, self.memory), learns=True)
        self.n_frames_ += 1
        return moving

    def predict(self, frame: Any) -> BoolArray:
        """Return which pixels of a frame are foreground, and learn nothing.

        Raises NotFittedError before the noise is known, and what :meth:`update` raises.
        """
        if self.n_frames_ == 0 or self._noise is None:
            raise NotFittedError(
                "This BackgroundMixtures does not know the noise yet: call 'update' with more "
                "frames, or give 'noise'."
            )
        return self._look(self._pixels(frame), rate=0.0, learns=False)

    @property
    def weights_(self) -> FloatArray:
        """(height, width, k) shares of the frames; they sum to 1."""
        self._check_seen()
        return self._unfolded(self._mixtures.weights, ())

    @property
    def means_(self) -> FloatArray:
        """(height, width, k, channels) colours."""
        self._check_seen()
        return self._unfolded(self._mixtures.means, self._shape[2:] or (1,))

    @property
    def variances_(self) -> FloatArray:
        """(height, width, k) variances of each channel."""
        self._check_seen()
        return self._unfolded(self._mixtures.variances, ())

    @property
    def background_(self) -> FloatArray:
        """The still picture, in the shape of a frame: each pixel's heaviest component."""
        heaviest = self.weights_.argmax(axis=2)[..., np.newaxis, np.newaxis]
        colours = np.take_along_axis(self.means_, heaviest, axis=2)
        return colours.reshape(self._shape)

    def _pixels(self, frame: Any) -> FloatArray:
        """Check a frame; return its pixels (n, channels)."""
        frame = np.asarray(frame)
        if frame.ndim not in (2, 3) or frame.dtype.kind not in "uif" or frame.size == 0:
            raise DataError(
                "a frame is an array (height, width) or (height, width, channels) of numbers, "
                f"not {frame.shape} of {frame.dtype}"
            )
        if self.n_frames_ and frame.shape != self._shape:
            raise DataError(f"this frame is {frame.shape}, those before were {self._shape}")
        if self.n_frames_:
            dtype = self._mixtures.weights.dtype
        else:
            double = frame.dtype.kind == "f" and frame.dtype.itemsize >= 8
            dtype = np.dtype(np.float64 if double else np.float32)
        with np.errstate(over="ignore"):
            rows = np.ascontiguousarray(frame.reshape(len(frame), -1), dtype=dtype)
        at = kernels.rows.first_not_finite(rows) if frame.dtype.kind == "f" else -1
        if at >= 0:
            row, column = divmod(at // math.prod(frame.shape[2:]), frame.shape[1])
            value = frame.reshape(-1)[at]
            raise DataError(f"the frame is {value} at row {row}, column {column}: no {dtype}")
        if self.n_frames_ == 0:
            self._shape = frame.shape
        return rows.reshape(math.prod(frame.shape[:2]), -1)

    def _begin(self, pixels: FloatArray) -> None:
        """Make the first frame the background."""
        n, n_channels = pixels.shape
        self._plane = -(-n // PIXELS_TOGETHER) * PIXELS_TOGETHER
        k, dtype = self.n_components, pixels.dtype
        weights = np.zeros((k, self._plane), dtype)
        weights[0] = 1.0
        means = np.zeros((k, n_channels, self._plane), dtype)
        means[:, :, :n] = pixels.T
        variances = np.ones((k, self._plane), dtype)
        self._mixtures = kernels.pixels.PixelMixtures(
            weights.ravel(), means.ravel(), variances.ravel()
        )
        if self.noise is not None:
            self._take_noise(float(self.noise))

    def _find_noise(self, pixels: FloatArray) -> None:
        """Find the noise by which a frame differs from the first, if it differs.

        Most pixels are still: the median of what they differ by is 0.6745 sqrt(2) standard
        deviations of the noise. Where that is less than rounding hides, it is half a step of it.
        """
        n, n_channels = pixels.shape
        first = self._mixtures.means[: n_channels * self._plane].reshape(n_channels, -1)[:, :n]
        away = np.abs(pixels.T - first)
        noise = LEAST_NOISE * (float(np.abs(pixels).max()) or 1.0)
        differing = away[away > 0]
        if differing.size > DIFFERING * away.size:
            spread = float(np.median(away)) / (0.6745 * math.sqrt(2))
            noise = max(noise, spread, float(differing.min()) / 2)
        elif self.n_frames_ < PATIENCE:
            return
        self._take_noise(noise)

    def _take_noise(self, noise: float) -> None:
        limits = np.finfo(self._mixtures.variances.dtype)
        least, first = (noise / 2) * (noise / 2), (2 * noise) * (2 * noise)
        if not float(limits.tiny) <= least <= first <= float(limits.max) / 1e12:
            raise DataError(
                f"the square of the noise, {noise:.3g}, is no normal {limits.dtype}: scale the "
                "frames"
            )
        self._mixtures.variances[:] = first
        self._noise = noise

    def _look(self, pixels: FloatArray, rate: float, learns: bool) -> BoolArray:
        number = pixels.dtype.type
        noise = self._noise or 0.0
        step = kernels.pixels.FrameStep(
            number(rate),
            number((self.threshold + math.sqrt(pixels.shape[1] - 1)) ** 2),
            number(self.background_share),
            number((2 * noise) ** 2),
            number((noise / 2) ** 2),
            learns,
        )
        n, mixtures = len(pixels), self._mixtures
        foreground = np.empty(self._plane, pixels.dtype)

        def look(first: int, last: int) -> None:
            first, last = first * PIXELS_TOGETHER, min(last * PIXELS_TOGETHER, n)
            kernels.pixels.look_at_pixels(pixels, first, last, mixtures, step, foreground)

        look(0, 0)  # compiled or loaded on this thread; the others would only wait
        if self._pool is None:
            self._pool = Pool(self.n_threads or available_threads())
        self._pool.share(look, self._plane // PIXELS_TOGETHER)
        moving: BoolArray = (foreground[:n] != 0).reshape(self._shape[:2])
        return moving

    def _unfolded(self, planes: FloatArray, channels: tuple[int, ...]) -> FloatArray:
        n = math.prod(self._shape[:2])
        planes = planes.reshape(self.n_components, *channels, self._plane)[..., :n]
        return np.moveaxis(planes, -1, 0).reshape(*self._shape[:2], *planes.shape[:-1]).copy()

    def _check_seen(self) -> None:
        if self.n_frames_ == 0:
            raise NotFittedError(
                "This BackgroundMixtures has not seen a frame yet: call 'update' with one."
            )

    def __copy__(self) -> "BackgroundMixtures":
        return deepcopy(self)  # which learns by itself

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_pool": None}
