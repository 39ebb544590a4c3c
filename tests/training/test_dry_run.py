"""A dry run leaves no trace: not in a model, not in a gradient, not in a random number."""

from __future__ import annotations

import copy
import random
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.distributions import Normal

from suite import data, training
from suite.contract import Baseline, Batch, DataSpec
from suite.training import counting
from suite.training.counting import Counter
from suite.training.dry_run import copied, dry_run


class Restless(nn.Module):
    """Changes all that a model can change of itself whenever it is asked."""

    calls: int
    history: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.norm = nn.Linear(3, 3), nn.BatchNorm1d(3)
        self.tied = self.layer
        self.register_buffer("count", torch.zeros(()))
        self.calls, self.seen, self.table = 0, [1.0], {"layer": self.layer}
        self.rng = torch.Generator().manual_seed(0)
        self.plain = torch.zeros(2)

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(self.layer(x)) + torch.rand(3, generator=self.rng) + torch.rand(()) + random.random()
        self.count += 1
        self.calls += 1
        self.seen.append(float(np.random.rand()))
        self.plain += 1
        self.history = y  # has a history, so that it can't be copied
        self.layer.weight.data.mul_(0.5)
        self.eval()
        return y


def _told(model: Restless) -> list[Any]:
    gradients = [None if p.grad is None else p.grad.tolist() for p in model.parameters()]
    state = {name: tensor.tolist() for name, tensor in model.state_dict().items()}
    own = [model.calls, list(model.seen), model.plain.tolist(), model.rng.get_state().tolist(), model.training]
    drawn = [random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()]  # type: ignore[index]
    return [state, gradients, own, drawn, hasattr(model, "history")]


def test_nothing_that_a_step_did_is_left() -> None:
    model = Restless()
    model(torch.randn(4, 3)).sum().backward()
    del model.history
    model.train()
    parameters, modules = list(model.parameters()), list(model.modules())
    before, gradient = _told(model), model.layer.weight.grad
    with dry_run(model):
        model.layer.weight.grad = None
        model(torch.randn(4, 3)).sum().backward()
        assert _told(model) != before
    assert _told(model) == before
    assert model.layer.weight.grad is gradient
    assert all(a is b for a, b in zip(model.parameters(), parameters, strict=True))  # what an optimizer holds
    assert all(a is b for a, b in zip(model.modules(), modules, strict=True))
    assert model.tied is model.layer is model.table["layer"]


def test_what_others_hold_of_a_model_stays_its_own() -> None:
    model = Restless()
    seen, calls = model.seen, list[int]()
    handle = model.layer.register_forward_hook(lambda *_: calls.append(1))
    with dry_run(model):
        model(torch.randn(4, 3))
        model.layer.register_forward_hook(lambda *_: calls.append(2))
    assert model.seen is seen
    assert seen == [1.0]
    model.layer(torch.randn(4, 3))
    handle.remove()
    model.layer(torch.randn(4, 3))
    assert calls == [1, 1]  # dry, and once: not that of the dry run, and none after the removal


def test_it_is_the_model_itself_that_runs_dry() -> None:
    """A copy would know from the first line on that its step is counted, and that the others are not."""
    model = Restless()
    known = [id(model), id(model.layer), id(model.layer.weight), model.layer.weight.data_ptr(), id(model.seen)]
    with dry_run(model):
        assert [
            id(model),
            id(model.layer),
            id(model.layer.weight),
            model.layer.weight.data_ptr(),
            id(model.seen),
        ] == known


def test_a_dry_run_has_a_batch_of_its_own() -> None:
    batch = Batch(torch.ones(2, 1, 2, 2), None, torch.arange(2), 0.5)
    other = copied(batch)
    other.x.zero_()
    other.index.zero_()
    assert (batch.x.sum(), batch.index.sum(), other.progress, other.y) == (8, 1, 0.5, None)


def test_the_training_set_is_not_copied_with_the_model_that_keeps_it() -> None:
    kept = data.load("digits").train_set(False)
    assert copy.deepcopy({"train": kept})["train"] is kept


class Broadcasting(Baseline):
    """Codes through a batch of one matrix, which torch multiplies another way where its operations are watched."""

    def __init__(self, spec: DataSpec) -> None:
        super().__init__(spec)
        self.encoder, self.decoder = nn.Linear(spec.pixels, 6), nn.Linear(6, spec.pixels)
        self.register_buffer("mix", torch.randn(1, 3, 3, generator=torch.Generator().manual_seed(0)))
        self.register_buffer("steps", torch.zeros(()))
        self.asked = 0

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        self.asked += 1
        self.steps += 1
        noise = 1e-3 * torch.randn(len(batch.x), 2, 3) * self.asked
        with torch.no_grad():
            mixed = (self.encoder(batch.x.flatten(1)).view(-1, 2, 3) + noise) @ self.mix
        logits = self.decoder(self.encoder(batch.x.flatten(1)) + mixed.flatten(1)).view_as(batch.x)
        return {
            "loss": nn.functional.binary_cross_entropy_with_logits(logits, batch.x, reduction="none").sum((1, 2, 3))
        }

    def encode(self, x: Tensor) -> dict[str, Any]:
        return {"z": self.encoder(x.flatten(1))}

    def prior(self, name: str, earlier: Any) -> Any:
        return Normal(torch.zeros(6), torch.ones(6))

    def decode(self, values: Any) -> Tensor:
        return self.decoder(values["z"]).view(-1, *self.spec.shape)


def _trained(dataset: data.Dataset) -> tuple[dict[str, Tensor], int]:
    model = training.Recipe(Broadcasting, dataset.spec).build()
    training.train(model, dataset, seed=0, budget="smoke")
    return model.state_dict(), model.asked


@pytest.mark.parametrize("often", [1, 3])
def test_how_many_steps_are_counted_moves_no_bit_and_no_attribute(often: int, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.set_num_threads(1)
    dataset = data.load("digits")
    monkeypatch.setattr(counting, "SHARE", 10**6)
    hardly = _trained(dataset)
    monkeypatch.setattr(counting, "SHARE", often)
    others = _trained(dataset)
    assert hardly[1] == others[1] == int(others[0]["steps"])
    assert all(torch.equal(tensor, others[0][name]) for name, tensor in hardly[0].items())


def test_a_dry_run_costs_what_the_step_costs() -> None:
    model, x = nn.Linear(3, 5), torch.ones(4, 3)
    with dry_run(model), Counter() as dry:
        model(x).sum().backward()
    with Counter() as taken:
        model(x).sum().backward()
    assert dry.flops == taken.flops == 2 * 2 * 4 * 3 * 5
    assert model.weight.grad is not None
    assert model.weight.grad[0, 0] == 4  # once, not twice
