"""The noise of deterministic codes, fitted on the training split with the model frozen.

A deterministic code has no price of its own: sent exactly it would cost infinitely many nats. Gaussian noise of one
scale s per dimension is added, chosen to minimize distortion + rate on the training split: dimensions that the decoder
needs exactly are sent finely and cost much, the others coarsely.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch import distributions as D

from suite.measuring import calibration
from suite.measuring.coding import Channel, batches
from suite.measuring.drawing import draw
from suite.measuring.likelihood import bernoulli_nats
from suite.measuring.pricing import charge
from suite.measuring.priors import GaussianPrior, Moments, mean_code_rate
from suite.training import Adam, Discrete, Group

if TYPE_CHECKING:
    from suite.measuring.subject import Subject
    from suite.measuring.survey import Survey


#: Noise over standard deviation at which the fit starts: nearly exact, coarse, and switched off.
STARTS = (0.1, 1.0, 30.0)
#: P = C + diag s^2 + JITTER mean(diag C) I.
JITTER = 0.01
#: Adam's step sizes on log s, each used until a block of steps gains less than TOLERANCE of the nats.
STEP_SIZES = (0.1, 0.03, 0.01)
TOLERANCE = 1e-3
BLOCK_STEPS = 25
MAX_BLOCKS = 20
#: Fewer blocks where a budget is for a first look. From one of its starts a channel is as good as done after four; the
#: rest go to wide codes that the decoder does not need, which the start at 30 switches off at once.
BLOCKS = {"quick": 4}
FIT_BATCH = 100
#: A training split of at most this many images is encoded once and not anew at every step.
MOST_ENCODED = 10_000
#: Training images on which blocks and starts are compared, with the same noise for all.
SAMPLE_IMAGES = 1000


def _jitter(moments: Moments) -> Tensor:
    return (JITTER * moments.variances.mean()).clamp_min(1e-12)


def fit_noise(subject: Subject, channel: Channel, codes: dict[str, Survey]) -> Channel:
    """Descends from every start and keeps the channel that is cheapest on the training split."""
    best, least = channel, float("inf")
    compared, drawn = sample(subject), _Drawn(subject)
    for start in STARTS:
        log_s = {}
        for name, g in codes.items():
            assert g.moments is not None
            log_s[name] = (g.moments.variances + _jitter(g.moments)).sqrt().log() + torch.tensor(start).double().log()
        candidate, nats = _descend(subject, channel, codes, log_s, start, compared, drawn)
        if nats < least:
            best, least = candidate, nats
    return best


def _with_noise(channel: Channel, codes: dict[str, Survey], log_s: dict[str, Tensor]) -> Channel:
    """The channel with this noise and, where the baseline brings none, the default prior that goes with it."""
    noise, gaussians = {}, dict(channel.gaussians)
    for name, g in codes.items():
        assert g.moments is not None
        s = log_s[name].detach().exp()
        noise[name] = s.to(torch.get_default_dtype()).reshape(g.shape)
        if not g.own_prior:
            gaussians[name] = GaussianPrior(g.moments.plus(s.square() + _jitter(g.moments)))
    return replace(channel, noise=noise, gaussians=gaussians)


def _descend(
    subject: Subject,
    channel: Channel,
    codes: dict[str, Survey],
    log_s: dict[str, Tensor],
    start: float,
    compared: Sample,
    drawn: _Drawn,
) -> tuple[Channel, float]:
    """Adam on log s, with the calibration refitted after every block; returns the best channel seen."""
    rng = subject.rng("channel", "noise", start)
    for parameter in log_s.values():
        parameter.requires_grad_(True)
    best, least = price(subject, _with_noise(channel, codes, log_s), compared)
    current, sizes = best, iter(STEP_SIZES)
    adam = Adam(log_s.values(), next(sizes))
    for _ in range(min(MAX_BLOCKS, BLOCKS.get(subject.budget, MAX_BLOCKS))):
        for _ in range(BLOCK_STEPS):
            bits, latents = drawn.batch(rng)
            adam.zero_grad()
            _mean_nats(current, codes, log_s, bits, latents, rng).backward()
            adam.step()
        current, nats = price(subject, _with_noise(channel, codes, log_s), compared)
        gained = nats < least * (1 - TOLERANCE)
        if nats < least:
            best, least = current, nats
        if not gained:
            size = next(sizes, None)
            if size is None:
                break
            adam.lr = size
    return best, least


class _Drawn:
    """Random batches of training images, and what encode says of them."""

    def __init__(self, subject: Subject) -> None:
        self._model, self._bits = subject.model, subject.dataset.train.binary
        self._known: dict[str, Tensor | Discrete] | None = None
        if len(self._bits) <= MOST_ENCODED:
            parts = [self._model.encode(b) for (b,) in batches(self._bits)]
            if all(isinstance(group, Tensor | Discrete) for group in parts[0].values()):
                self._known = {name: _joined([part[name] for part in parts]) for name in parts[0]}

    def batch(self, rng: torch.Generator) -> tuple[Tensor, dict[str, Group]]:
        """Images (FIT_BATCH, C, H, W) and their groups."""
        rows = torch.randint(len(self._bits), (FIT_BATCH,), generator=rng).to(self._bits.device)
        bits = self._bits[rows]
        if self._known is None:
            return bits, self._model.encode(bits)
        return bits, {
            name: Discrete(group.values[rows], group.classes) if isinstance(group, Discrete) else group[rows]
            for name, group in self._known.items()
        }


def _joined(parts: list[Any]) -> Tensor | Discrete:
    if isinstance(parts[0], Discrete):
        return Discrete(torch.cat([part.values for part in parts]), parts[0].classes)
    return torch.cat(parts)


def _mean_nats(
    channel: Channel,
    codes: dict[str, Survey],
    log_s: dict[str, Tensor],
    bits: Tensor,
    latents: dict[str, Group],
    rng: torch.Generator,
) -> Tensor:
    """Distortion + rate of the codes on a batch, differentiable in log s; other groups are sent as they are."""
    values: dict[str, Tensor] = {}
    rate = torch.zeros((), dtype=torch.float64, device=bits.device)
    for name, group in latents.items():
        q = channel.model.resolve(name, group, values, len(bits))
        if not isinstance(q, Tensor):
            values[name] = draw(q, rng)
            continue
        g, s = codes[name], log_s[name].exp()
        scale = s.to(q.dtype).reshape(g.shape)
        values[name] = q + scale * torch.randn(q.shape, generator=rng, dtype=q.dtype).to(q.device)
        if g.own_prior:
            posterior = D.Normal(q, scale.expand_as(q), validate_args=False)
            rate = rate + charge(posterior, channel.prior(name, q, values), values[name], name)[0].mean()
        else:
            assert g.moments is not None
            rate = rate + mean_code_rate(g.moments, s, _jitter(g.moments))
    logits = channel.calibration(channel.model.decode(values, gradients=True))
    return bernoulli_nats(logits, bits).flatten(1).sum(1).mean() + rate


@dataclass(frozen=True)
class Sample:
    """The training images on which channels are compared, (N, C, H, W), and what encode says of each batch of them."""

    bits: Tensor
    latents: list[dict[str, Group]]


def sample(subject: Subject) -> Sample:
    """Returns the training images on which channels are compared, evenly spread over the split."""
    train = subject.dataset.train.binary
    bits = train[:: max(1, len(train) // SAMPLE_IMAGES)][:SAMPLE_IMAGES]
    return Sample(bits, [subject.model.encode(b) for (b,) in batches(bits)])


@torch.no_grad()
def price(subject: Subject, channel: Channel, compared: Sample) -> tuple[Channel, float]:
    """Refits the calibration on the sample and returns channel and mean nats; the noise is the same every time."""
    rng = subject.rng("channel", "judge")
    logits, rate = [], 0.0
    for latents, (b,) in zip(compared.latents, batches(compared.bits), strict=True):
        message = channel.send(latents, len(b), rng)
        logits.append(channel.model.decode(message.values))
        rate += float(message.rate.sum())
    decoded = torch.cat(logits)
    fitted = calibration.fit(decoded, compared.bits, channel.calibration.floor)
    distortion = float(bernoulli_nats(fitted(decoded), compared.bits).sum(dtype=torch.float64))
    return replace(channel, calibration=fitted), (distortion + rate) / len(compared.bits)
