"""Floating-point operations as they happen, by torch's own formula for every operator."""

from __future__ import annotations

import contextlib
import random
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from time import process_time
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from suite.errors import ContractError
from suite.training.formulas import (
    flop_registry,
    has_kernel,
    looked_at,
    other_formula,
    own_formula,
    refuse_python,
    registered,
)

#: Of so many steps of training one is counted, in a dry run that costs up to twice its time.
SHARE = 64
#: A step that takes longer than so many usual ones may do something else besides.
LONG = 5.0


class Counter(TorchDispatchMode):
    """Adds up what ``flop_registry`` or ``PRODUCTS`` has a formula for, and by their numbers those in ``MULTIPLYING``.

    The figures are those of torch's ``FlopCounterMode``, which also attributes them to modules and for that
    loads torch's compiler, a second or more of every worker's start. What has a kernel of its own is not taken apart,
    as torch's does, for the parts add up in another order (the gradient of SiLU).

    Attributes:
        flops: Operations so far, two per multiply-add.
        backward: Those of them that computed gradients.
    """

    def __init__(self) -> None:
        super().__init__()
        self.flops = 0
        self.backward = 0
        self._seen: set[str] = set()
        self._depth = 0  # what is taken apart enters again

    def __enter__(self) -> Counter:
        self._depth += 1
        super().__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        self._depth -= 1
        if not self._depth and error[0] is None:
            for name in self._seen:
                refuse_python(name)

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # there is nothing compiled in here that the compiler would have to be kept from

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs, name = kwargs or {}, func.name()
        if own := [kind for kind in types if kind.__torch_dispatch__ is not Tensor.__torch_dispatch__]:
            raise ContractError(f"{name} is asked of {own[0].__name__}, a tensor that answers operators by itself")
        looked_at(name, registered())
        self._seen.add(name)
        formula = flop_registry.get(func.overloadpacket) or own_formula(func.overloadpacket)
        if formula is None and not has_kernel(name):
            with self:  # an operator that is made of others, where autograd has not taken it apart
                parts = func.decompose(*args, **kwargs)
            if parts is not NotImplemented:
                return parts
        result = func(*args, **kwargs)
        if formula is None:
            formula = other_formula(name)
        try:
            flops = formula(*args, **kwargs, out_val=result)
        except Exception:  # a use of the operator that the formula does not know must not end a training
            return result
        self.flops += flops
        if torch._C._current_graph_task_id() >= 0:  # inside autograd's engine
            self.backward += flops
        return result


def sample(n: int, least: int = 1) -> set[int]:
    """Returns one of ``SHARE`` of n steps, on average, from the system's entropy; at least so many."""
    entropy = random.SystemRandom()
    many = n // SHARE + (entropy.random() < n % SHARE / SHARE)
    return set(entropy.sample(range(n), min(n, max(many, least))))


def lingered(seconds: Sequence[float]) -> float:
    """Returns how much longer single steps took than ``LONG`` times what most of them take, in all.

    A sample of the steps says little of a training that fits into one of them.
    """
    usual = statistics.median(seconds) if seconds else 0.0
    return sum(max(0.0, took - LONG * usual) for took in seconds)


class Effort:
    """What a training has cost so far: what is done once is counted, of the steps a sample.

    Which steps are counted comes from the system's entropy: neither a model nor the seed can know, and no stream of
    random numbers moves.

    Args:
        flops: Operations of an earlier part of the same training.
        backward: Those of them that computed gradients.
        outside: Those of these that no step of the loop asked for.

    Attributes:
        seconds: Core-seconds of what was counted apart, and of the loop's steps, since this object was made.
    """

    def __init__(self, flops: float = 0.0, backward: float = 0.0, outside: float = 0.0) -> None:
        self.seconds = 0.0
        self._flops, self._backward, self.outside = flops, backward, outside
        self._steps, self._sample = 0, _Sample()

    @property
    def flops(self) -> float:
        """Operations, the steps' scaled up from the sample."""
        return self._flops + self._sample.flops * self._scale

    @property
    def backward(self) -> float:
        """Those of them that computed gradients."""
        return self._backward + self._sample.backward * self._scale

    @property
    def _scale(self) -> float:
        return self._steps / self._sample.steps if self._sample.steps else 0.0

    @contextlib.contextmanager
    def apart(self) -> Iterator[None]:
        """Adds what the block costs, which is no step of the loop."""
        began = process_time()
        with Counter() as counter:
            yield
        self.seconds += process_time() - began
        self._flops += counter.flops
        self._backward += counter.backward
        self.outside += counter.backward

    def steps(self, n: int) -> Iterator[bool]:
        """Yields for each of n steps whether it is one of the sample; the very first one is."""
        counted = sample(n, least=0) | ({0} if not self._steps else set())
        self._steps += n
        yield from (i in counted for i in range(n))

    @contextlib.contextmanager
    def sampling(self) -> Iterator[None]:
        """Adds what the block costs, which is one step of the sample."""
        with Counter() as counter:
            yield
        self._sample.steps += 1
        self._sample.flops += counter.flops
        self._sample.backward += counter.backward


@dataclass
class _Sample:
    """The steps that were counted, and what they cost together."""

    steps: int = 0
    flops: float = 0.0
    backward: float = 0.0
