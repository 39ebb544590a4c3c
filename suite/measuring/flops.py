"""Floating-point operations of encoding and decoding one image, by torch's own formula for every operator."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

import torch

from suite.data import Dataset
from suite.errors import TrialTimeout
from suite.measuring.trust import Frozen
from suite.seeds import global_seed
from suite.training import Counter

#: Images that are counted together: a model may treat a single one in a way of its own.
IMAGES = 4


#: Operations, and those of them that took gradients.
Count = tuple[int, int]


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
    def of(n: int, once: Count, twice: Count, beside: tuple[int, int] = (0, 0)) -> Coding:
        """Tells what is fixed from what grows.

        Args:
            n: How many images.
            once: Operations of coding these, and those of them that took gradients.
            twice: The same of twice as many, asked of a model that has not answered yet either.
            beside: What priors and features took of both: fixed alone is read from it.
        """
        # What is done once and kept may show in either.
        fixed, fixed_gradients = (abs(2 * a - b) for a, b in zip(once, twice, strict=True))
        growing = max(0, once[0] - fixed) - max(0, once[1] - fixed_gradients)
        per_image = (fixed + IMAGES * (twice[0] - once[0]) // n) // IMAGES
        return Coding(max(0, per_image), fixed + abs(2 * beside[0] - beside[1]), max(0, growing) // n)


def coding(model: Frozen, dataset: Dataset) -> Coding | None:
    """Counts what a model of the repository takes for the first training images; None where it does not get so far."""
    try:
        with Counter() as counter, global_seed("flops"), layer_by_layer():
            model.decode(model.means(dataset.train.grey[:IMAGES]))
    except TrialTimeout:
        raise
    except Exception:
        return None
    return Coding(counter.flops // IMAGES, 0, counter.flops // IMAGES)


@contextlib.contextmanager
def layer_by_layer() -> Iterator[None]:
    """Has torch run a transformer's layers as in training: what it has in one piece for inference counts nothing."""
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)
