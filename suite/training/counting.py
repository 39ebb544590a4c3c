"""Floating-point operations as they happen, by torch's own formula for every operator."""

from __future__ import annotations

import contextlib
import functools
import random
from collections.abc import Iterator
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

#: Of so many steps of training one is counted. Counting costs a step of small networks half of its time.
SHARE = 32


class Counter(TorchDispatchMode):
    """Adds up what ``flop_registry`` has a formula for; all else, a sum or a sigmoid, counts nothing.

    The figures are those of torch's ``FlopCounterMode``, which also attributes them to modules and for that
    loads torch's compiler, a second or more of every worker's start. It changes no number: what has a kernel of its own
    is not taken apart, as torch's does, for the parts add up in another order (the gradient of SiLU).

    Attributes:
        flops: Operations so far, two per multiply-add.
        backward: Those of them that computed gradients.
    """

    def __init__(self) -> None:
        super().__init__()
        self.flops = 0
        self.backward = 0

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # there is nothing compiled in here that the compiler would have to be kept from

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        formula = flop_registry.get(func.overloadpacket)
        if formula is None:
            if _has_kernel(func.name()):
                return func(*args, **kwargs)
            with self:  # an operator that is made of others, where autograd has not taken it apart
                parts = func.decompose(*args, **kwargs)
            return func(*args, **kwargs) if parts is NotImplemented else parts
        result = func(*args, **kwargs)
        try:
            flops = formula(*args, **kwargs, out_val=result)
        except Exception:  # a use of the operator that the formula does not know must not end a training
            return result
        self.flops += flops
        if torch._C._current_graph_task_id() >= 0:  # inside autograd's engine
            self.backward += flops
        return result


@functools.cache
def _has_kernel(name: str) -> bool:
    """Whether an operator has a kernel of its own on processors or GPUs, and is not only made of others."""
    return any(torch._C._dispatch_has_kernel_for_dispatch_key(name, device) for device in ("CPU", "CUDA"))


def sample(n: int) -> set[int]:
    """Returns one of ``SHARE`` of n steps, from the system's entropy, at least one."""
    return set(random.SystemRandom().sample(range(n), -(-n // SHARE)))


class Effort:
    """What a training has cost so far: what is done once is counted, of the steps a sample.

    Which steps are counted comes from the system's entropy: neither a model nor the seed can know, and no stream of
    random numbers moves.

    Attributes:
        flops: Operations, the steps' scaled up from the sample.
        backward: Those of them that computed gradients.
        outside: Those of these that no step of the loop asked for.
    """

    def __init__(self, flops: float = 0.0, backward: float = 0.0, outside: float = 0.0) -> None:
        self.flops, self.backward, self.outside = flops, backward, outside

    @contextlib.contextmanager
    def counting(self, weight: float = 1.0) -> Iterator[None]:
        """Adds what the block costs, ``weight`` times."""
        with Counter() as counter:
            yield
        self.flops += weight * counter.flops
        self.backward += weight * counter.backward

    @contextlib.contextmanager
    def apart(self) -> Iterator[None]:
        """Adds what the block costs, which is no step of the loop."""
        before = self.backward
        with self.counting():
            yield
        self.outside += self.backward - before

    def steps(self, n: int) -> Iterator[contextlib.AbstractContextManager[None]]:
        """Yields, for each of n steps, what it is to run in."""
        counted = sample(n)
        for i in range(n):
            yield self.counting(n / len(counted)) if i in counted else contextlib.nullcontext()
