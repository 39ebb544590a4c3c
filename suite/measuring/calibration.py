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

from dataclasses import dataclass

import torch
from torch import Tensor

from suite.measuring.likelihood import bernoulli_nats

#: Newton stops when a step promises less than this many nats per image.
TOLERANCE = 1e-6
MAX_STEPS = 50
CHUNK = 4096


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
    shortest = _total_nats(best, logits, bits)
    for free_offset in (False, True):
        candidate, nats = _newton(candidate, logits, bits, free_offset)
        parameters = 1 + floor.numel() * free_offset
        length = nats + parameters / 2 * torch.tensor(len(bits)).double().log().item()
        if length < shortest:
            best, shortest = candidate, length
    return best


def _total_nats(calibration: Calibration, logits: Tensor, bits: Tensor) -> float:
    chunks = zip(logits.split(CHUNK), bits.split(CHUNK), strict=True)
    return sum(float(bernoulli_nats(calibration(chunk), b).sum(dtype=torch.float64)) for chunk, b in chunks)


def _ridge(calibration: Calibration) -> float:
    """-log of the standard normal prior on (a - 1, u), in nats: it only decides where the data say nothing."""
    return 0.5 * float((calibration.scale - 1).double() ** 2 + calibration.offset.double().square().sum())


def _newton(start: Calibration, logits: Tensor, bits: Tensor, free_offset: bool) -> tuple[Calibration, float]:
    """Minimizes total nats + ridge over a (and u); returns the minimizer and its nats without the ridge."""
    current, nats = start, _total_nats(start, logits, bits)
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
    shape, floor = at.offset.shape, at.floor
    g_u, h_u, h_au = (torch.zeros(shape, dtype=torch.float64, device=floor.device) for _ in range(3))
    g_a, h_a = (torch.zeros((), dtype=torch.float64, device=floor.device) for _ in range(2))
    for chunk, b in zip(logits.split(CHUNK), bits.split(CHUNK), strict=True):
        probability = at(chunk).sigmoid()
        residual, curvature, lever = probability - b, probability * (1 - probability), chunk - floor
        g_u += residual.sum(0, dtype=torch.float64)
        h_u += curvature.sum(0, dtype=torch.float64)
        weighted = curvature * lever
        h_au += weighted.sum(0, dtype=torch.float64)
        g_a += (residual * lever).sum(dtype=torch.float64)
        h_a += (weighted * lever).sum(dtype=torch.float64)
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
