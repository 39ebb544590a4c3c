"""Floating-point operations of encoding and decoding one image, by torch's own formula for every operator."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from suite.data import Dataset
from suite.errors import TrialTimeout
from suite.measuring.trust import Frozen
from suite.seeds import global_seed
from suite.training import Counter

#: Images that are counted together: a model may treat a single one in a way of its own.
IMAGES = 4


@dataclass(frozen=True)
class Coding:
    """Operations of encoding and decoding without noise, two per multiply-add.

    Attributes:
        per_image: Of one image of ``IMAGES``, all told.
        fixed: Those that a model takes before its first answer or with each, however many images there are.
        unit: Per image, what grows with the images and takes no gradients: what a budget is reckoned in.
    """

    per_image: int
    fixed: int = 0
    unit: int = 0

    @staticmethod
    def of(counts: tuple[int, int], twice: tuple[int, int]) -> Coding:
        """Tells what is fixed from what grows.

        Args:
            counts: Operations of ``IMAGES`` images, and those of them that took gradients.
            twice: The same of twice as many, asked of a model that has not answered yet either.
        """
        # What is done once and kept may show in either.
        fixed, fixed_gradients = (abs(2 * one - two) for one, two in zip(counts, twice, strict=True))
        growing = max(0, counts[0] - fixed) - max(0, counts[1] - fixed_gradients)
        return Coding(counts[0] // IMAGES, fixed, max(0, growing) // IMAGES)


def coding(model: Frozen, dataset: Dataset) -> Coding | None:
    """Counts what a model of the repository takes for the first training images; None where it does not get so far."""
    counted = count(lambda: model, dataset.train.grey[:IMAGES])
    return None if counted is None else Coding(counted[0] // IMAGES, 0, counted[0] // IMAGES)


def count(model: Callable[[], Frozen], images: Tensor) -> tuple[int, int] | None:
    """Counts the operations of making a model ready, encoding images (N, C, H, W) and decoding what they become.

    Returns:
        All of them, and those that took gradients; None where the model does not get so far.
    """
    try:
        with Counter() as counter, global_seed("flops"), _layer_by_layer():
            asked = model()
            asked.decode(asked.means(images))
    except TrialTimeout:
        raise
    except Exception:
        return None
    return counter.flops, counter.backward


@contextlib.contextmanager
def _layer_by_layer() -> Iterator[None]:
    """Has torch run a transformer's layers as in training: what it has in one piece for inference counts nothing."""
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)
