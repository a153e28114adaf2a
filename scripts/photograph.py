"""A photograph in eight colours: a mixture fitted to its pixels by the ``fastgmm`` command.

The pixels of a picture that scikit-learn ships become Parquet columns r, g, b; the command fits
eight components and labels every pixel; each label is painted in its component's mean colour.
"""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image
from sklearn.datasets import load_sample_image

from fastgmm import GaussianMixture

COLOURS = 8


def fastgmm(*arguments: str | Path) -> None:
    """Show a command and run it."""
    command = [str(argument) for argument in arguments]
    print(f"$ fastgmm {' '.join(command)}", flush=True)
    subprocess.run([sys.executable, "-m", "fastgmm", *command], check=True)


def main(folder: Path) -> None:
    """Fit, label and paint the photograph; everything is kept in ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    pixels, model, labels = (
        folder / f"photograph{ending}" for ending in (".parquet", ".npz", "-labels.npy")
    )
    photograph = load_sample_image("china.jpg")
    height, width, _ = photograph.shape
    print(f"\nThe {height * width:,} pixels of a photograph, as Parquet columns r, g, b")
    channels = photograph.reshape(-1, 3).T
    pq.write_table(pa.table(dict(zip("rgb", channels, strict=True))), pixels)

    fastgmm("fit", pixels, "-k", str(COLOURS), "-o", model)
    fastgmm("predict", pixels, "-m", model, "-o", labels)

    colours = GaussianMixture.load(model).means_.round().clip(0, 255).astype(np.uint8)
    painted = colours[np.load(labels)].reshape(height, width, 3)
    picture = folder / "photograph.png"
    Image.fromarray(np.concatenate([photograph, painted], axis=1)).save(picture)
    print(f"picture: {picture} (the photograph, and in {COLOURS} colours)")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
