"""Floating-point operations of an operator: by torch's own formula, by one of ours, or by how many numbers it has."""

from __future__ import annotations

import functools
import logging
import math
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_flatten

from suite.errors import ContractError


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


#: Keys of torch's dispatcher under which a kernel does an operator's work, or decides what does.
WORKING = ("ADInplaceOrView", "Autograd", "BackendSelect", "CPU", "CUDA", "Composite", "Conjugate", "Negative", "Zero")

#: Where a compiled kernel says that it was registered, and where torch keeps those of its own that are not.
COMPILED, TORCHS = re.compile(r"\.(cpp|cc|cxx|cu|cuh|h|hpp|mm):\d+$"), f"{Path(torch.__file__).parent}/_native/"


def registered() -> int:
    """How many kernels and operators Python code has given torch, and has not taken back."""
    return len(torch.library._impls) + len(torch.library._defs)


@functools.cache
def looked_at(name: str, registered: int) -> None:
    """Looks at an operator where it has not been looked at since Python code last gave torch something."""
    refuse_python(name)


def refuse_python(name: str) -> None:
    """Refuses an operator that runs Python where no mode sees it: it could do anything, and count nothing.

    Raises:
        ContractError: If it has such a kernel.
    """
    for line in torch._C._dispatch_dump(name).splitlines():
        key, _, where = line.partition(": registered at ")
        place = where.partition(" :: ")[0]
        if key.startswith(WORKING) and not COMPILED.search(place) and not place.startswith(TORCHS):
            raise ContractError(f"the operator {name} has a kernel in Python, whose operations nobody counts")


def own_formula(packet: Any) -> Callable[..., int] | None:
    formula = PRODUCTS.get(packet)
    return None if formula is None else lambda *args, out_val, **kwargs: formula(*args, **kwargs)


@functools.cache
def other_formula(name: str) -> Callable[..., int]:
    """Returns what an operator without a formula counts."""
    words = name.partition("::")[2].partition(".")[0].split("_")
    if MULTIPLYING.isdisjoint(words):
        return lambda *args, **kwargs: 0
    return lambda *args, out_val, **kwargs: _by_numbers((args, kwargs), out_val)


@functools.cache
def has_kernel(name: str) -> bool:
    """Whether an operator has a kernel of its own on processors or GPUs, and is not only made of others."""
    return any(torch._C._dispatch_has_kernel_for_dispatch_key(name, device) for device in ("CPU", "CUDA"))
