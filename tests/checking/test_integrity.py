"""Planted cheats: each must be caught by a check."""

from __future__ import annotations

import re
import sys
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import Bernoulli, Distribution, Normal

from suite import data
from suite.checking import integrity, rehearsal
from suite.checking.check import Finding, check_baseline
from suite.contract import Baseline, Batch, DataSpec, Latents, TrainSet, Values
from suite.measuring import Frozen
from tests.checking.honest import Honest


def first_failure(cls: type[Baseline]) -> Finding:
    """The first check that fails; the later ones don't run."""
    return next(finding for finding in check_baseline(cls, {}, cls.__name__) if finding.status == "fail")


class BatchMixer(Honest):
    """Centres the codes of a batch: each image's code tells of the others."""

    def encode(self, x: Tensor) -> Latents:
        z = self.encoder(x.flatten(1))
        return {"z": Normal(z - z.mean(0), 0.5)}


class BatchNormalizer(Honest):
    """Refuses eval mode, so that batch statistics stay in force."""

    def __init__(self, spec: DataSpec) -> None:
        super().__init__(spec)
        self.decoder = nn.Sequential(nn.Linear(4, spec.pixels), nn.BatchNorm1d(spec.pixels))

    def train(self, mode: bool = True) -> BatchNormalizer:
        return super().train(True)


class StatePeeker(Honest):
    """Keeps the images that it encodes and hands them out in decode."""

    def encode(self, x: Tensor) -> Latents:
        self.seen = x
        return super().encode(x)

    def decode(self, values: Values) -> Tensor:
        seen = getattr(self, "seen", None)
        return super().decode(values) if seen is None or len(seen) != len(values["z"]) else 20 * seen - 10


class LabelUser(Honest):
    """Wants labels and does not declare it."""

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        return {"loss": super().loss(batch)["loss"] + nn.functional.cross_entropy(self.encoder.weight, batch.y)}


class LabelThief(Honest):
    """Finds the labels further up the stack."""

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        frame: Any = sys._getframe()
        while "dataset" not in frame.f_locals:
            frame = frame.f_back
        y = frame.f_locals["dataset"].train.labels[batch.index]
        z = self.encoder(batch.x.flatten(1))
        return {"loss": super().loss(batch)["loss"] + (z[:, 0] - y).square()}


class Unseeded(Honest):
    """Draws its weights from a stream of its own."""

    def __init__(self, spec: DataSpec) -> None:
        super().__init__(spec)
        rng = torch.Generator()
        rng.seed()
        nn.init.normal_(self.encoder.weight, generator=rng)


class NaNHider(Honest):
    """Gives no number for images with much ink."""

    def encode(self, x: Tensor) -> Latents:
        much = x.mean((1, 2, 3), keepdim=True).flatten(1) > 0.5
        return {"z": Normal(self.encoder(x.flatten(1)) + 1000 * much, 0.5)}

    def decode(self, values: Values) -> Tensor:
        return super().decode(values).masked_fill((values["z"] > 500).any(1).view(-1, 1, 1, 1), torch.nan)


class NoisyEncoder(Honest):
    """Draws the code by itself and hands over the draw."""

    def encode(self, x: Tensor) -> Latents:
        z = self.encoder(x.flatten(1))
        return {"z": z + 0.5 * torch.randn_like(z)}


class SigmoidDecoder(Honest):
    """Hands over probabilities where logits are due."""

    def decode(self, values: Values) -> Tensor:
        return super().decode(values).sigmoid()


class OverriddenSampler(Normal):
    def rsample(self, sample_shape: Any = ()) -> Tensor:
        return self.loc

    def log_prob(self, value: Tensor) -> Tensor:
        return torch.zeros_like(value)


class Liar(Honest):
    """Hands over a distribution that samples without noise."""

    def encode(self, x: Tensor) -> Latents:
        return {"z": OverriddenSampler(self.encoder(x.flatten(1)), 0.5)}


class Forgetful(Honest):
    """Keeps what it fits outside parameters and buffers."""

    shift: float | Tensor = 0.0

    def fit(self, train: TrainSet) -> None:
        self.shift = train.binary.mean(0)

    def decode(self, values: Values) -> Tensor:
        return super().decode(values) + self.shift


class Undeclared(Honest):
    """Sends a group that it does not declare."""

    def encode(self, x: Tensor) -> Latents:
        return {**super().encode(x), "more": x}


@pytest.mark.parametrize(
    ("cheat", "check", "reason"),
    [
        (BatchMixer, "independent rows", r"encode\['z'\]"),
        (BatchNormalizer, "independent rows|stateless", "changed"),
        (StatePeeker, "stateless|independent rows", "decode changed"),
        (LabelUser, "trains", "batch.y is None: the model does not declare supervision"),
        (LabelThief, "blind to labels", "shuffled labels change the model"),
        (Unseeded, "repeatable", "same seed"),
        (NoisyEncoder, "no noise of its own", "encode draws noise of its own .*return the distribution"),
        (SigmoidDecoder, "logits not probabilities", r"never leave \[0, 1\]"),
        (NaNHider, "finite", "not finite"),
        (Liar, "shapes", "OverriddenSampler is not an allowed family"),
        (Forgetful, "round trip", "after save and load"),
        (Undeclared, "shapes", "groups z, more"),
    ],
    ids=lambda p: getattr(p, "__name__", ""),
)
def test_the_cheat_is_caught(cheat: type[Baseline], check: str, reason: str) -> None:
    found = first_failure(cheat)
    assert re.fullmatch(check, found.check), found
    assert re.search(reason, found.reason), found


class Switches(Honest):
    """Bits under a prior of their own: their most probable values are floats, and counts all the same."""

    groups: ClassVar[dict[str, str]] = {"z": "4 bits"}

    def encode(self, x: Tensor) -> Latents:
        return {"z": Bernoulli(logits=self.encoder(x.flatten(1)))}

    def prior(self, group: str, earlier: Values) -> Distribution:
        return Bernoulli(logits=torch.zeros(4))

    def decode(self, values: Values) -> Tensor:
        return super().decode({"z": values["z"].float()})


def test_bits_are_not_disturbed_by_noise() -> None:
    digits = data.load("digits")
    model = Frozen(Switches(digits.spec))
    x = digits.val.grey[:50]
    assert torch.equal(integrity.disturbed(model, x)["z"], model.means(x)["z"])
    assert not torch.equal(integrity.disturbed(Frozen(Honest(digits.spec)), x)["z"], model.means(x)["z"])
    assert integrity.answers.of_decoder(model, integrity.disturbed(model, x))


def test_a_check_that_says_nothing_after_another_failed_is_skipped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rehearsal, "tasks", lambda info: iter(()))
    monkeypatch.setattr(rehearsal, "no_test_image_by_heart", lambda subject: "left out here")
    for cheat, needed, skipped in (
        (Unseeded, "repeatable", ["blind to labels"]),
        (NoisyEncoder, "no noise of its own", ["independent rows", "stateless", "round trip"]),
        (Honest, "", []),
    ):
        found = list(check_baseline(cheat, {}, "model"))
        assert [finding.check for finding in found if finding.status == "fail"] == [needed] * bool(needed)
        assert [finding.check for finding in found if finding.status == "skipped"] == skipped
        assert all(needed in finding.reason for finding in found if finding.status == "skipped")
