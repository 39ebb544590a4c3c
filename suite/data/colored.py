"""Coloured, thickened variants of the grey datasets, made on the fly, with every image's factors known.

``colored:mnist`` holds MNIST's images, splits and labels, each stroke thickened and inked by factors drawn from
a stream of its split: what an image shows (its class) and how it looks (ink, stroke) are independent by design,
so that a model's claim to hold them apart can be checked.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.nn import functional as F

if TYPE_CHECKING:
    from torch import Tensor

#: Seed of the factors' streams (``numpy.random.RandomState``, frozen by NumPy's promise).
SEED = 20
#: Width in pixels of the neighbourhood whose maximum is the thickest stroke.
WIDEST_BRUSH = 3
#: Each split has a stream of its own.
STREAMS = {"train": 0, "val": 1, "test": 2}


def paint(grey: Tensor, split: str) -> tuple[Tensor, dict[str, Tensor]]:
    """Thickens and inks the images of a split.

    Args:
        grey: (N, 1, H, W) in [0, 1], bright strokes on black.
        split: ``"train"``, ``"val"`` or ``"test"``.

    Returns:
        Images (N, 3, H, W) in [0, 1], and the factors: ``colour`` (N, 3), the ink's red, green and blue, a pure
        hue; ``thickness`` (N, 1) in [0, 1), from the stroke as it is to one of a pixel more on each side.
    """
    import numpy as np

    stream = np.random.RandomState([SEED, STREAMS[split]])
    hue, thickness = (torch.from_numpy(u).to(grey) for u in stream.random_sample((2, len(grey))))
    widest = F.max_pool2d(grey, WIDEST_BRUSH, stride=1, padding=WIDEST_BRUSH // 2)
    stroke = torch.lerp(grey, widest, thickness.view(-1, 1, 1, 1))
    colour = pure(hue)
    return stroke * colour.view(-1, 3, 1, 1), {"colour": colour, "thickness": thickness.unsqueeze(1)}


def pure(hue: Tensor) -> Tensor:
    """Returns the red, green and blue (N, 3) of fully saturated, fully bright hues (N,) in [0, 1)."""
    offsets = hue.new_tensor([5, 3, 1]) / 6
    turn = (hue.unsqueeze(1) + offsets) % 1 * 6
    return 1 - torch.minimum(turn, 4 - turn).clamp(0, 1)
