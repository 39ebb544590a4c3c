"""Random company: which rows a guest is asked about together, in which order, and how many they are.

A place in a batch, or its size, would say which image is meant or which task asks. So rows come in an order that only
the referee knows, among up to ``MOST`` rows of training images. A guest has the training images and may know these
again; what it cannot do is to count on a batch.
"""

from __future__ import annotations

import torch
from torch import Tensor

from suite import seeds

#: Rows of training images that join a request, at most, and how many come together: kernels of matrix products take
#: rows by four, and add up in another order what is left over. Some take fewer than sixteen another way: that bits are
#: the same in any company holds for requests about no fewer.
MOST, TOGETHER = 32, 4
#: Rows by which it is told whether images are binary.
LOOKED_AT = 8

#: What rows look like: the request, and of each tensor its type, its shape but for the rows, whether it is binary.
Look = tuple[object, ...]


class Company:
    """Mixes rows with others and puts answers back in their order.

    Args:
        secret: From which order and number come, request by request.
    """

    def __init__(self, secret: str) -> None:
        self._secret, self._asked = secret, 0
        self._known: dict[Look, list[Tensor]] = {}

    def remember(self, what: str, tensors: list[Tensor], n: int) -> None:
        """Keeps the first rows of a request about training images, for later ones that look alike."""
        if _all_rows(tensors, n):
            look = _look(what, tensors)
            if len(self._known.get(look, [tensors[0][:0]])[0]) < min(n, MOST):
                self._known[look] = [tensor[:MOST].detach().clone() for tensor in tensors]

    def mix(self, what: str, tensors: list[Tensor], n: int) -> tuple[list[Tensor], Tensor, int]:
        """Returns the tensors of a request in company.

        Args:
            what: The request.
            tensors: With n rows each; one of another length is left as it is.
            n: How many rows are asked about.

        Returns:
            The tensors, where each of the n rows now stands, (n,), and how many rows there are.
        """
        self._asked += 1
        rng = seeds.torch_rng("company", self._secret, self._asked)
        others = self._known.get(_look(what, tensors)) if _all_rows(tensors, n) else None
        if others is not None:
            chosen = torch.randperm(len(others[0]), generator=rng)
            chosen = chosen[: TOGETHER * int(torch.randint(len(chosen) // TOGETHER + 1, (), generator=rng))]
            tensors = [torch.cat([mine, theirs[chosen]]) for mine, theirs in zip(tensors, others, strict=True)]
            total = n + len(chosen)
        else:
            total = n
        order = torch.randperm(total, generator=rng)
        mixed = [tensor[order] if len(tensor) == total else tensor for tensor in tensors]
        return mixed, torch.argsort(order)[:n], total

    def shuffled(self, tensors: list[Tensor]) -> list[Tensor]:
        """Returns tensors whose rows are no image's, in an order of their own."""
        self._asked += 1
        n = len(tensors[0]) if tensors[0].ndim else 0
        order = torch.randperm(n, generator=seeds.torch_rng("company", self._secret, self._asked))
        return [tensor[order] for tensor in tensors]


def _all_rows(tensors: list[Tensor], n: int) -> bool:
    return bool(tensors) and all(len(tensor) == n for tensor in tensors)


def _look(what: str, tensors: list[Tensor]) -> Look:
    return what, *((tensor.dtype, tensor.shape[1:], _binary(tensor[:LOOKED_AT])) for tensor in tensors)


def _binary(some: Tensor) -> bool:
    return bool(((some == 0) | (some == 1)).all())
