"""Pairs of test images, the same for every model, seed and noise: what swaps and interpolations are made of."""

from __future__ import annotations

import torch
from torch import Tensor

from suite.seeds import torch_rng


def draw_pairs(labels: Tensor, count: int, *, same_class: bool) -> Tensor:
    """Returns pairs of different images, each image at most once as the first of a pair.

    Args:
        labels: int64 (N,).
        count: How many pairs; fewer where there are fewer images or an image has no partner.
        same_class: Whether the two are of one class, or of two.

    Returns:
        int64 (P, 2), positions in ``labels``, on its device.
    """
    rng, known = torch_rng("pairs", same_class), labels.cpu()
    first = torch.randperm(len(known), generator=rng)[:count]
    allowed = (known[first].unsqueeze(1) == known) == same_class
    allowed[torch.arange(len(first)), first] = False
    paired = allowed.any(1)
    if not paired.any():
        return torch.empty(0, 2, dtype=torch.long, device=labels.device)
    second = torch.multinomial(allowed[paired].float(), 1, generator=rng).squeeze(1)
    return torch.stack([first[paired], second], 1).to(labels.device)
