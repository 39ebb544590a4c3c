"""Steps that never happened: what one did to a model, its gradients and the random numbers is taken back.

To watch torch's operations is to change some of them: a product over a batch of one, the gradient of SiLU or an index
are computed another way where a mode of dispatch is on, and add up in another order. So a step that is counted is
taken dry, and then once more where nobody watches. It is the model itself that takes both, on batches that are made
alike, and no line of the model's runs to remember what it was.
"""

from __future__ import annotations

import contextlib
import random
import types
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from suite.data import Batch, TrainSet

#: How many objects of a model are looked at: one that refers to half a library is not followed through all of it.
MOST_OBJECTS = 20_000

#: What has no state of a model's in it.
_SKIPPED = (
    str,
    bytes,
    int,
    float,
    complex,
    type,
    types.ModuleType,
    types.FunctionType,
    types.BuiltinFunctionType,
    TrainSet,
)


@contextlib.contextmanager
def dry_run(model: nn.Module) -> Iterator[None]:
    """Takes back what the block does to a model: weights, buffers, gradients, attributes, and to random numbers.

    All is put back in place, so that whoever holds a part of the model holds it afterwards. What lies elsewhere, in a
    module's globals say, stays as the block leaves it.
    """
    before = _remembered(model)
    devices = list(range(torch.cuda.device_count())) if torch.cuda.is_initialized() else []
    drawn = random.getstate(), np.random.get_state()
    with torch.random.fork_rng(devices=devices):
        yield
    random.setstate(drawn[0])
    np.random.set_state(drawn[1])
    with torch.no_grad():
        for undo in before:
            undo()


def copied(batch: Batch) -> Batch:
    """Returns a batch with tensors of its own."""
    y = None if batch.y is None else batch.y.clone()
    return replace(batch, x=batch.x.clone(), y=y, index=batch.index.clone())


def _remembered(model: nn.Module) -> list[Callable[[], object]]:
    """What puts back the state of all objects that a model consists of."""
    found: list[Callable[[], object]] = []
    seen: dict[int, Any] = {}
    waiting: list[Any] = [model]
    while waiting and len(seen) < MOST_OBJECTS:
        value = waiting.pop()
        if value is None or isinstance(value, _SKIPPED) or id(value) in seen:
            continue
        seen[id(value)] = value
        undo, parts = _state(value)
        found += [undo] if undo else []
        waiting += parts
    return found


def _state(value: Any) -> tuple[Callable[[], object] | None, list[Any]]:
    """Returns what puts an object's own state back, if it has any, and what is in it; no method of its class is run."""
    if isinstance(value, dict):
        kind = OrderedDict if isinstance(value, OrderedDict) else dict
        items = dict(kind.items(value))
        return partial(_refill, kind, value, items), list(items.values())
    if isinstance(value, list):
        return partial(list.__setitem__, value, slice(None), list(list.__iter__(value))), list(list.__iter__(value))
    if isinstance(value, set):
        return partial(_refill, set, value, set(set.__iter__(value))), []
    if isinstance(value, tuple):
        return None, list(tuple.__iter__(value))
    if isinstance(value, Tensor):
        leaf = value.grad if value.is_leaf else None
        alone = value.is_leaf or not value.requires_grad  # what has a history was made by a step, and is replaced
        return partial(_rewrite, value, value.detach().clone(), leaf) if alone else None, [leaf]
    if type(value) is np.ndarray:
        return partial(np.copyto, value, value.copy()), []
    if type(value) is torch.Generator:
        return partial(value.set_state, value.get_state()), []
    if type(value) is np.random.Generator:
        return partial(setattr, value.bit_generator, "state", value.bit_generator.state), []
    if type(value) in (random.Random, np.random.RandomState):
        names = ("getstate", "setstate") if type(value) is random.Random else ("get_state", "set_state")
        return partial(getattr(value, names[1]), getattr(value, names[0])()), []
    try:
        return None, [object.__getattribute__(value, "__dict__")]
    except (AttributeError, TypeError):
        return None, []


def _refill(kind: type[dict[Any, Any]] | type[set[Any]], value: Any, kept: Any) -> None:
    kind.clear(value)
    kind.update(value, kept)


def _rewrite(tensor: Tensor, kept: Tensor, gradient: Tensor | None) -> None:
    if not torch.equal(tensor, kept):
        tensor.copy_(kept)
    if tensor.is_leaf:
        tensor.grad = gradient
