"""Calibration: every model's logits are judged on what they know, not on their scale.

A decoder's logits l are replaced by a * l + t, a >= 0 a scalar and t one offset per pixel, fitted on the
training split. We write the same family around the floor's logits m (the pixel marginals):

    m + a (l - m) + u        that is, t = (1 - a) m + u.

a = 1, u = 0 leaves the model as it is and a = 0, u = 0 is the floor itself, so that no model can do worse
on the training split than one that knows nothing. Three nested fits compete: as is, a alone, a and u. A
fit is kept only if it saves more nats on the training split than its k parameters cost to send, k/2 ln N
(Rissanen 1978): a calibration is part of the message too.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from suite.measuring.likelihood import bernoulli_nats

#: Newton stops when a step promises less than this many nats per image.
TOLERANCE = 1e-6
MAX_STEPS = 50
#: Images whose terms are summed in float32, in the processor's cache; across these sums we add up in float64.
CHUNK = 256


@dataclass(frozen=True)
class Calibration:
    """The map l -> m + a (l - m) + u of pixel logits (N, C, H, W).

    Attributes:
        floor: m, logits of the pixel marginals, (C, H, W).
        scale: a >= 0, a scalar.
        offset: u, (C, H, W).
    """

    floor: Tensor
    scale: Tensor
    offset: Tensor

    @staticmethod
    def identity(floor: Tensor) -> Calibration:
        """The calibration that changes nothing."""
        return Calibration(floor, torch.ones((), dtype=floor.dtype, device=floor.device), torch.zeros_like(floor))

    def __call__(self, logits: Tensor) -> Tensor:
        """Calibrates logits of shape (N, C, H, W)."""
        # Written so that a = 1, u = 0 gives the logits back to the last bit.
        return logits + (self.scale - 1) * (logits - self.floor) + self.offset


def fit(logits: Tensor, bits: Tensor, floor: Tensor) -> Calibration:
    """Fits a calibration to training logits and bits by Newton's method.

    Args:
        logits: (N, C, H, W), one decoding of each training image.
        bits: (N, C, H, W) in {0, 1}, what they should say.
        floor: (C, H, W), from ``floor_logits``.

    Returns:
        The cheapest of the three nested fits by description length.
    """
    best = candidate = Calibration.identity(floor)
    shortest = nats = _total_nats(best, logits, bits)
    for free_offset in (False, True):
        candidate, nats = _newton(candidate, nats, logits, bits, free_offset)
        parameters = 1 + floor.numel() * free_offset
        length = nats + parameters / 2 * torch.tensor(len(bits)).double().log().item()
        if length < shortest:
            best, shortest = candidate, length
    return best


def _chunks(logits: Tensor, bits: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    return zip(logits.split(CHUNK), bits.split(CHUNK), strict=True)


def _total_nats(calibration: Calibration, logits: Tensor, bits: Tensor) -> float:
    total = torch.zeros(calibration.floor.shape, dtype=torch.float64, device=logits.device)
    for chunk, b in _chunks(logits, bits):
        total += bernoulli_nats(calibration(chunk), b).sum(0)
    return float(total.sum())


def _ridge(calibration: Calibration) -> float:
    """-log of the standard normal prior on (a - 1, u), in nats: it only decides where the data say nothing."""
    return 0.5 * float((calibration.scale - 1).double() ** 2 + calibration.offset.double().square().sum())


def _newton(
    current: Calibration, nats: float, logits: Tensor, bits: Tensor, free_offset: bool
) -> tuple[Calibration, float]:
    """Minimizes total nats + ridge over a (and u), from a calibration of so many nats.

    Returns the minimizer and its nats without the ridge.
    """
    for _ in range(MAX_STEPS):
        step_a, step_u, promised = _newton_step(current, logits, bits, free_offset)
        if promised < TOLERANCE * len(bits):
            break
        for halving in range(12):
            size = 0.5**halving
            scale = (current.scale - size * step_a).clamp(min=0)
            trial = Calibration(current.floor, scale, current.offset - size * step_u)
            trial_nats = _total_nats(trial, logits, bits)
            if trial_nats + _ridge(trial) < nats + _ridge(current):
                break
        else:
            break
        current, nats = trial, trial_nats
    return current, nats


def _newton_step(at: Calibration, logits: Tensor, bits: Tensor, free_offset: bool) -> tuple[Tensor, Tensor, float]:
    """The Newton step in (a, u) and the decrease it promises.

    The Hessian is an arrow: a meets every u_i, the u_i don't meet one another; it is solved by the Schur
    complement of its diagonal block.
    """
    floor = at.floor
    g_u, h_u, h_au, g_a, h_a = _derivatives(at, logits, bits, free_offset)
    g_a, h_a = g_a + (at.scale.double() - 1), h_a + 1
    if not free_offset:
        step = g_a / h_a if at.scale or g_a < 0 else torch.zeros_like(g_a)
        return step.to(floor.dtype), torch.zeros_like(floor), float(0.5 * g_a * step)
    g_u, h_u = g_u + at.offset.double(), h_u + 1
    step_a = (g_a - (h_au * g_u / h_u).sum()) / (h_a - (h_au**2 / h_u).sum())
    if not at.scale and step_a > 0:  # a is at its bound and would leave it: move u alone
        step_a = torch.zeros_like(step_a)
    step_u = (g_u - h_au * step_a) / h_u
    promised = 0.5 * (g_a * step_a + (g_u * step_u).sum())
    return step_a.to(floor.dtype), step_u.to(floor.dtype), float(promised)


def _derivatives(at: Calibration, logits: Tensor, bits: Tensor, free_offset: bool) -> tuple[Tensor, ...]:
    """Gradient and Hessian of the total nats, in float64: by u, by u twice, by a and u, (C, H, W); by a, by a twice.

    Those by u are left at 0 where u is not free.
    """
    shape, floor = at.offset.shape, at.floor
    g_u, h_u, h_au, g_a, h_a = torch.zeros(5, *shape, dtype=torch.float64, device=floor.device)
    for chunk, b in _chunks(logits, bits):
        probability = at(chunk).sigmoid_()
        residual, lever = probability - b, chunk - floor
        curvature = probability.addcmul_(probability, probability, value=-1)  # p (1 - p), in place
        if free_offset:
            g_u += residual.sum(0)
            h_u += curvature.sum(0)
        g_a += residual.mul_(lever).sum(0)
        weighted = curvature.mul_(lever)
        if free_offset:
            h_au += weighted.sum(0)
        h_a += weighted.mul_(lever).sum(0)
    return g_u, h_u, h_au, g_a.sum(), h_a.sum()
