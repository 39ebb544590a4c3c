"""The likelihood of an image: every pixel is a Bernoulli variable whose logit the decoder gives."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def floor_logits(bits: Tensor) -> Tensor:
    """Logits of the add-one pixel histogram (n_i + 1) / (N + 2) of training bits (N, ...): the floor."""
    ones = bits.sum(0, dtype=torch.float64) + 1
    return (ones / (len(bits) + 2 - ones)).log().to(bits.dtype)


def bernoulli_nats(logits: Tensor, bits: Tensor) -> Tensor:
    """-log p(b) of independent Bernoullis, per pixel, broadcast over leading dimensions."""
    return F.softplus(logits) - bits * logits


def image_nats(logits: Tensor, x: Tensor) -> Tensor:
    """-log p(x) of independent Bernoullis, summed over the pixels of each image, (N,): what a baseline trains on."""
    return F.binary_cross_entropy_with_logits(logits, x, reduction="none").flatten(1).sum(1)
