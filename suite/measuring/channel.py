"""Fitting the channel on the training split, with the model frozen: default priors, noise, calibration."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from suite.measuring import calibration
from suite.measuring.alarms import watch
from suite.measuring.calibration import Calibration
from suite.measuring.coding import BATCH, Channel
from suite.measuring.likelihood import floor_logits
from suite.measuring.noise import fit_noise, price, sample
from suite.measuring.priors import GaussianPrior, Moments, histogram
from suite.measuring.survey import floored, survey, typical

if TYPE_CHECKING:
    from suite.measuring.subject import Subject

#: A group is left out only where that saves more nats than this on them: a tie is sent.
MUTE_ABOVE = 0.1


def fit_channel(subject: Subject) -> Channel:
    """Returns the channel of a frozen baseline, fitted once per checkpoint, and tells the subject what is odd about it.

    Raises:
        ContractError: If a stochastic group of another family than Normal or Categorical brings no prior.
    """
    channel = _restore(subject, _kept(subject, "channel", lambda: _tensors(_fit(subject))))
    watch(subject, channel)
    return channel


def recalibrated(subject: Subject, channel: Channel, name: str) -> Channel:
    """Returns a channel that mutes other groups than the fitted one, with the calibration that fits it.

    Args:
        subject: The frozen baseline with its data.
        channel: The fitted channel with other ``muted`` groups.
        name: Under which the calibration is kept with the checkpoint.
    """
    kept = _kept(subject, name, lambda: _tensors(_calibrate(subject, channel)))
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
    kept = _kept(subject, "channel-muted", lambda: _muted(subject, channel))
    names = frozenset(name.removeprefix("muted/") for name in kept if name.startswith("muted/"))
    return replace(channel, calibration=_restore_calibration(kept), muted=names) if names else channel


def _kept(subject: Subject, name: str, compute: Callable[[], dict[str, Tensor]]) -> dict[str, Tensor]:
    """What is fitted on training images alone, and kept."""
    with subject.model.fitting():
        return subject.kept(name, compute)


def _muted(subject: Subject, channel: Channel) -> dict[str, Tensor]:
    compared = sample(subject)
    _, least = price(subject, channel, compared)
    while rest := [name for name in channel.typical if name not in channel.muted]:
        tried = {name: replace(channel, muted=channel.muted | {name}) for name in rest}
        nats = {name: price(subject, candidate, compared)[1] for name, candidate in tried.items()}
        best = min(rest, key=nats.__getitem__)
        if nats[best] > least - MUTE_ABOVE:
            break
        channel, least = tried[best], nats[best]
    nothing, nats_of_nothing = price(subject, replace(channel, muted=frozenset(channel.typical)), compared)
    if nats_of_nothing < least - MUTE_ABOVE * len(channel.typical.keys() - channel.muted):
        channel = nothing
    if not channel.muted:
        return {"none": torch.ones(())}
    return _tensors(_calibrate(subject, channel)) | {f"muted/{name}": torch.ones(()) for name in channel.muted}


def _fit(subject: Subject) -> Channel:
    groups = survey(subject)
    bits = subject.dataset.train.binary
    channel = Channel(
        model=subject.model,
        noise={},
        gaussians={n: GaussianPrior(floored(g.moments)) for n, g in groups.items() if g.kind == "normal" and g.moments},
        histograms={
            n: histogram(g.counts, len(bits)) for n, g in groups.items() if g.counts is not None and not g.own_prior
        },
        calibration=Calibration.identity(floor_logits(bits)),
        typical={n: typical(g) for n, g in groups.items()},
    )
    codes = {n: g for n, g in groups.items() if g.kind == "code"}
    if codes:
        channel = fit_noise(subject, channel, codes)
    return _calibrate(subject, channel)


# --- calibration ----------------------------------------------------------------------------------------------


@torch.no_grad()
def _calibrate(subject: Subject, channel: Channel) -> Channel:
    """Fits the calibration on one noisy transmission of the whole training split."""
    bits, rng = subject.dataset.train.binary, subject.rng("channel", "calibration")
    logits = torch.empty(0)
    for start in range(0, len(bits), BATCH):
        b = bits[start : start + BATCH]
        decoded = channel.model.decode(channel.send(channel.model.encode(b), len(b), rng).values)
        if not start:  # a list of parts, joined at the end, would hold all of them twice
            logits = decoded.new_empty(bits.shape)
        logits[start : start + BATCH] = decoded
    return replace(channel, calibration=calibration.fit(logits, bits, channel.calibration.floor))


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
