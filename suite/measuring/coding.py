"""Charging every nat: what the decoder receives, and what it costs to send.

For a binarized image b every model, deterministic ones too, gets an upper bound on -log p(b):

    nats(b) = E_q[-log p(b|z)] + sum over groups of rate_g(b)

- a stochastic group costs KL(q_g || p_g) (Kingma & Welling 2013, eq. 3), exact where torch knows it;
- a deterministic real code c(x) is sent through a Gaussian channel, q(z|x) = N(c(x), diag s^2), and costs
  the same KL (Hinton & van Camp 1993: bits back); ``suite.channel`` fits s;
- a discrete code k costs -log p_g(k).

A prior sees the earlier groups as the decoder receives them, noise included, and never the image.
A group that costs more than it saves need not be sent (``suite.channel.mute``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch import distributions as D

from suite.errors import ContractError
from suite.measuring.calibration import Calibration
from suite.measuring.likelihood import bernoulli_nats
from suite.measuring.priors import GaussianPrior, histogram_prior
from suite.measuring.trust import DISCRETE_FAMILIES, Frozen, mode
from suite.seeds import derive
from suite.training import Discrete, Group, Values

#: Images per pass, in scoring: fixed, so that the noise an image meets does not depend on the machine.
BATCH = 500

Posterior = D.Distribution | Discrete


@dataclass(frozen=True)
class Message:
    """One noisy transmission of a batch of images.

    Attributes:
        values: What the decoder receives, one tensor (N, ...) per group.
        rates: Price of each group in nats, (N,) float64: an exact KL where there is one.
        log_ratios: log q(z|x) - log p(z) at the value sent, (N,) float64: the importance weight's part.
        sampled: Groups whose rate is a Monte Carlo estimate.
    """

    values: dict[str, Tensor]
    rates: dict[str, Tensor]
    log_ratios: dict[str, Tensor]
    sampled: tuple[str, ...]

    @property
    def rate(self) -> Tensor:
        """Total price, (N,); a scalar 0 where there are no groups."""
        return _total(self.rates)

    @property
    def log_ratio(self) -> Tensor:
        """log q(z|x) - log p(z) over all groups, (N,); a scalar 0 where there are none."""
        return _total(self.log_ratios)


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
        ratios: dict[str, Tensor] = {}
        sampled = []
        for name, group in latents.items():
            q = self.posterior(name, group, values, n)
            if name in self.muted:
                values[name], rates[name], ratios[name] = self._unsent(name, q)
                continue
            z = draw(q, rng)
            prior = self.prior(name, z, values)
            rates[name], ratios[name], exact = charge(q, prior, z, f"{self.model.name}['{name}']")
            if not exact:
                sampled.append(name)
            values[name] = z
        return Message(values, rates, ratios, tuple(sampled))

    def _unsent(self, name: str, q: Posterior) -> tuple[Tensor, Tensor, Tensor]:
        """The typical value for every image, and a rate and a log ratio of 0."""
        like = q.values if isinstance(q, Discrete) else mode(q)
        free = torch.zeros(len(like), dtype=torch.float64, device=like.device)
        return self.typical[name].to(like.dtype).expand_as(like), free, free

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


def charge(q: Posterior, prior: D.Distribution | GaussianPrior, z: Tensor, where: str) -> tuple[Tensor, Tensor, bool]:
    """Prices one group.

    Args:
        q: The posterior, batch shape (N, ...), or a discrete code.
        prior: p_g, broadcastable to it.
        z: The value that was sent, (N, ...).
        where: For the error.

    Returns:
        The rate (N,), log q(z) - log p(z) (N,), and whether the rate is exact.

    Raises:
        ContractError: If prior and posterior do not fit together.
    """
    try:
        log_p = _log_prob(prior, z)
        if isinstance(q, Discrete):
            return -log_p, -log_p, True
        ratio = _log_prob(q, z) - log_p
        exact = _exact_kl(q, prior, z)
    except (ValueError, RuntimeError, IndexError) as error:
        raise ContractError(f"{where}: prior and posterior do not fit: {str(error).splitlines()[0]}") from error
    return (ratio, ratio, False) if exact is None else (exact, ratio, True)


def _log_prob(p: D.Distribution | GaussianPrior, z: Tensor) -> Tensor:
    if isinstance(p, GaussianPrior):
        return p.log_prob(z)
    # torch wants the integers of a Bernoulli as floats, those of a Categorical as indices.
    is_bernoulli = type(_element(p)) is D.Bernoulli
    return _sum(p.log_prob(z.to(torch.get_default_dtype()) if is_bernoulli else z), len(z))


def _exact_kl(q: D.Distribution, prior: D.Distribution | GaussianPrior, z: Tensor) -> Tensor | None:
    """KL(q || prior), (N,), or None where torch registers none."""
    q = _base(q)
    if isinstance(prior, GaussianPrior):
        return prior.kl(q.loc, q.scale) if type(q) is D.Normal else None
    try:
        return _sum(D.kl_divergence(q, _base(prior).expand(q.batch_shape)), len(z))
    except NotImplementedError:
        return None


def _base(p: D.Distribution) -> D.Distribution:
    """What an Independent wraps: every sum here runs over all dimensions of an image anyway."""
    while isinstance(p, D.Independent):
        p = p.base_dist
    return p


def _element(p: D.Distribution) -> D.Distribution:
    """The family of a single number: what an Independent wraps, or the components of a mixture."""
    while isinstance(p := _base(p), D.MixtureSameFamily):
        p = p.component_distribution
    return p


def _sum(terms: Tensor, n: int) -> Tensor:
    """Sums (N, ...) over everything but the batch, in float64."""
    if terms.shape[:1] != (n,):
        raise ValueError(f"expected {n} rows, found shape {tuple(terms.shape)}")
    return terms.double().reshape(n, -1).sum(1)


def _total(parts: Mapping[str, Tensor]) -> Tensor:
    return torch.stack(list(parts.values())).sum(0) if parts else torch.zeros((), dtype=torch.float64)


def draw(q: Posterior, rng: torch.Generator) -> Tensor:
    """Draws one value per image with the suite's own noise, the same on every device.

    The global streams are left as they were, so that a model cannot read or replay them.
    """
    if isinstance(q, Discrete):
        return q.values
    base = _base(q)
    if type(base) is D.Normal:
        noise = torch.randn(base.loc.shape, generator=rng, dtype=base.loc.dtype)
        return base.loc + base.scale * noise.to(base.loc.device)
    if type(base) is D.Categorical:
        uniform = torch.rand(base.logits.shape, generator=rng, dtype=torch.float64).to(base.logits.device)
        return (base.logits - (-uniform.clamp_min(1e-300).log()).log()).argmax(-1)
    seed = derive(int(torch.randint(2**62, (), generator=rng)))
    devices = [base.mean.device] if base.mean.is_cuda else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed)
        z = q.sample()
    return z.long() if type(base) in DISCRETE_FAMILIES and type(base) is not D.OneHotCategorical else z


def batches(*tensors: Tensor) -> list[tuple[Tensor, ...]]:
    """Splits tensors of equal length into aligned batches of ``BATCH``."""
    return list(zip(*(tensor.split(BATCH) for tensor in tensors), strict=True))
