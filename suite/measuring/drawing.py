"""Draws: the suite's own noise, the same on every device, and no rounding that a price does not see.

A decoder receives numbers of the model's precision, a price is that of the number before it was rounded, in float64.
What was rounded off is lost to the decoder and paid for all the same; a price of the rounded number would pay less
wherever the grid of the precision is as coarse as the noise (float32 numbers around 1e8 are 8 apart).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch import distributions as D

from suite.measuring.families import DISCRETE_FAMILIES, bare, element, is_discrete
from suite.measuring.stream import SecretGenerator, normal, uniform
from suite.seeds import derive
from suite.training import Discrete

Posterior = D.Distribution | Discrete

#: Width of the dither, in roundings of a deviation: the grid of noise below 8 deviations is no wider.
DITHER = 8


@dataclass(frozen=True)
class Sent:
    """One value per image, as it is received and as it is priced.

    Attributes:
        value: What the decoder receives, (N, ...): integers, one-hot floats, or numbers in the model's precision.
        deviation: The same number before it was rounded, less its centre; (N, ...) float64. Of counts, the value.
        centre: Where the posterior lies, (N, ...) in its own precision; None for 0. The sum of both may lose the
            deviation.
    """

    value: Tensor
    deviation: Tensor
    centre: Tensor | None = None


def draw(q: Posterior, rng: torch.Generator) -> Tensor:
    """Draws one value per image, as a decoder receives it.

    Args:
        q: The posterior, batch shape (N, ...), or a discrete code.
        rng: The suite's own noise. The global streams are left as they were, so that a model cannot replay them.
    """
    return send(q, rng).value


def send(q: Posterior, rng: torch.Generator) -> Sent:
    """Draws one value per image and keeps what its price needs. Arguments as for ``draw``."""
    if isinstance(q, Discrete):
        return Sent(q.values, q.values)
    if is_discrete(q):
        counts = _counts(bare(q), rng)
        return Sent(counts, counts)
    centre, deviation, dither = _density(bare(q), rng)
    value = (centre + deviation) + dither  # added last, where it still counts
    return Sent(value.to(element(q).loc.dtype), deviation + dither, centre)  # type: ignore[attr-defined]


def _counts(q: D.Distribution, rng: torch.Generator) -> Tensor:
    if type(q) is D.Categorical:
        return _category(q.logits, rng)
    if isinstance(rng, SecretGenerator):
        return _secret_counts(q, rng)
    seed = derive(int(torch.randint(2**62, (), generator=rng)))
    devices = [q.mean.device] if q.mean.is_cuda else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed)
        z = q.sample()
    return z.long() if type(q) in DISCRETE_FAMILIES and type(q) is not D.OneHotCategorical else z


def _secret_counts(q: D.Distribution, rng: SecretGenerator) -> Tensor:
    """Draws of a discrete family, or of a mixture of one, whose noise no other draw tells."""
    if type(q) is D.MixtureSameFamily:
        inner = _secret_counts(bare(q.component_distribution), rng)
        drawn = _of_component(q, inner, _component(q, rng))
        return drawn.float() if type(element(q)) is D.Bernoulli else drawn  # as torch draws them
    logits: Tensor = q.logits  # type: ignore[attr-defined]
    if type(q) is D.Bernoulli:
        return (uniform(rng, logits.shape).to(logits.device) < logits.double().sigmoid()).long()
    drawn = _category(logits, rng)
    if type(q) is D.OneHotCategorical:
        return torch.nn.functional.one_hot(drawn, logits.shape[-1]).to(logits.dtype)
    return drawn


def _category(logits: Tensor, rng: torch.Generator) -> Tensor:
    """The class of the largest logit under Gumbel noise (Gumbel 1954; Maddison, Tarlow and Minka 2014)."""
    drawn = uniform(rng, logits.shape).to(logits.device)
    return (logits - (-drawn.clamp_min(1e-300).log()).log()).argmax(-1)


def _density(q: D.Distribution, rng: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Centre, in the posterior's precision, deviation from it and dither, float64; each of the values' shape."""
    if type(q) is D.MixtureSameFamily:
        return _mixture(q, rng)
    loc: Tensor = q.loc  # type: ignore[attr-defined]
    # Noise of a float32 model stays the float32 stream with which published numbers were made.
    short = type(q) is D.Normal and loc.dtype != torch.float64
    precision = torch.float32 if short else torch.float64
    if type(q) is D.Laplace:
        sign, drawn = uniform(rng, (2, *loc.shape)).to(loc.device)
        # torch's own draws end at 16 scales; a double's smallest uniform is 37 away.
        noise = torch.where(sign < 0.5, -1.0, 1.0) * -(-drawn).log1p()
    else:
        noise = normal(rng, loc.shape, precision).to(loc.device).double()
    if type(q) is D.MultivariateNormal:
        rows = q.scale_tril.double()
        deviation, spread = (rows @ noise.unsqueeze(-1)).squeeze(-1), rows.abs().sum(-1)
    else:
        spread = q.scale.double()  # type: ignore[attr-defined]
        deviation = spread * noise
    return loc, deviation, _dither(spread, precision, rng)  # loc as it is: all messages of an image share it


def _mixture(q: D.MixtureSameFamily, rng: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """A draw of every component, of which those that the mixing weights choose are kept."""
    chosen = _component(q, rng)
    parts = _density(bare(q.component_distribution), rng)
    centre, deviation, dither = (_of_component(q, part, chosen) for part in parts)
    return centre, deviation, dither


def _component(q: D.MixtureSameFamily, rng: torch.Generator) -> Tensor:
    """Which component each value comes from."""
    return _category(q.mixture_distribution.logits.expand(q.component_distribution.batch_shape), rng)


def _of_component(q: D.MixtureSameFamily, drawn: Tensor, chosen: Tensor) -> Tensor:
    """Of draws of all components those of the chosen ones."""
    event = q.event_shape
    index = chosen.reshape(*chosen.shape, *[1] * (len(event) + 1)).expand(*chosen.shape, 1, *event)
    return drawn.gather(-1 - len(event), index).squeeze(-1 - len(event))


def _dither(spread: Tensor, precision: torch.dtype, rng: torch.Generator) -> Tensor:
    """What blurs the grid on which noise of finite precision lies: uniform, no wider than roundings of that noise.

    Where centre and noise cancel, their sum is finer than either: its remainder by the noise's grid would tell the last
    digits of the centre, for which nothing was paid. The dither comes from a copy of the generator, so that the stream
    of noise stays what it was.
    """
    fine = rng
    if not isinstance(rng, SecretGenerator):
        fine = torch.Generator().manual_seed(0)
        fine.set_state(rng.get_state())
    drawn = uniform(fine, spread.shape).to(spread.device) - 0.5
    return spread * (DITHER * torch.finfo(precision).eps) * drawn
