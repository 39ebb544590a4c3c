"""A group that crossed the wire is, once it is rebuilt, the group of a model in process, to the bit."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch import distributions as D

from suite.guests.groups import pack, unpack
from suite.measuring.families import FAMILIES, rebuild

RNG = torch.Generator().manual_seed(0)


def numbers(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=RNG)


SENT = [
    D.Normal(numbers(50, 3), numbers(50, 3).exp()),
    D.Laplace(numbers(50, 3), numbers(50, 3).exp()),
    D.MultivariateNormal(numbers(50, 3), scale_tril=torch.eye(3) + numbers(50, 3, 3).tril(-1)),
    D.Bernoulli(logits=numbers(50, 7)),
    D.Categorical(logits=10 * numbers(500, 10)),
    D.Categorical(probs=numbers(500, 10).exp()),
    D.OneHotCategorical(logits=10 * numbers(500, 10)),
    D.Independent(D.Independent(D.Categorical(logits=numbers(50, 4, 4, 10)), 1), 1),
    D.MixtureSameFamily(D.Categorical(logits=numbers(50, 3, 5)), D.Normal(numbers(50, 3, 5), numbers(50, 3, 5).exp())),
]


def parameters(q: Any) -> list[Tensor]:
    if isinstance(q, D.Independent):
        return parameters(q.base_dist)
    if isinstance(q, D.MixtureSameFamily):
        return [*parameters(q.mixture_distribution), *parameters(q.component_distribution)]
    found = [getattr(q, name) for name in FAMILIES[type(q)]]
    return [*found, q.probs] if "logits" in FAMILIES[type(q)] else found


@pytest.mark.parametrize("q", SENT, ids=lambda q: type(q).__name__)
def test_a_distribution_is_rebuilt_from_the_bits_that_it_has_in_process(q: D.Distribution) -> None:
    tensors: list[Tensor] = []
    crossed: Any = unpack(pack(q, tensors), tensors)
    pairs = zip(parameters(rebuild(crossed, "there")), parameters(rebuild(q, "here")), strict=True)
    assert all(torch.equal(there, here) for there, here in pairs)
