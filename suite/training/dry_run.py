"""Steps that never happened: what one did to a model, its gradients and the random numbers is taken back.

To watch torch's operations is to change some of them: a product over a batch of one, the gradient of SiLU or an index
are computed another way where a mode of dispatch is on, and add up in another order. So a step that is counted is
taken dry, and then once more where nobody watches. It is the model itself that takes both, so that it learns of the
first only afterwards.
"""

from __future__ import annotations

import contextlib
import copy
import random
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import nn

from suite.data import Batch


@contextlib.contextmanager
def dry_run(model: nn.Module) -> Iterator[None]:
    """Takes back what the block does to a model: weights, buffers, gradients, attributes, and to random numbers.

    What lies elsewhere, in a module's globals say, stays as the block leaves it.
    """
    modules = list(model.modules())
    tensors = [*model.parameters(), *model.buffers()]
    gradients = [tensor.grad for tensor in tensors]
    before = [(tensor, tensor.detach().clone()) for tensor in (*tensors, *gradients) if tensor is not None]
    themselves: dict[int, Any] = {id(kept): kept for kept in (*modules, *tensors)}
    attributes = [
        [(name, value, _copied(value, themselves)) for name, value in vars(module).items()] for module in modules
    ]
    devices = list(range(torch.cuda.device_count())) if torch.cuda.is_initialized() else []
    drawn = random.getstate(), np.random.get_state()
    with torch.random.fork_rng(devices=devices):
        yield
    random.setstate(drawn[0])
    np.random.set_state(drawn[1])
    with torch.no_grad():
        for tensor, value in before:
            if not torch.equal(tensor, value):
                tensor.copy_(value)
    for tensor, gradient in zip(tensors, gradients, strict=True):
        tensor.grad = gradient
    for module, own in zip(modules, attributes, strict=True):
        vars(module).clear()
        vars(module).update({name: _restored(value, kept) for name, value, kept in own})


def copied(batch: Batch) -> Batch:
    """Returns a batch with tensors of its own."""
    y = None if batch.y is None else batch.y.clone()
    return replace(batch, x=batch.x.clone(), y=y, index=batch.index.clone())


def _copied(value: Any, themselves: dict[int, Any]) -> Any:
    """A copy that shares what is in ``themselves``; what can't be copied, as a tensor with a history, is shared too."""
    try:
        return copy.deepcopy(value, themselves)
    except Exception:  # whatever a model's own class raises
        return value


def _restored(value: Any, kept: Any) -> Any:
    """What a value was: a container is filled again, since others hold it too, as a hook's handle does its module's."""
    if isinstance(value, dict | set) and value is not kept:
        value.clear()
        value.update(kept)
    elif isinstance(value, list) and value is not kept:
        value[:] = kept
    else:
        return kept
    return value
