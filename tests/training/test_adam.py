"""The training loop's Adam is torch's, bit for bit."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from suite.training.adam import Adam


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 5), nn.Linear(5, 5, bias=False))


def loss(model: nn.Module, step: int) -> Tensor:
    torch.manual_seed(step)
    images = torch.randn(7, 1, 8, 8)
    # The last layer joins in later, and some steps leave it out: its own count of steps matters.
    return (model(images) if step > 2 and step % 3 else model[:-1](images)).square().mean()


@pytest.mark.parametrize("fused", [True, False])
def test_the_steps_are_those_of_torchs_own_class(fused: bool) -> None:
    one, other = network(), network()
    ours, theirs = Adam(one.parameters(), 1e-2, fused), torch.optim.Adam(other.parameters(), lr=1e-2, fused=fused)
    for step in range(20):
        ours.lr = theirs.param_groups[0]["lr"] = 1e-2 / (1 + step)
        for adam, model in ((ours, one), (theirs, other)):
            adam.zero_grad()
            loss(model, step).backward()
            adam.step()
    start = network()
    for a, b, before in zip(one.parameters(), other.parameters(), start.parameters(), strict=True):
        assert torch.equal(a, b)
        assert not torch.equal(a, before)
    assert ours.state[4]["step"] == 11 and ours.state[0]["step"] == 20


def test_without_any_gradient_nothing_moves() -> None:
    model = network()
    adam = Adam(model.parameters(), 1.0)
    adam.step()
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), network().parameters(), strict=True))
    assert not adam.state


def test_the_state_lies_in_memory_as_the_weights_do() -> None:
    model = network().to(memory_format=torch.channels_last)
    adam = Adam(model.parameters(), 1e-3)
    weights = next(model.parameters())
    assert adam.state_of(0)["exp_avg"].stride() == weights.stride()
    assert adam.state_of(0) is adam.state_of(0)
