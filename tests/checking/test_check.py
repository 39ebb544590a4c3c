"""Planted cheats: each must be caught, by a check or by the charge."""

from __future__ import annotations

import inspect
import math
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import Categorical, Distribution, Normal
from typer.testing import CliRunner

from suite import data, seeds
from suite.checking import fresh_process as errand
from suite.checking import integrity, rehearsal
from suite.checking.check import Finding, check_baseline, check_file
from suite.checking.integrity import Caught, Specimen
from suite.contract import Baseline, Batch, DataSpec, Discrete, Latents, Task, TrainSet, Values
from suite.measuring import noise
from suite.measuring.coding import charge
from suite.measuring.trust import Frozen
from suite.plugins import registry


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.set_num_threads(1)
    monkeypatch.setattr(noise, "STARTS", (1.0,))
    monkeypatch.setattr(noise, "MAX_BLOCKS", 2)


def first_failure(cls: type[Baseline]) -> Finding:
    """The first check that fails; the later ones don't run."""
    return next(finding for finding in check_baseline(cls, {}, cls.__name__) if finding.status == "fail")


class Honest(Baseline):
    """A linear variational autoencoder; every cheat below is this model with one thing wrong."""

    groups: ClassVar[dict[str, str]] = {"z": "4 units"}

    def __init__(self, spec: DataSpec) -> None:
        super().__init__(spec)
        self.encoder = nn.Linear(spec.pixels, 4)
        self.decoder = nn.Linear(4, spec.pixels)

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        logits = Honest.decode(self, {"z": self.encoder(batch.x.flatten(1))})
        return {
            "loss": nn.functional.binary_cross_entropy_with_logits(logits, batch.x, reduction="none").sum((1, 2, 3))
        }

    def encode(self, x: Tensor) -> Latents:
        return {"z": Normal(self.encoder(x.flatten(1)), 0.5)}

    def decode(self, values: Values) -> Tensor:
        return self.decoder(values["z"]).view(-1, *self.spec.shape)


# --- caught by a check --------------------------------------------------------------------------------------


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
        (LabelUser, "trains", "TypeError"),
        (LabelThief, "blind to labels", "shuffled labels change the model"),
        (Unseeded, "repeatable", "same seed"),
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
    subject = rehearsal.subject_of(Specimen.grow(Memorizer, {}, data.load("digits")))
    with pytest.raises(Caught, match="shifted test images cost"):
        rehearsal.no_test_image_by_heart(subject)


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


HEADER = f"""
from typing import ClassVar
import torch
from torch import Tensor, nn
from torch.distributions import Normal
from suite.contract import Baseline, Batch, DataSpec, Latents, Values

{inspect.getsource(Honest)}
"""

MODULE_STATE = """
SEEN = []

class Cheat(Honest):
    summary = "keeps codes and images outside the model"

    def encode(self, x):
        z = self.encoder(x.flatten(1))
        SEEN.append((z, x))
        return {"z": z}

    def decode(self, values):
        if not SEEN:
            return super().decode(values)
        z, x = (torch.cat(parts) for parts in zip(*SEEN))
        return 20 * x[torch.cdist(values["z"], z).argmin(1)] - 10
"""

DATA_READER = """
class Cheat(Honest):
    summary = "reads test images and labels where they lie"

    def fit(self, train):
        from sklearn.datasets import load_digits

        self.decoder.bias.data[:10] = float(load_digits().target.mean())
"""


@pytest.mark.parametrize(
    ("text", "reason"), [(MODULE_STATE, "in a fresh process"), (DATA_READER, r"the model opens .*digits\.csv")]
)
def test_the_cheat_is_caught_by_a_fresh_process(text: str, reason: str, tmp_path: Path) -> None:
    file = tmp_path / "cheat.py"
    file.write_text(HEADER + text)
    source = registry.source(next(entry for entry in registry.read_file("baseline", file) if entry.name == "cheat"))
    specimen = Specimen.grow(registry.load(source), {}, data.load("digits"), source)
    assert integrity.stateless(specimen)  # in this process nothing shows
    with pytest.raises(Caught, match=reason):
        errand.fresh_process(specimen)


# --- caught by the charge -----------------------------------------------------------------------------------


class FreeCode(Honest):
    """A prior whose logits were overwritten, so that every value would cost nothing."""

    def prior(self, name: str, earlier: Values) -> Distribution:
        prior = Categorical(logits=torch.zeros(10))
        prior.logits = torch.zeros(10)
        return prior


def test_overwritten_logits_of_a_prior_are_normalized_before_they_are_charged() -> None:
    model = FreeCode(data.load("digits").spec)
    code = Discrete(torch.arange(10), 10)
    assert float(charge(code, model.prior("z", {}), code.values, "")[0].sum()) == 0
    rate, _, _ = charge(code, Frozen(model).prior("z", {}), code.values, "")
    torch.testing.assert_close(rate, torch.full((10,), math.log(10), dtype=torch.float64))


def reconstruction_of(name: str) -> dict[str, float]:
    entry, dataset = registry.discover("baseline")[name], data.load("digits")
    specimen = Specimen.grow(registry.load(registry.source(entry)), entry.params, dataset)
    score = rehearsal.score(task("reconstruction"), rehearsal.subject_of(specimen))
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
    score = rehearsal.score(task("reconstruction"), rehearsal.subject_of(specimen))
    floor = reconstruction_of("pixel_marginals")["nats"]
    assert score.metrics["distortion_mode"].value < 1
    assert score.metrics["nats"].value > floor - 30
    assert score.metrics["core_nats"].value > floor - 30


# --- the command --------------------------------------------------------------------------------------------


def test_the_command_fails_on_a_failed_check_and_says_which(tmp_path: Path) -> None:
    from suite.cli.app import app

    file = tmp_path / "bad.py"
    file.write_text(
        "from suite.contract import Task\n\n\nclass Bad(Task):\n    summary = 'x'\n    primary = 'y'\n\n"
        "    def score(self, subject):\n        raise ValueError('no idea')\n"
    )
    result = CliRunner().invoke(app, ["check", str(file)])
    assert result.exit_code == 1
    assert "the primary metric 'y' is not among the metrics" in result.output
    assert "ValueError: no idea" in result.output


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (None, "no such file"),
        ("x = 1", "holds no baseline and no task"),
        ("import nothing_of_that_name\nfrom suite.contract import Task\nclass A(Task): pass", "nothing_of_that_name"),
    ],
)
def test_a_file_that_cannot_be_checked_is_the_user_s_mistake(text: str | None, reason: str, tmp_path: Path) -> None:
    from suite.errors import UserError

    file = tmp_path / "thing.py"
    if text is not None:
        file.write_text(text)
    with pytest.raises(UserError, match=reason):
        list(check_file(str(file)))
