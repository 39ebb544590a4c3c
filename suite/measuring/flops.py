"""Floating-point operations of encoding and decoding one image, by torch's own formula for every operator."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch
from torch import Tensor

from suite.data import Dataset
from suite.errors import TrialTimeout
from suite.measuring.trust import Frozen
from suite.seeds import global_seed
from suite.training import Counter

#: Images that are counted together: a model may treat a single one in a way of its own.
IMAGES = 4


def flops_per_image(model: Frozen, dataset: Dataset) -> int | None:
    """Counts the operations of encoding and decoding one image without noise, two per multiply-add.

    Args:
        model: The frozen baseline.
        dataset: Its first training images are what is encoded.

    Returns:
        The operations per image, or None where the model does not get so far.
    """
    return flops_of(model, dataset.train.grey[:IMAGES])


def flops_of(model: Frozen, images: Tensor) -> int | None:
    """Counts as ``flops_per_image`` does, on images (N, C, H, W)."""
    try:
        with Counter() as counter, global_seed("flops"), _layer_by_layer():
            model.decode(model.means(images))
    except TrialTimeout:
        raise
    except Exception:
        return None
    return counter.flops // len(images)


@contextlib.contextmanager
def _layer_by_layer() -> Iterator[None]:
    """Has torch run a transformer's layers as in training: what it has in one piece for inference counts nothing."""
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)
