"""A reference density of binary images with an exact likelihood: how common is an image, whoever made it?

A mixture of product Bernoullis (Bishop 2006, section 9.3.3), fitted by EM to training images from a stream of its
own, so that it is the same for every model that is scored.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional as F

from suite.seeds import torch_rng

if TYPE_CHECKING:
    from suite.measuring.subject import Subject

#: Components, and how many training images at most they are fitted to.
COMPONENTS, IMAGES = 50, 20_000
#: EM stops when a step gains less than this share of the nats, or after so many steps.
TOLERANCE, STEPS = 1e-4, 100
#: Every component also counts this many images at the mean of all, which keeps its probabilities off 0 and 1.
PSEUDO_IMAGES = 1.0


@dataclass(frozen=True)
class Mixture:
    """p(b) = sum over k of w_k prod over i of Bernoulli(b_i; p_ki).

    Attributes:
        log_weights: log w_k, (K,).
        logits: Of p_ki, (K, D).
    """

    log_weights: Tensor
    logits: Tensor

    def log_joint(self, bits: Tensor) -> Tensor:
        """Log p(b, k) of binary images (N, ...), (N, K)."""
        return bits.flatten(1) @ self.logits.T - F.softplus(self.logits).sum(1) + self.log_weights

    def nats(self, bits: Tensor) -> Tensor:
        """-log p(b) of binary images (N, ...), exact, (N,) float64."""
        return -self.log_joint(bits).double().logsumexp(1)


def fit(bits: Tensor, rng: torch.Generator) -> Mixture:
    """Fits a mixture to binary images (N, ...) by EM, from ``COMPONENTS`` of them at random."""
    x = bits.flatten(1)
    mean = (x.sum(0) + 1) / (len(x) + 2)
    start = x[torch.randperm(len(x), generator=rng)[:COMPONENTS].to(x.device)]
    current = Mixture(x.new_full((len(start),), 1 / len(start)).log(), torch.logit((start + mean) / 2))
    before = float("inf")
    for _ in range(STEPS):
        joint = current.log_joint(x)
        nats = -float(joint.logsumexp(1).mean())
        if before - nats < TOLERANCE * nats:
            break
        before, current = nats, _maximize(joint.softmax(1), x, mean)
    return current


def reference(subject: Subject) -> Mixture:
    """Returns the reference density of a subject's dataset, fitted once per checkpoint."""
    dataset = subject.dataset

    def compute() -> dict[str, Tensor]:
        fitted = fit(dataset.train.binary[:IMAGES], torch_rng("density", dataset.info.name))
        return {"log_weights": fitted.log_weights, "logits": fitted.logits}

    return Mixture(**subject.kept("reference-density", compute))


def _maximize(responsibility: Tensor, x: Tensor, mean: Tensor) -> Mixture:
    """The M step: weights and probabilities from responsibilities (N, K)."""
    mass = responsibility.sum(0) + PSEUDO_IMAGES
    on = responsibility.T @ x + PSEUDO_IMAGES * mean
    return Mixture((mass / mass.sum()).log(), torch.logit(on / mass.unsqueeze(1)))
