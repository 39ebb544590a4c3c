"""Charging every nat: what the decoder receives, and what it costs to send.

For a binarized image b every model, deterministic ones too, gets an upper bound on -log p(b):

    nats(b) = E_q[-log p(b|z)] + sum over groups of rate_g(b)

- a stochastic group costs KL(q_g || p_g) (Kingma & Welling 2013, eq. 3), exact where torch knows it;
- a deterministic real code c(x) is sent through a Gaussian channel, q(z|x) = N(c(x), diag s^2), and costs
  the same KL (Hinton & van Camp 1993: bits back); ``suite.measuring.noise`` fits s;
- a discrete code k costs -log p_g(k).

A prior sees the earlier groups as the decoder receives them, noise included, and never the image.
A group that costs more than it saves need not be sent (``suite.measuring.channel.mute``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch import distributions as D

from suite.errors import ContractError
from suite.measuring.calibration import Calibration
from suite.measuring.drawing import Posterior, Sent, send
from suite.measuring.families import mode
from suite.measuring.likelihood import bernoulli_nats
from suite.measuring.pricing import log_ratio, price_group
from suite.measuring.priors import GaussianPrior, histogram_prior
from suite.measuring.trust import Frozen
from suite.training import Discrete, Group, Values

#: Images per pass, in scoring: fixed, so that the noise an image meets does not depend on the machine.
BATCH = 500


@dataclass(frozen=True)
class Message:
    """One noisy transmission of a batch of images.

    Attributes:
        values: What the decoder receives, one tensor (N, ...) per group.
        rates: Price of each group in nats, (N,) float64: an exact KL where there is one.
        sampled: Groups whose rate is a Monte Carlo estimate.
        sent: Posterior, prior and value of each group that was sent, for the importance weight.
    """

    values: dict[str, Tensor]
    rates: dict[str, Tensor]
    sampled: tuple[str, ...]
    sent: dict[str, tuple[Posterior, D.Distribution | GaussianPrior, Sent]]

    @property
    def rate(self) -> Tensor:
        """Total price, (N,); a scalar 0 where there are no groups."""
        return _total(self.rates)

    @property
    def log_ratio(self) -> Tensor:
        """log q(z|x) - log p(z) at the values sent over all groups, (N,) float64; a scalar 0 where none is sent."""
        return _total({name: log_ratio(q, prior, z, name) for name, (q, prior, z) in self.sent.items()})


@dataclass
class Channel:
    """Everything between encoder and decoder that was fitted on the training split, and nothing else.

    Attributes:
        model: The frozen baseline.
        noise: s of each deterministic real group, of the group's shape.
        gaussians: Default prior of each real group that brings none.
        histograms: Log frequencies (positions, classes) of each discrete group that brings none.
        calibration: Of the pixel logits.
        typical: Training mean (real groups) or mode (discrete ones) of each group, of the group's shape.
        muted: Groups that are not sent: the decoder gets their typical value, which is free.
    """

    model: Frozen
    noise: dict[str, Tensor]
    gaussians: dict[str, GaussianPrior]
    histograms: dict[str, Tensor]
    calibration: Calibration
    typical: dict[str, Tensor]
    muted: frozenset[str] = frozenset()

    def send(self, latents: Mapping[str, Group], n: int, rng: torch.Generator) -> Message:
        """Draws one message for n encoded images.

        Args:
            latents: What ``Frozen.encode`` returned.
            n: Number of images.
            rng: The suite's own noise.
        """
        values: dict[str, Tensor] = {}
        rates: dict[str, Tensor] = {}
        sent: dict[str, tuple[Posterior, D.Distribution | GaussianPrior, Sent]] = {}
        sampled = []
        for name, group in latents.items():
            q = self.posterior(name, group, values, n)
            if name in self.muted:
                values[name], rates[name] = self._unsent(name, q)
                continue
            z = send(q, rng)
            prior = self.prior(name, z.value, values)
            rates[name], exact = price_group(q, prior, z, f"{self.model.name}['{name}']")
            if not exact:
                sampled.append(name)
            values[name], sent[name] = z.value, (q, prior, z)
        return Message(values, rates, tuple(sampled), sent)

    def _unsent(self, name: str, q: Posterior) -> tuple[Tensor, Tensor]:
        """The typical value for every image, and a rate of 0."""
        like = q.values if isinstance(q, Discrete) else mode(q)
        free = torch.zeros(len(like), dtype=torch.float64, device=like.device)
        return self.typical[name].to(like.dtype).expand_as(like), free

    def posterior(self, name: str, group: Group, earlier: Values, n: int) -> Posterior:
        """The distribution the decoder's value is drawn from: a real code becomes N(c, diag s^2)."""
        q = self.model.resolve(name, group, earlier, n)
        if isinstance(q, Tensor):
            return D.Normal(q, self.noise[name].to(q.dtype).expand_as(q), validate_args=False)
        return q

    def prior(self, name: str, z: Tensor, earlier: Values) -> D.Distribution | GaussianPrior:
        """The prior a group is charged against: the baseline's, else the default fitted on the training split."""
        if name in self.gaussians:
            return self.gaussians[name]
        if name in self.histograms:
            return histogram_prior(self.histograms[name], z)
        prior = self.model.prior(name, earlier)
        if prior is None:
            raise ContractError(f"{self.model.name}.prior('{name}'): a prior on some calls and none on others")
        return prior

    def logits(self, values: Values, n: int) -> Tensor:
        """Calibrated pixel logits (n, C, H, W) of what the decoder receives."""
        logits = self.calibration(self.model.decode(values))
        return logits.expand(n, *logits.shape[1:])

    def distortion(self, values: Values, bits: Tensor) -> Tensor:
        """-log p(b|z) in nats, (N,) float64."""
        return bernoulli_nats(self.logits(values, len(bits)), bits).flatten(1).sum(1, dtype=torch.float64)


def _total(parts: Mapping[str, Tensor]) -> Tensor:
    return torch.stack(list(parts.values())).sum(0) if parts else torch.zeros((), dtype=torch.float64)


def batches(*tensors: Tensor) -> list[tuple[Tensor, ...]]:
    """Splits tensors of equal length into aligned batches of ``BATCH``."""
    return list(zip(*(tensor.split(BATCH) for tensor in tensors), strict=True))
