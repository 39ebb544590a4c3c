"""Gradients through a guest's decoder: vector-Jacobian products that are asked of its process."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


class Decoded(torch.autograd.Function):
    """Decoding whose gradients are asked of the guest."""

    @staticmethod
    def forward(ctx: Any, guest: Any, names: list[str], *tensors: Tensor) -> Tensor:
        ctx.guest, ctx.tensors = guest, tensors
        ctx.graph, logits = guest.forward(names, [tensor.detach() for tensor in tensors])
        return logits

    @staticmethod
    def backward(ctx: Any, cotangent: Tensor) -> tuple[Tensor | None, ...]:
        floating = [tensor for tensor in ctx.tensors if tensor.is_floating_point()]
        found = iter(ctx.guest.backward(ctx.graph, cotangent, floating))
        return None, None, *(next(found) if tensor.is_floating_point() else None for tensor in ctx.tensors)
