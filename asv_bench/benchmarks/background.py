"""How long does a frame of a video take?"""

import os

import numpy as np

from fastgmm import BackgroundMixtures

SHAPE = (48, 64) if "FASTGMM_BENCH_ROWS" in os.environ else (480, 640)


class Frame:
    """A frame of noise on a still picture, once the mixtures of its pixels are known."""

    params = ([1, 3],)
    param_names = ("channels",)

    def setup(self, channels):
        """Watch twenty frames."""
        generator = np.random.default_rng(0)
        still = generator.uniform(40, 200, size=(*SHAPE, channels))
        noisy = (still + generator.normal(0, 3, size=still.shape) for _ in range(4))
        self.frames = [np.rint(frame).astype(np.uint8) for frame in noisy]
        self.background = BackgroundMixtures()
        for t in range(20):
            self.background.update(self.frames[t % 4])

    def time_update(self, channels):
        """Tell what moves in four frames, and learn from them."""
        for frame in self.frames:
            self.background.update(frame)
