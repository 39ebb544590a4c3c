"""Reconstruction in nats: what an image costs when every nat the decoder receives is charged.

nats(b) = distortion(b) + rate(b) bounds -log p(b) from above for every model, deterministic ones too
(Kingma & Welling 2013, eq. 3; ``suite.coding``), and nats_iwae is the tighter importance-weighted bound
(Burda, Grosse & Salakhutdinov 2015, eq. 8). A reconstruction loss alone rewards a network that copies the
image past its bottleneck; here the copy pays for itself and ends at the floor.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch import distributions as D

from suite.contract import Anchor, Discrete, Group, Measure, Metric, Score, Task
from suite.measuring import (
    BATCH,
    JITTER,
    MUTE_ABOVE,
    STARTS,
    Channel,
    Subject,
    batches,
    bernoulli_nats,
    charge,
    fit_channel,
    grid,
    mute,
    recalibrated,
)

#: Noise draws behind each image's distortion and rate.
DRAWS = 8
#: A message that is one Categorical of at most so many classes needs no draws: its expectation is a sum.
ENUMERATED = 100
#: Importance samples K, on every IWAE_EVERY-th test image, at most IWAE_IMAGES of them.
IWAE_SAMPLES, IWAE_EVERY, IWAE_IMAGES = 128, 10, 1000
#: Nats under which a score is an alarm until it is explained: the best published models reach 77.6.
SUSPECT_BELOW = {"mnist": 77.0}
#: A fitted model can't be worse than the floor by more than the fit's slack.
SLACK = 0.5
SHOWN = 12


@dataclass(frozen=True)
class Prices:
    """Per-image prices of one split, each (N,) float64, in nats."""

    distortion: Tensor
    rates: dict[str, Tensor]
    distortion_mode: Tensor
    sampled: tuple[str, ...]

    @property
    def rate(self) -> Tensor:
        """Sum over groups."""
        return sum(self.rates.values(), torch.zeros_like(self.distortion))

    @property
    def nats(self) -> Tensor:
        """Distortion + rate."""
        return self.distortion + self.rate


def price(subject: Subject, channel: Channel, bits: Tensor, split: str) -> Prices:
    """Charges every image of a split, as the mean of ``DRAWS`` transmissions of it."""
    parts = []
    for i, (b,) in enumerate(batches(bits)):
        rng = subject.rng("channel", split, i)
        latents = channel.model.encode(b)
        messages = [channel.send(latents, len(b), rng) for _ in range(DRAWS)]
        if classes := _every_class(channel, latents, b):
            distortion = (classes.probability * classes.distortion).sum(1)
        else:
            distortion = torch.stack([channel.distortion(m.values, b) for m in messages]).mean(0)
        rates = {name: torch.stack([m.rates[name] for m in messages]).mean(0) for name in messages[0].rates}
        mode = bernoulli_nats(channel.model.decode(channel.model.means(b)), b).flatten(1).sum(1, dtype=torch.float64)
        parts.append(Prices(distortion, rates, mode, messages[0].sampled))
    rates = {name: torch.cat([p.rates[name] for p in parts]) for name in parts[0].rates}
    return Prices(
        torch.cat([p.distortion for p in parts]), rates, torch.cat([p.distortion_mode for p in parts]), parts[0].sampled
    )


def iwae(subject: Subject, channel: Channel, bits: Tensor, samples: int = IWAE_SAMPLES) -> Tensor:
    """-log of the mean of ``samples`` importance weights w = p(b, z) / q(z|b), per image, (N,) float64.

    Where p(b) is a short sum, mean(w) / p(b) - 1, whose expectation is 0, serves as a control variate: since
    log t <= t - 1 the estimate then never falls below -log p(b), as the bound itself never does.
    """
    bounds = []
    for i, (b,) in enumerate(batches(bits)):
        rng, latents, log_weights = subject.rng("iwae", i), channel.model.encode(b), []
        for _ in range(samples):
            message = channel.send(latents, len(b), rng)
            log_weights.append(-channel.distortion(message.values, b) - message.log_ratio)
        log_mean = torch.stack(log_weights).logsumexp(0) - math.log(samples)
        classes = _every_class(channel, latents, b)
        if classes is not None:
            log_p = (-classes.distortion - classes.rate).logsumexp(1)
            log_mean = log_mean - (log_mean - log_p).expm1()
        bounds.append(-log_mean)
    return torch.cat(bounds)


@dataclass(frozen=True)
class _Classes:
    """A message that is one small Categorical, spelled out; each (N, K) float64."""

    probability: Tensor
    distortion: Tensor
    rate: Tensor


def _every_class(channel: Channel, latents: Mapping[str, Group], b: Tensor) -> _Classes | None:
    """q(k|b), -log p(b|k) and -log p(k) of every class k, where the whole message is one small Categorical."""
    if len(latents) != 1 or channel.muted:
        return None
    name, q = next(iter(latents.items()))
    if type(q) is not D.Categorical or q.logits.ndim != 2 or q.logits.shape[1] > ENUMERATED:
        return None
    codes = [torch.full((len(b),), k, device=b.device) for k in range(q.logits.shape[1])]
    distortion = torch.stack([channel.distortion({name: k}, b) for k in codes], 1)
    rate = torch.stack([charge(Discrete(k, len(codes)), channel.prior(name, k, {}), k, name)[0] for k in codes], 1)
    return _Classes(q.probs.double(), distortion, rate)


def core_nats(subject: Subject, channel: Channel, bits: Tensor, prices: Prices) -> Tensor:
    """Nats per image of the code that sends the core group and no other, (N,) float64.

    Encoder, prior and decoder get the others' typical values: where the core's posterior or prior depends on them,
    what they would have told is neither free nor used.
    """
    core = channel.model.core
    others = frozenset(prices.rates) - {core}
    if not others:
        return prices.nats
    alone = recalibrated(subject, replace(channel, muted=others), "channel-core")
    return price(subject, alone, bits, "core").nats


class Reconstruction(Task):
    """The price of an image in nats, distortion and rate."""

    version = 3
    summary = "nats per image, every nat the decoder receives charged"
    primary = "nats"
    official = True
    metrics = (
        Metric("nats", "nats", "lower", "distortion + rate: an upper bound on -log p(b); ranked"),
        Metric(
            "nats_iwae", "nats", "lower", f"importance-weighted bound, K = {IWAE_SAMPLES}, on a tenth of the images"
        ),
        Metric("nats_same_images", "nats", "lower", "nats on the images of nats_iwae"),
        Metric("nats_unmuted", "nats", "lower", "nats with every group sent, also those that cost more than they save"),
        Metric("distortion", "nats", "lower", "-log p(b|z) after the channel"),
        Metric("distortion_mode", "nats", "lower", "without noise and uncharged: what papers print as reconstruction"),
        Metric("rate", "nats", "lower", "price of all groups"),
        Metric("rate/*", "nats", "lower", "price of one group; 0 where it is left out"),
        Metric("bits_per_dim", "bits", "lower", "nats / (D ln 2)"),
        Metric(
            "core_nats", "nats", "lower", "nats where the core alone is sent and the other groups are held constant"
        ),
        Metric("floor", "nats", "", "the pixel marginals' nats on the same images"),
        Metric("calibration_scale", "", "", "a of the calibration; 1 is a model that knows its own scale"),
        Metric("nats_train", "nats", "lower", "nats on training images"),
        Metric("distortion_train", "nats", "lower", "distortion on training images"),
        Metric("distortion_mode_train", "nats", "lower", "distortion_mode on training images"),
        Metric("rate_train", "nats", "lower", "rate on training images"),
    )
    anchors = (
        Anchor("floor", "pixel_marginals: the add-one pixel histogram, no latents; 205.9 nats on MNIST"),
        Anchor("copy", "the image itself as a binary code: exactly the floor, since copying buys nothing"),
        Anchor("bernoulli_mixture", "exact likelihood: nats - exact = mean of -log responsibility"),
    )

    def card(self) -> dict[str, Any]:
        """The rules, from the values the code uses."""
        return {
            "images": "test split, binarized once; encoder and target see the same bits",
            "noise draws per image": DRAWS,
            "summed instead of drawn": f"a message of one Categorical of at most {ENUMERATED} classes",
            "importance samples": f"{IWAE_SAMPLES} on every {IWAE_EVERY}th image, at most {IWAE_IMAGES}",
            "channel noise starts (s over standard deviation)": STARTS,
            "left out": f"groups without which training images cost over {MUTE_ABOVE} nats less (see nats_unmuted)",
            "prior of a code": f"N(m, C + diag s^2 + {JITTER} mean(diag C) I)",
            "images per pass": BATCH,
            "suspect below (nats)": SUSPECT_BELOW,
        }

    def score(self, subject: Subject) -> Score:
        """Prices the test images; see ``Task.score``."""
        whole = fit_channel(subject)
        channel = mute(subject, whole)
        bits, score = subject.dataset.test.binary, Score()
        prices = price(subject, channel, bits, "test")
        unmuted = price(subject, whole, bits, "test") if channel.muted else prices
        floor = bernoulli_nats(channel.calibration.floor, bits).flatten(1).sum(1, dtype=torch.float64)
        core = core_nats(subject, whole, bits, unmuted) if prices.rates else prices.nats
        per_image = {"nats": prices.nats, "distortion": prices.distortion, "rate": prices.rate, "core_nats": core}
        per_image["nats_unmuted"] = unmuted.nats
        per_image |= {"distortion_mode": prices.distortion_mode, "floor": floor}
        per_image |= {f"rate/{name}": rate for name, rate in prices.rates.items()}
        score.metrics = {name: Measure.mean(values) for name, values in per_image.items()}
        score.per_image = {name: values.cpu().numpy() for name, values in per_image.items()}
        score.metrics |= self._bounds(subject, channel, bits, prices)
        score.metrics |= self._on_training_images(subject, channel, len(bits))
        score.metrics["calibration_scale"] = Measure(float(channel.calibration.scale))
        score.notes = [f"rate/{name} is a Monte Carlo estimate" for name in prices.sampled]
        if channel.muted:
            score.notes.append(f"left out, since it costs more than it saves: {', '.join(sorted(channel.muted))}")
        score.flags = _alarms(subject.dataset.info.name, score.metrics["nats"].value, score.metrics["floor"].value)
        score.pictures["reconstruction"] = _picture(subject, channel)
        return score

    def _bounds(self, subject: Subject, channel: Channel, bits: Tensor, prices: Prices) -> dict[str, Measure]:
        nats = prices.nats.mean()
        same = prices.nats[::IWAE_EVERY][:IWAE_IMAGES]
        return {
            "bits_per_dim": Measure(float(nats) / (subject.dataset.spec.pixels * math.log(2))),
            "nats_iwae": Measure.mean(iwae(subject, channel, bits[::IWAE_EVERY][:IWAE_IMAGES])),
            "nats_same_images": Measure.mean(same),
        }

    def _on_training_images(self, subject: Subject, channel: Channel, n: int) -> dict[str, Measure]:
        train = price(subject, channel, subject.dataset.train.binary[:n], "train")
        return {
            "nats_train": Measure.mean(train.nats),
            "distortion_train": Measure.mean(train.distortion),
            "distortion_mode_train": Measure.mean(train.distortion_mode),
            "rate_train": Measure.mean(train.rate),
        }


def _alarms(dataset: str, nats: float, floor: float) -> list[str]:
    """Scores that are too good, or worse than a fitted model can be."""
    flags = ["suspect"] if nats < SUSPECT_BELOW.get(dataset, -math.inf) else []
    return flags + (["above floor"] if nats > floor + SLACK else [])


def _picture(subject: Subject, channel: Channel) -> Tensor:
    """Rows: images; without noise; as the decoder receives them; another draw."""
    grey, bits = subject.dataset.test.grey[:SHOWN], subject.dataset.test.binary[:SHOWN]
    latents, rng = channel.model.encode(bits), subject.rng("picture")
    noisy = [channel.logits(channel.send(latents, len(bits), rng).values, len(bits)).sigmoid() for _ in range(2)]
    clean = channel.model.decode(channel.model.means(bits)).sigmoid()
    return grid([grey, bits, clean.expand_as(grey), *noisy])
