"""Fitting the channel on the training split, with the model frozen: default priors, noise, calibration.

A deterministic code has no price of its own: sent exactly it would cost infinitely many nats. The channel
adds Gaussian noise of one scale s per dimension, chosen to minimize distortion + rate on the training
split: dimensions that the decoder needs exactly are sent finely and cost much, the others coarsely.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch import distributions as D

from suite import calibration
from suite.calibration import Calibration, bernoulli_nats
from suite.coding import Channel, batches, charge, draw
from suite.contract import Discrete, Group
from suite.errors import ContractError
from suite.priors import GaussianPrior, Moments, histogram, mean_code_rate
from suite.trust import mode

if TYPE_CHECKING:
    from suite.subject import Subject

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
JUDGED_ON = 1000
#: A group is left out only where that saves more nats than this on them: a tie is sent.
MUTE_ABOVE = 0.1


@dataclass
class _Survey:
    """What one pass over the training split says of a group."""

    kind: str
    moments: Moments | None = None
    counts: Tensor | None = None
    shape: torch.Size = torch.Size()
    own_prior: bool = False


def fit_channel(subject: Subject) -> Channel:
    """Returns the channel of a frozen baseline, fitted once per checkpoint.

    Raises:
        ContractError: If a stochastic group of another family than Normal or Categorical brings no prior.
    """
    kept = subject.kept("channel", lambda: _tensors(_fit(subject)))
    return _restore(subject, kept)


def recalibrated(subject: Subject, channel: Channel, name: str) -> Channel:
    """Returns a channel that mutes other groups than the fitted one, with the calibration that fits it.

    Args:
        subject: The frozen baseline with its data.
        channel: The fitted channel with other ``muted`` groups.
        name: Under which the calibration is kept with the checkpoint.
    """
    kept = subject.kept(name, lambda: _tensors(_calibrate(subject, channel)))
    return replace(channel, calibration=_restore_calibration(kept))


def mute(subject: Subject, channel: Channel) -> Channel:
    """Returns the channel without the groups that cost more than they save, judged on training images.

    The noise of a real code grows until what the decoder does not need costs nothing. Switches and stochastic groups
    have no such dial, so a sender that had to send them all could cost more than one that says nothing at all. One
    group after the other is left out, at each turn the one that saves most, until none saves ``MUTE_ABOVE``. Two groups
    may each be worth their price only as long as the other is sent, and together cost too much: so at the end all that
    are left are tried at once. What then exceeds the floor does so by less than ``MUTE_ABOVE`` a group on these images.

    Args:
        subject: The frozen baseline with its data.
        channel: From ``fit_channel``; returned as it is where every group earns its price.
    """
    if not channel.typical:
        return channel
    kept = subject.kept("channel-muted", lambda: _muted(subject, channel))
    names = frozenset(name.removeprefix("muted/") for name in kept if name.startswith("muted/"))
    return replace(channel, calibration=_restore_calibration(kept), muted=names) if names else channel


def _muted(subject: Subject, channel: Channel) -> dict[str, Tensor]:
    judged = _judged_on(subject)
    _, least = _judge(subject, channel, judged)
    while rest := [name for name in channel.typical if name not in channel.muted]:
        tried = {name: replace(channel, muted=channel.muted | {name}) for name in rest}
        nats = {name: _judge(subject, candidate, judged)[1] for name, candidate in tried.items()}
        best = min(rest, key=nats.__getitem__)
        if nats[best] > least - MUTE_ABOVE:
            break
        channel, least = tried[best], nats[best]
    nothing, nats_of_nothing = _judge(subject, replace(channel, muted=frozenset(channel.typical)), judged)
    if nats_of_nothing < least - MUTE_ABOVE * len(channel.typical.keys() - channel.muted):
        channel = nothing
    if not channel.muted:
        return {"none": torch.ones(())}
    return _tensors(_calibrate(subject, channel)) | {f"muted/{name}": torch.ones(()) for name in channel.muted}


@dataclass(frozen=True)
class _Judged:
    """The training images on which channels are compared, (N, C, H, W), and what encode says of each batch of them."""

    bits: Tensor
    latents: list[dict[str, Group]]


def _judged_on(subject: Subject) -> _Judged:
    train = subject.dataset.train.binary
    bits = train[:: max(1, len(train) // JUDGED_ON)][:JUDGED_ON]
    return _Judged(bits, [subject.model.encode(b) for (b,) in batches(bits)])


def _fit(subject: Subject) -> Channel:
    groups = _survey(subject)
    bits = subject.dataset.train.binary
    channel = Channel(
        model=subject.model,
        noise={},
        gaussians={
            n: GaussianPrior(_floored(g.moments)) for n, g in groups.items() if g.kind == "normal" and g.moments
        },
        histograms={
            n: histogram(g.counts, len(bits)) for n, g in groups.items() if g.counts is not None and not g.own_prior
        },
        calibration=Calibration.identity(calibration.floor_logits(bits)),
        typical={n: _typical(g) for n, g in groups.items()},
    )
    codes = {n: g for n, g in groups.items() if g.kind == "code"}
    if codes:
        channel = _fit_noise(subject, channel, codes)
    return _calibrate(subject, channel)


# --- what the training split says of each group -----------------------------------------------------------


def _survey(subject: Subject) -> dict[str, _Survey]:
    """Kinds, moments and histograms of all groups, in one pass over the training split."""
    groups: dict[str, _Survey] = {}
    rng = subject.rng("channel", "survey")
    for (b,) in batches(subject.dataset.train.binary):
        values: dict[str, Tensor] = {}
        for name, group in subject.model.encode(b).items():
            q = subject.model.resolve(name, group, values, len(b))
            value = q if isinstance(q, Tensor) else draw(q, rng)
            if name not in groups:
                own_prior = subject.model.prior(name, values) is not None
                groups[name] = _Survey(_kind(q), shape=value.shape[1:], own_prior=own_prior)
            _add(groups[name], q, value, f"{subject.model.name}.encode['{name}']")
            values[name] = value
    for name, g in groups.items():
        if g.kind == "normal" and g.own_prior:
            g.kind = "normal with prior"
        if g.kind == "other" and not g.own_prior:
            raise ContractError(f"{subject.model.name}.prior('{name}'): this family has no default prior; return one")
    return groups


def _kind(q: D.Distribution | Discrete | Tensor) -> str:
    if isinstance(q, Tensor):
        return "code"
    if isinstance(q, Discrete):
        return "discrete"
    while isinstance(q, D.Independent):
        q = q.base_dist
    if type(q) in (D.Categorical, D.OneHotCategorical):
        return "discrete"
    return "normal" if type(q) is D.Normal else "other"


def _add(group: _Survey, q: D.Distribution | Discrete | Tensor, value: Tensor, where: str) -> None:
    if value.shape[1:] != group.shape:
        raise ContractError(f"{where}: expected shape {tuple(group.shape)} per image, found {tuple(value.shape[1:])}")
    if isinstance(q, Discrete) or group.kind == "discrete":
        counts = _counts(q)
        group.counts = counts if group.counts is None else group.counts + counts
        return
    loc = q if isinstance(q, Tensor) else mode(q)
    flat = loc.reshape(len(loc), -1)
    group.moments = group.moments or Moments.empty(flat.shape[1], flat.device)
    group.moments = group.moments.add(flat, None if isinstance(q, Tensor) else q.variance.reshape(len(loc), -1))


def _counts(q: D.Distribution | Discrete | Tensor) -> Tensor:
    """Occurrences (or summed probabilities) of each class at each position, (positions, classes)."""
    if isinstance(q, Discrete):
        codes = q.values.reshape(len(q.values), -1)
        zeros = torch.zeros(codes.shape[1], q.classes, dtype=torch.float64, device=codes.device)
        return zeros.scatter_add_(1, codes.T, torch.ones_like(codes.T, dtype=torch.float64))
    while isinstance(q, D.Independent):
        q = q.base_dist
    probabilities = q.probs.double()  # type: ignore[union-attr]
    return probabilities.sum(0).reshape(-1, probabilities.shape[-1])


def _typical(group: _Survey) -> Tensor:
    """The training mean of a real group, the most frequent value of a discrete one."""
    if group.counts is not None:
        best = group.counts.argmax(-1)
        if group.counts.numel() == group.shape.numel():  # one-hot values carry their classes in the shape
            return torch.nn.functional.one_hot(best, group.counts.shape[-1]).float().reshape(group.shape)
        return best.reshape(group.shape)
    assert group.moments is not None
    return group.moments.mean.to(torch.get_default_dtype()).reshape(group.shape)


def _floored(moments: Moments) -> Moments:
    """Keeps a covariance positive definite where a posterior has collapsed to a point."""
    return moments.plus(torch.full_like(moments.mean, 1e-9 + 1e-9 * float(moments.variances.mean())))


# --- the noise of deterministic codes ------------------------------------------------------------------------


def _jitter(moments: Moments) -> Tensor:
    return (JITTER * moments.variances.mean()).clamp_min(1e-12)


def _fit_noise(subject: Subject, channel: Channel, codes: dict[str, _Survey]) -> Channel:
    """Descends from every start and keeps the channel that is cheapest on the training split."""
    best, least = channel, float("inf")
    judged, drawn = _judged_on(subject), _Drawn(subject)
    for start in STARTS:
        log_s = {}
        for name, g in codes.items():
            assert g.moments is not None
            log_s[name] = (g.moments.variances + _jitter(g.moments)).sqrt().log() + torch.tensor(start).double().log()
        candidate, nats = _descend(subject, channel, codes, log_s, start, judged, drawn)
        if nats < least:
            best, least = candidate, nats
    return best


def _with_noise(channel: Channel, codes: dict[str, _Survey], log_s: dict[str, Tensor]) -> Channel:
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
    codes: dict[str, _Survey],
    log_s: dict[str, Tensor],
    start: float,
    judged: _Judged,
    drawn: _Drawn,
) -> tuple[Channel, float]:
    """Adam on log s, with the calibration refitted after every block; returns the best channel seen."""
    rng = subject.rng("channel", "noise", start)
    for parameter in log_s.values():
        parameter.requires_grad_(True)
    best, least = _judge(subject, _with_noise(channel, codes, log_s), judged)
    current, sizes = best, iter(STEP_SIZES)
    adam = torch.optim.Adam(list(log_s.values()), lr=next(sizes))
    for _ in range(min(MAX_BLOCKS, BLOCKS.get(subject.budget, MAX_BLOCKS))):
        for _ in range(BLOCK_STEPS):
            bits, latents = drawn.batch(rng)
            adam.zero_grad()
            _mean_nats(current, codes, log_s, bits, latents, rng).backward()
            adam.step()
        current, nats = _judge(subject, _with_noise(channel, codes, log_s), judged)
        gained = nats < least * (1 - TOLERANCE)
        if nats < least:
            best, least = current, nats
        if not gained:
            size = next(sizes, None)
            if size is None:
                break
            adam.param_groups[0]["lr"] = size
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
    codes: dict[str, _Survey],
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


@torch.no_grad()
def _judge(subject: Subject, channel: Channel, judged: _Judged) -> tuple[Channel, float]:
    """Refits the calibration on the judged images and returns their mean nats, with the same noise every time."""
    rng = subject.rng("channel", "judge")
    logits, rate = [], 0.0
    for latents, (b,) in zip(judged.latents, batches(judged.bits), strict=True):
        message = channel.send(latents, len(b), rng)
        logits.append(channel.model.decode(message.values))
        rate += float(message.rate.sum())
    decoded = torch.cat(logits)
    fitted = calibration.fit(decoded, judged.bits, channel.calibration.floor)
    distortion = float(bernoulli_nats(fitted(decoded), judged.bits).sum(dtype=torch.float64))
    return replace(channel, calibration=fitted), (distortion + rate) / len(judged.bits)


# --- calibration ----------------------------------------------------------------------------------------------


@torch.no_grad()
def _calibrate(subject: Subject, channel: Channel) -> Channel:
    """Fits the calibration on one noisy transmission of the whole training split."""
    bits, rng, logits = subject.dataset.train.binary, subject.rng("channel", "calibration"), []
    for (b,) in batches(bits):
        values = channel.send(channel.model.encode(b), len(b), rng).values
        decoded = channel.model.decode(values)
        logits.append(decoded.expand(len(b), *decoded.shape[1:]))
    return replace(channel, calibration=calibration.fit(torch.cat(logits), bits, channel.calibration.floor))


# --- to and from tensors, as they are kept beside the checkpoint ----------------------------------------------


def _tensors(channel: Channel) -> dict[str, Tensor]:
    c = channel.calibration
    tensors = {"calibration/floor": c.floor, "calibration/scale": c.scale, "calibration/offset": c.offset}
    tensors |= {f"noise/{n}": s for n, s in channel.noise.items()}
    tensors |= {f"typical/{n}": v for n, v in channel.typical.items()}
    tensors |= {f"histogram/{n}": h for n, h in channel.histograms.items()}
    for name, prior in channel.gaussians.items():
        tensors[f"mean/{name}"], tensors[f"covariance/{name}"] = prior.mean, prior.covariance
    return tensors


def _restore_calibration(kept: dict[str, Tensor]) -> Calibration:
    return Calibration(*(kept[f"calibration/{part}"] for part in ("floor", "scale", "offset")))


def _restore(subject: Subject, kept: dict[str, Tensor]) -> Channel:
    def named(prefix: str) -> dict[str, Tensor]:
        return {name.removeprefix(prefix): tensor for name, tensor in kept.items() if name.startswith(prefix)}

    covariances = named("covariance/")
    return Channel(
        model=subject.model,
        noise=named("noise/"),
        gaussians={n: GaussianPrior(Moments(m, covariances[n], 0)) for n, m in named("mean/").items()},
        histograms=named("histogram/"),
        calibration=_restore_calibration(kept),
        typical=named("typical/"),
    )
