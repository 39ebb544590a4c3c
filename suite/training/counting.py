"""Floating-point operations as they happen, by torch's own formula for every operator."""

from __future__ import annotations

import contextlib
import functools
import logging
import math
import random
import statistics
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from time import process_time
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten

#: Of so many steps of training one is counted, in a dry run that costs up to twice its time.
SHARE = 64
#: A step that takes longer than so many usual ones may do something else besides.
LONG = 5.0


def _torchs_own() -> dict[Any, Callable[..., int]]:
    """Torch's formulas. Their module loads triton for kernels that none of them is about, 70 MB of every process."""
    log, alone = logging.getLogger("torch.utils.flop_counter"), "triton" not in sys.modules
    if alone:
        sys.modules["triton"] = None  # type: ignore[assignment]  # as Python marks what is not to be found
        log.disabled = True
    try:
        from torch.utils.flop_counter import flop_registry
    finally:
        if alone:
            del sys.modules["triton"]
            log.disabled = False
    return flop_registry


flop_registry = _torchs_own()


def _layer(inputs: Tensor, *weights: Tensor) -> int:
    return 2 * inputs.shape[:-1].numel() * sum(weight.numel() for weight in weights)


def _three(first: Tensor, second: Tensor, third: Tensor, *expanded: list[int], **_: Any) -> int:
    parts = []
    for factor, places in zip((first, second, third), expanded, strict=False):
        for place in sorted(places):
            factor = factor.unsqueeze(place)
        parts.append(factor.shape)
    return 3 * torch.broadcast_shapes(*parts).numel()


#: Products that torch has no formula for: the overload packet -> operations by its arguments.
_aten = torch.ops.aten
PRODUCTS: dict[Any, Callable[..., int]] = {
    _aten.addbmm: lambda bias, a, b, **_: 2 * a.numel() * b.shape[-1],
    _aten.mv: lambda matrix, vector: 2 * matrix.numel(),
    _aten.addmv: lambda bias, matrix, vector, **_: 2 * matrix.numel(),
    _aten.dot: lambda a, b: 2 * a.numel(),
    _aten.vdot: lambda a, b: 2 * a.numel(),
    _aten._sparse_addmm: lambda bias, sparse, dense, **_: 2 * sparse._nnz() * dense.shape[-1],
    _aten._trilinear: _three,
    _aten._embedding_bag: lambda weight, indices, *_: 2 * indices.numel() * weight.shape[-1],
    _aten._embedding_bag_backward: lambda grad, indices, *_: 2 * indices.numel() * grad.shape[-1],
    _aten._cdist_forward: lambda a, b, *_: 3 * a.numel() * b.shape[-2],
    _aten._euclidean_dist: lambda a, b: 3 * a.numel() * b.shape[-2],
    _aten.mkldnn_rnn_layer: lambda x, inputs, hidden, *_: _layer(x, inputs, hidden),
    _aten.mkldnn_rnn_layer_backward: lambda x, inputs, hidden, *_: 2 * _layer(x, inputs, hidden),
    _aten.linalg_matrix_exp: lambda a: 30 * a.numel() * a.shape[-1],
}

#: Words in the names of operators that multiply matrices, or solve or transform by one. Where no formula is known such
#: an operator counts by its numbers; all else, a sum or a sigmoid, counts nothing.
MULTIPLYING = set(
    """
    addbmm addmm addmv addr attention baddbmm bag bmm cdist cholesky conv conv2d conv3d convolution dot eig eigh encoder
    fft geqrf gru inverse linalg linear lstm lstsq lu matmul mm mv ormqr orgqr pdist qr rnn solve sspaddmm svd
    transformer vdot
    """.split()  # noqa: SIM905  # a list of words
)


def _by_numbers(args: Any, result: Any) -> int:
    """Operations of a product of (m, k) and (k, n), told by how many numbers they and the result have.

    A single matrix is inverted or taken apart.
    """
    taken, given = ([x for x in tree_flatten(y)[0] if isinstance(x, Tensor) and x.dim()] for y in (args, result))
    sizes = sorted((x.numel() for x in taken if x.dim() > 1), reverse=True)
    if len(sizes) > 1 and given:
        return round(2 * math.sqrt(sizes[0] * sizes[1] * max(x.numel() for x in given)))
    return max((2 * x.numel() * min(x.shape[-2:]) for x in taken if x.dim() > 1), default=0)


def _transformed(x: Tensor, dims: Sequence[int], *_: Any) -> int:
    """Five operations for each number and each halving (Cooley & Tukey 1965)."""
    return round(5 * x.numel() * math.log2(max(2, math.prod(x.shape[dim] for dim in dims))))


def _solved(matrix: Tensor, known: Tensor, *_: Any, **__: Any) -> int:
    return matrix.numel() * known.shape[-1]


PRODUCTS |= {
    _aten.addbmm_: PRODUCTS[_aten.addbmm],
    _aten.addmv_: PRODUCTS[_aten.addmv],
    **dict.fromkeys((_aten.addmm_, _aten.baddbmm_), lambda bias, a, b, **_: 2 * a.numel() * b.shape[-1]),
    **dict.fromkeys((_aten.addr, _aten.addr_), lambda bias, a, b, **_: 2 * a.numel() * b.numel()),
    _aten._embedding_bag_forward_only: PRODUCTS[_aten._embedding_bag],
    **dict.fromkeys((_aten._fft_c2c, _aten._fft_c2r, _aten._fft_r2c), _transformed),
    _aten.linalg_solve_triangular: _solved,
    _aten.triangular_solve: lambda known, matrix, *_: _solved(matrix, known),
    _aten._cholesky_solve_helper: lambda known, matrix, *_: 2 * _solved(matrix, known),
    _aten.linalg_lu_solve: lambda matrix, pivots, known, **_: 2 * _solved(matrix, known),
    _aten.linalg_inv_ex: lambda a, **_: 2 * a.numel() * a.shape[-1],
}


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

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # there is nothing compiled in here that the compiler would have to be kept from

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        formula = flop_registry.get(func.overloadpacket) or _own(func.overloadpacket)
        if formula is None and not _has_kernel(func.name()):
            with self:  # an operator that is made of others, where autograd has not taken it apart
                parts = func.decompose(*args, **kwargs)
            if parts is not NotImplemented:
                return parts
        result = func(*args, **kwargs)
        if formula is None:
            formula = _other(func.name())
        try:
            flops = formula(*args, **kwargs, out_val=result)
        except Exception:  # a use of the operator that the formula does not know must not end a training
            return result
        self.flops += flops
        if torch._C._current_graph_task_id() >= 0:  # inside autograd's engine
            self.backward += flops
        return result


def _own(packet: Any) -> Callable[..., int] | None:
    formula = PRODUCTS.get(packet)
    return None if formula is None else lambda *args, out_val, **kwargs: formula(*args, **kwargs)


@functools.cache
def _other(name: str) -> Callable[..., int]:
    """Returns what an operator without a formula counts."""
    words = name.partition("::")[2].partition(".")[0].split("_")
    if MULTIPLYING.isdisjoint(words):
        return lambda *args, **kwargs: 0
    return lambda *args, out_val, **kwargs: _by_numbers((args, kwargs), out_val)


@functools.cache
def _has_kernel(name: str) -> bool:
    """Whether an operator has a kernel of its own on processors or GPUs, and is not only made of others."""
    return any(torch._C._dispatch_has_kernel_for_dispatch_key(name, device) for device in ("CPU", "CUDA"))


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
