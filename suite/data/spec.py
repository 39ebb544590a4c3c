"""What a baseline may know of the data: their shape, the training split, one batch of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class DataSpec:
    """What a baseline may know of the data before it sees any.

    Attributes:
        name: The dataset's name.
        shape: (channels, height, width) of an image.
        classes: Number of labels.
        train_images: Size of the training split.
    """

    name: str
    shape: tuple[int, int, int]
    classes: int
    train_images: int

    @property
    def pixels(self) -> int:
        """D, the number of Bernoulli variables of an image (channels x height x width)."""
        c, h, w = self.shape
        return c * h * w


@dataclass(frozen=True)
class TrainSet:
    """The training split as ``fit`` and ``after_epoch`` see it (the device is the model's).

    Attributes:
        grey: float32 in [0, 1], shape (N, C, H, W).
        binary: float32 in {0, 1}: the one fixed binarized draw of ``grey``.
        labels: int64 (N,), only where the baseline declares ``supervision``; else None.
    """

    grey: Tensor
    binary: Tensor
    labels: Tensor | None

    def __deepcopy__(self, memo: object) -> TrainSet:
        """Itself: a model that keeps it keeps the one set there is, however often it is copied."""
        return self


@dataclass(frozen=True)
class Batch:
    """One training batch.

    Attributes:
        x: (N, C, H, W), input and target: freshly binarized, or grey where ``trains_on = "grey"``.
        y: int64 (N,), only where the baseline declares ``supervision``; else None.
        index: int64 (N,), positions in the training split.
        progress: Share of the budget already presented, in [0, 1).
    """

    x: Tensor
    y: Tensor | None
    index: Tensor
    progress: float
