"""Planted cheats: each must be caught by a score, or pay the whole charge."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import replace
from typing import ClassVar

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import Categorical, Distribution, Normal

from suite import data, seeds
from suite.checking import rehearsal
from suite.checking.integrity import Caught, Specimen
from suite.contract import DataSpec, Discrete, Latents, Task, TrainSet, Values
from suite.measuring import Measure, Metric, Score, Subject
from suite.measuring.pricing import charge
from suite.measuring.trust import Frozen
from suite.plugins import registry
from tests.checking.honest import Honest


class Memorizer(Honest):
    """Knows the test images by heart and sends their number; of any other image, whether it has much ink."""

    groups: ClassVar[dict[str, str]] = {"z": "little ink, much ink, or the number of a test image"}

    def __init__(self, spec: DataSpec) -> None:
        super().__init__(spec)
        known = data.load("digits").test.binary
        self.register_buffer("logits", torch.cat([torch.zeros(2, *spec.shape), 10 * known - 5]))

    def fit(self, train: TrainSet) -> None:
        for i in (0, 1):
            rows = train.binary[self.much_ink(train.binary) == i]
            self.logits[i] = torch.logit((rows.sum(0) + 1) / (len(rows) + 2))

    def much_ink(self, x: Tensor) -> Tensor:
        return (x.mean((1, 2, 3)) > 0.31).long()

    def encode(self, x: Tensor) -> Latents:
        same = torch.cdist(10 * x.flatten(1) - 5, self.logits[2:].flatten(1)) < 1
        z = torch.where(same.any(1), same.int().argmax(1) + 2, self.much_ink(x))
        return {"z": Discrete(z, len(self.logits))}

    def decode(self, values: Values) -> Tensor:
        return self.logits[values["z"]]


def test_a_model_that_knows_the_test_images_by_heart_is_caught_by_shifting_them() -> None:
    subject = Specimen.grow(Memorizer, {}, data.load("digits")).subject()
    with pytest.raises(Caught, match="shifted test images cost"):
        rehearsal.no_test_image_by_heart(subject)


def test_a_model_that_knows_how_the_test_images_were_binarized_is_caught_by_a_secret_draw() -> None:
    specimen = Specimen.grow(Memorizer, {}, data.load("digits"))
    with pytest.raises(Caught, match="secret noise seed"):
        rehearsal.same_under_secret_noise(task("reconstruction"), *rehearsal.public_and_secret(specimen))


class NoiseReplayer(Honest):
    """Hides its code in noise that nobody charges, and takes the published noise out again."""

    groups: ClassVar[dict[str, str]] = {"z": "a code of blocks under a noise a thousand times as wide"}
    WIDE = 1000.0

    def encode(self, x: Tensor) -> Latents:
        return {"z": Normal(nn.functional.avg_pool2d(x, 4).flatten(1), self.WIDE)}

    def prior(self, name: str, earlier: Values) -> Distribution:
        return Normal(torch.zeros(49), self.WIDE)

    def decode(self, values: Values) -> Tensor:
        z = values["z"]
        clean = next((z - noise for noise in self.candidates(len(z)) if float((z - noise).abs().max()) < 2), z)
        ink = clean.view(-1, 1, 7, 7).repeat_interleave(4, 2).repeat_interleave(4, 3)
        return torch.logit(ink.clamp(0.02, 0.98))

    def candidates(self, n: int) -> Iterator[Tensor]:
        """The noise of the calibration's three batches and of the eight draws on the test split."""
        for names, sizes in ((("calibration",), (500, 500, 200)), (("test", 0), (400,) * 8)):
            rng = seeds.torch_rng("score", 0, "", "channel", *names)
            noises = [self.WIDE * torch.randn((size, 49), generator=rng) for size in sizes]
            yield from (noise for noise in noises if len(noise) == n)


def task(name: str) -> Task:
    return registry.load(registry.source(registry.discover("task")[name]))()


def test_a_decoder_that_replays_the_published_noise_is_caught_by_a_secret_one() -> None:
    specimen = Specimen.grow(NoiseReplayer, {}, data.load("digits"))
    with pytest.raises(Caught, match="secret noise seed"):
        rehearsal.same_under_secret_noise(task("reconstruction"), *rehearsal.public_and_secret(specimen))


