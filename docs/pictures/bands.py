"""Draws docs/pictures/bands.png: test images, then their Laplacian and their Haar bands, finest first.

``python -m docs.pictures.bands`` makes it from MNIST; grey is zero, and each three bands sum to the image.
"""

from pathlib import Path

from baselines.skip import decomposition
from suite import data
from suite.measuring import grid, save_png

if __name__ == "__main__":
    images = data.load("mnist").test.grey[:12]
    bands = [(band + 1) / 2 for name in ("laplacian", "haar") for band in decomposition(images, name)]
    save_png(Path(__file__).with_suffix(".png"), grid([images, *bands]))
