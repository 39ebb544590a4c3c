"""Alarms: mistakes in a model's answers that would pass as scores, seen on the test images when they are priced."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch import distributions as D

from suite.measuring.coding import Channel, batches
from suite.measuring.families import bare, mode
from suite.measuring.likelihood import bernoulli_nats
from suite.measuring.trust import Frozen
from suite.training import Discrete, Values

if TYPE_CHECKING:
    from suite.measuring.subject import Subject

PROBABILITIES = "probabilities for logits"
OFF_SCALE = "logits off scale"
#: A calibration scale that is this many times too large or too small is far from 1.
FAR = 2.0
#: An untrained decoder costs more than the floor too. A wrong scale is told where the calibrated decoder costs less
#: than this share of the floor, so that it knows something, or the bare one more than so many coins a pixel.
KNOWS, COINS = 0.98, 1.25
#: Values that differ by less say nothing about what they are.
FLAT = 0.25
#: A posterior whose deviation is below this share of its means' spread is a deterministic code in disguise.
NARROW = 0.01


def watch(subject: Subject, channel: Channel) -> None:
    """Adds to the subject's flags and notes what is odd about its answers for the test images.

    Args:
        subject: The frozen baseline with its data.
        channel: Its fitted channel.
    """
    seen = subject.kept("watched", lambda: _watch(subject, channel))
    low, high, distortion, floor = (float(seen[name]) for name in ("low", "high", "distortion", "floor"))
    if only_probabilities(low, high):
        subject.flags.append(PROBABILITIES)
        subject.notes.append(
            f"decoded values never leave [0, 1] ({low:.3g} to {high:.3g}): decode returns logits, with no final sigmoid"
        )
    scale = float(channel.calibration.scale)
    coins = COINS * subject.dataset.spec.pixels * math.log(2)
    telling = float(seen["calibrated"]) < KNOWS * floor or distortion > coins
    if distortion > floor and not 1 / FAR <= scale <= FAR and telling:
        subject.flags.append(OFF_SCALE)
        subject.notes.append(
            f"as decoded, an image costs {distortion:.4g} nats, more than the floor's {floor:.4g}, and the calibration "
            f"multiplies logits by {scale:.3g}: decode returns logits, positive where a pixel is likely to be on"
        )
    for name, share in seen.items():
        if name.startswith("width/") and float(share) < NARROW:
            subject.notes.append(
                f"{name.removeprefix('width/')}: the posterior's deviation is {float(share):.1g} of its means' spread, "
                "and that precision is charged; hand a deterministic code over as a tensor, and its noise is fitted"
            )


def only_probabilities(low: float, high: float) -> bool:
    """Whether decoded values from ``low`` to ``high`` look like probabilities where logits are due.

    Values that hardly differ from each other are a decoder's that has learnt little; such logits may lie anywhere.
    """
    return low >= 0 and high <= 1 and high - low > FLAT


@torch.no_grad()
def _watch(subject: Subject, channel: Channel) -> dict[str, Tensor]:
    """Range and cost of what is decoded without noise and calibration, and the width of every Normal group."""
    low, high, costs, calibrated, floors = [], [], [], [], []
    widths: dict[str, _Width] = {}
    for (b,) in batches(subject.dataset.test.binary):
        logits = subject.model.decode(_means(subject.model, b, channel.typical, widths))
        low.append(logits.min())
        high.append(logits.max())
        costs.append(_cost(logits, b))
        calibrated.append(_cost(channel.calibration(logits), b))
        floors.append(_cost(channel.calibration.floor, b))
    seen = {"low": torch.stack(low).min(), "high": torch.stack(high).max()}
    for name, parts in (("distortion", costs), ("calibrated", calibrated), ("floor", floors)):
        seen[name] = torch.cat(parts).mean()
    return seen | {f"width/{name}": width.share for name, width in widths.items() if width.varies}


def _cost(logits: Tensor, bits: Tensor) -> Tensor:
    return bernoulli_nats(logits, bits).flatten(1).sum(1, dtype=torch.float64)


def _means(model: Frozen, b: Tensor, typical: Values, widths: dict[str, _Width]) -> dict[str, Tensor]:
    """As ``Frozen.means``; notes the width of every Normal posterior on the way."""
    values: dict[str, Tensor] = {}
    for name, group in model.encode(b).items():
        q = model.resolve(name, group, values, len(b))
        if isinstance(q, D.Distribution):
            if isinstance(normal := bare(q), D.Normal):
                widths.setdefault(name, _Width(typical[name])).add(normal)
            values[name] = mode(q)
        else:
            values[name] = q.values if isinstance(q, Discrete) else q
    return values


class _Width:
    """Sums of a group's posterior variances, and of its means about a typical value, over images, in float64."""

    def __init__(self, typical: Tensor) -> None:
        self._typical, self._n = typical.double(), 0
        self._sum, self._square, self._variance = (torch.zeros_like(self._typical) for _ in range(3))

    def add(self, q: D.Normal) -> None:
        """Adds a batch of posteriors (N, ...)."""
        shift = q.loc.double() - self._typical
        self._n += len(shift)
        self._sum = self._sum + shift.sum(0)
        self._square = self._square + shift.square().sum(0)
        self._variance = self._variance + q.scale.double().square().sum(0)

    @property
    def varies(self) -> bool:
        """Whether the means tell images apart."""
        return float(self._spread) > 0

    @property
    def share(self) -> Tensor:
        """Root of the summed posterior variances over the summed variances of the means, a scalar."""
        return (self._variance.sum() / self._n / self._spread).sqrt()

    @property
    def _spread(self) -> Tensor:
        return (self._square / self._n - (self._sum / self._n).square()).sum()