class Told(Task):
    """A metric in nats that is what each subject's budget says."""

    def __init__(self, direction: str) -> None:
        self.metrics, self.primary = (Metric("net", "nats", direction, "What was told."),), "net"

    def score(self, subject: Subject) -> Score:
        return Score(metrics={"net": Measure(float(subject.budget), 0.001)})


@pytest.mark.parametrize(
    ("direction", "public", "secret", "caught"),
    [
        ("higher", "2", "-1", True),  # an advantage that only the published noise gives
        ("higher", "-1", "2", True),
        ("higher", "3", "2", True),
        ("higher", "-1", "-2", False),  # fitted to what says nothing, a channel ends anywhere
        ("lower", "-6000", "-5000", True),  # nats below 0 are no loss
        ("lower", "300", "350", True),
        ("lower", "350.1", "350", False),
    ],
)
def test_only_a_net_that_is_a_loss_both_times_may_differ_under_a_secret(
    direction: str, public: str, secret: str, caught: bool
) -> None:
    specimen = Specimen.grow(Honest, {}, data.load("digits"))
    first, second = (replace(specimen.subject(), budget=value) for value in (public, secret))
    with pytest.raises(Caught, match="secret noise seed") if caught else nullcontext():
        rehearsal.same_under_secret_noise(Told(direction), first, second)


class FreeCode(Honest):
    """A prior whose logits were overwritten, so that every value would cost nothing."""

    def prior(self, name: str, earlier: Values) -> Distribution:
        prior = Categorical(logits=torch.zeros(10))
        prior.logits = torch.zeros(10)
        return prior


def test_overwritten_logits_of_a_prior_are_normalized_before_they_are_charged() -> None:
    model = FreeCode(data.load("digits").spec)
    code = Discrete(torch.arange(10), 10)
    assert float(model.prior("z", {}).log_prob(code.values).sum()) == 0
    rate, _, _ = charge(code, Frozen(model).prior("z", {}), code.values, "")
    torch.testing.assert_close(rate, torch.full((10,), math.log(10), dtype=torch.float64))


def reconstruction_of(name: str) -> dict[str, float]:
    entry, dataset = registry.discover("baseline")[name], data.load("digits")
    specimen = Specimen.grow(registry.load(registry.source(entry)), entry.params, dataset)
    score = rehearsal.score(task("reconstruction"), specimen.subject())
    return {metric: measure.value for metric, measure in score.metrics.items()}


def test_copying_the_image_costs_what_the_floor_costs() -> None:
    floor, copy = reconstruction_of("pixel_marginals"), reconstruction_of("copy")
    assert copy["distortion"] < 1e-6
    assert copy["nats"] == pytest.approx(floor["nats"], abs=1e-3)


class NaiveSkip(Honest):
    """Sends its core and, past it, the image."""

    groups: ClassVar[dict[str, str]] = {"z": "4 units", "skip": "the image, a deterministic code"}

    def encode(self, x: Tensor) -> Latents:
        return {**super().encode(x), "skip": x}

    def decode(self, values: Values) -> Tensor:
        return 20 * values["skip"] - 10 + 0.01 * super().decode(values)


def test_a_skip_past_the_core_reconstructs_everything_and_pays_for_it() -> None:
    specimen = Specimen.grow(NaiveSkip, {}, data.load("digits"))
    score = rehearsal.score(task("reconstruction"), specimen.subject())
    floor = reconstruction_of("pixel_marginals")["nats"]
    assert score.metrics["distortion_mode"].value < 1
    assert score.metrics["nats"].value > floor - 30
    assert score.metrics["core_nats"].value > floor - 30


def test_a_score_at_the_floor_is_not_told_as_a_number() -> None:
    class Blind(Honest):
        """Decodes a constant image."""

        def decode(self, values: Values) -> Tensor:
            return 0 * super().decode(values) - 1

    mixture = registry.load(registry.source(registry.discover("baseline")["bernoulli_mixture"]))
    for model, at_floor in ((Blind, True), (mixture, False)):
        subjects = rehearsal.public_and_secret(Specimen.grow(model, {}, data.load("digits")))
        told = rehearsal.same_under_secret_noise(task("reconstruction"), *subjects)
        assert ("at the floor" in told) == at_floor, told
        assert bool(re.search(r"\d", told)) != at_floor, told
