"""What is sealed is all that the trained model says, and where it is not, nothing is sealed."""

from __future__ import annotations

import random
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.distributions import Distribution, Normal

from suite.contract import Baseline, DataSpec, Discrete, Latents, TrainSet, Values
from suite.errors import ContractError, TrialTimeout
from suite.measuring.sealing import IMAGES, seal
from suite.training import Recipe, checkpoints
from tests.models import digits


class Plain(Baseline):
    """A linear autoencoder; every model below is this one with one thing kept elsewhere."""

    groups: ClassVar[dict[str, str]] = {"z": "4 units"}

    def __init__(self, spec: DataSpec) -> None:
        super().__init__(spec)
        self.encoder = nn.Linear(spec.pixels, 4)
        self.decoder = nn.Linear(4, spec.pixels)
        self.register_buffer("mean", torch.zeros(spec.pixels))
        self.kept = 0.0

    def fit(self, train: TrainSet) -> None:
        self.mean = train.grey.flatten(1).mean(0)
        self.kept = 1.0

    def encode(self, x: Tensor) -> Latents:
        return {"z": self.encoder(x.flatten(1) - self.mean)}

    def decode(self, values: Values) -> Tensor:
        return (self.decoder(values["z"].float()) + self.mean).view(-1, *self.spec.shape)


class KeptCode(Plain):
    def encode(self, x: Tensor) -> Latents:
        return {"z": super().encode(x)["z"] + self.kept}


class KeptScale(Plain):
    """The means are equal, the noise is not."""

    def encode(self, x: Tensor) -> Latents:
        return {"z": Normal(super().encode(x)["z"], 1 + self.kept)}


class KeptCluster(Plain):
    """A cluster index beside 20,000 others that is off by one."""

    def encode(self, x: Tensor) -> Latents:
        return {"z": Discrete(torch.full((len(x), 4), 20_000 + int(self.kept)), 30_000)}


class KeptLogits(Plain):
    def decode(self, values: Values) -> Tensor:
        return super().decode(values) + self.kept


class KeptPrior(Plain):
    def prior(self, name: str, earlier: Values) -> Distribution:
        return Normal(torch.full((4,), self.kept), 1.0)


class KeptFeatures(Plain):
    def features(self, values: Values) -> Tensor:
        return values["z"] + self.kept


class Born(Plain):
    """What decode needs is made in ``fit`` and is nowhere else."""

    def fit(self, train: TrainSet) -> None:
        self.born = 1.0

    def decode(self, values: Values) -> Tensor:
        return super().decode(values) * self.born


class Grown(Plain):
    """A module that a new model does not have."""

    def fit(self, train: TrainSet) -> None:
        self.more = nn.Linear(2, 2)


class Drawing(Plain):
    """Draws from every global stream while it encodes."""

    def encode(self, x: Tensor) -> Latents:
        noise = torch.randn(len(x), 4) + float(np.random.standard_normal()) + random.random()
        return {"z": super().encode(x)["z"] + noise}


class Priorless(Plain):
    """Its prior ends in an error, trained or loaded: that is the score's matter."""

    def prior(self, name: str, earlier: Values) -> Distribution:
        raise ValueError("no prior")


def trained(cls: type[Baseline]) -> tuple[Baseline, Recipe]:
    recipe = Recipe(cls, digits().spec)
    model = recipe.build()
    model.fit(digits().train_set(labels=False))
    return model, recipe


@pytest.mark.parametrize("cls", [Plain, Drawing, Priorless], ids=lambda cls: cls.__name__)
def test_a_model_that_is_parameters_and_buffers_is_sealed_to_the_last_bit(cls: type[Baseline], tmp_path: Path) -> None:
    model, recipe = trained(cls)
    seal(tmp_path, model, recipe, digits().train.grey, {"steps": 3})
    loaded = recipe.build()
    assert checkpoints.load(tmp_path, loaded) == {"steps": 3}
    assert all(torch.equal(a, b) for a, b in zip(model.buffers(), loaded.buffers(), strict=True))
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), loaded.parameters(), strict=True))


@pytest.mark.parametrize(
    ("cls", "what"),
    [
        (KeptCode, r"group 'z' changed by up to 1;"),
        (KeptScale, r"group 'z' changed by up to 1;"),
        (KeptCluster, r"group 'z' changed by up to 1;"),
        (KeptLogits, r"decode changed by up to 1;"),
        (KeptPrior, r"prior\('z'\) changed"),
        (KeptFeatures, r"features changed by up to 1;"),
        (Born, r"decode ends in an error"),
        (Grown, r"not a checkpoint of this model \(more.weight, more.bias\)"),
    ],
    ids=lambda p: getattr(p, "__name__", ""),
)
def test_a_model_that_keeps_something_elsewhere_is_named_and_not_sealed(
    cls: type[Baseline], what: str, tmp_path: Path
) -> None:
    with pytest.raises(ContractError, match=rf"{cls.__name__} says something else after save and load: {what}"):
        seal(tmp_path, *trained(cls), digits().train.grey, {})
    assert not list(tmp_path.iterdir())


class Studious(Plain):
    """Learns from what it keeps when it is first asked, and then keeps it no longer."""

    def encode(self, x: Tensor) -> Latents:
        if not self.training and float(self.mean.sum()):
            self.decoder.weight.data.mul_(2)
            self.mean = torch.zeros_like(self.mean)
        return super().encode(x)


def test_a_model_that_learns_while_it_answers_is_not_sealed(tmp_path: Path) -> None:
    with pytest.raises(ContractError, match=r"Studious changes '(mean|decoder.weight)' while it answers"):
        seal(tmp_path, *trained(Studious), digits().train.grey, {})
    assert not list(tmp_path.iterdir())


def test_few_images_are_shown_and_an_alarm_that_rings_meanwhile_is_heard(tmp_path: Path) -> None:
    seen: list[int] = []

    class Slow(Plain):
        def encode(self, x: Tensor) -> Latents:
            seen.append(len(x))
            raise TrialTimeout("not done after 1 s")

    with pytest.raises(TrialTimeout):
        seal(tmp_path, *trained(Slow), digits().train.grey, {})
    assert seen == [IMAGES]
