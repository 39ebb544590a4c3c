"""Latent ablation: what does each group carry, and does it earn its price?

One group at a time is replaced, and the rise of the distortion is read off in nats. In the primary mode it
is another test image's (a derangement), which stays on the aggregate posterior; zeros and prior draws can
be off it. A group's net worth is its rise minus its rate. A bypassed bottleneck's is negative: it costs and
saves nothing.

What counts as a group is the model's own word, and two groups declared as one would gain. No number about parts is
free of this: one that stays the same when groups are merged is that of all groups merged into one, and so knows the
whole message alone. Parts that the suite cuts itself are no way out. It can only cut between the numbers it is sent,
and these are the model's word too (a code turned by an orthogonal matrix says the same at the same price, and has no
useless number left); cut at random, every part mixes what is useful with what is not. So the whole message's net is
ranked: 0 for the floor and a copier, less by every nat of dead weight. It nearly repeats ``nats`` and is left out of
the overall order. The weakest group is ranked among models with groups of the same names and sizes alone.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch import distributions as D

from suite.contract import Anchor, Measure, Metric, Score, Task
from suite.measuring import (
    BATCH,
    Channel,
    GaussianPrior,
    Subject,
    bare,
    batches,
    bernoulli_nats,
    draw,
    fit_channel,
    grid,
)

#: Transmissions of each image; intact and ablated decodings share them.
DRAWS = 2
#: A unit is active if its posterior mean varies by more than this, in prior variances, and costs more nats than this.
ACTIVE = 0.01
SHOWN = 12
MODES = ("shuffle", "shuffle_within_class", "mean", "prior", "zeros", "only")

Values = dict[str, Tensor]


def derangement(n: int, rng: torch.Generator) -> Tensor:
    """A random permutation of n >= 2 items that is one cycle, so that no item keeps its place."""
    order = torch.randperm(n, generator=rng)
    shuffled = torch.empty(n, dtype=torch.long)
    shuffled[order] = order.roll(1)
    return shuffled


def derangement_within(labels: Tensor, rng: torch.Generator) -> Tensor:
    """A derangement inside every class; an image that is alone in its class stays where it is."""
    shuffled = torch.arange(len(labels))
    for label in labels.unique():
        members = (labels.cpu() == label.cpu()).nonzero().flatten()
        if len(members) > 1:
            shuffled[members] = members[derangement(len(members), rng)]
    return shuffled


def capped(ablated: Tensor, floor: Tensor) -> Tensor:
    """Per-image distortion of an ablated decoding, no worse than no image at all.

    The cap is the floor's cost of each pixel, applied where the *mean* over images exceeds it. Capped pixel
    by pixel, a copier that sends its two halves as two groups can't claim the whole image's floor for each.

    Args:
        ablated: Distortion per image and pixel, (N, D).
        floor: The pixel marginals' cost of the same bits, (N, D).

    Returns:
        (N,) nats.
    """
    over = ablated.mean(0) > floor.mean(0)
    return torch.where(over, floor, ablated).sum(1, dtype=torch.float64)


class LatentAblation(Task):
    """What each group of latents saves, against what it costs."""

    version = 2
    summary = "what each group of latents saves, minus what it costs"
    primary = "message_net"
    official = False
    metrics = (
        Metric("message_net", "nats", "higher", "rise when the whole message is another image's - its rate; ranked"),
        Metric("weakest_net", "nats", "", "minimum over groups of rise under shuffle - rate; moves with the cut"),
        Metric("weakest_net/*", "nats", "higher", "the same, ranked among models with these groups of these sizes"),
        Metric("net/*", "nats", "higher", "rise of a group under shuffle minus its rate"),
        Metric("rise/*", "nats", "", "rise of the distortion when a group is another image's"),
        *(Metric(f"rise_{mode}/*", "nats", "", f"rise with the group replaced by: {mode}") for mode in MODES[1:-1]),
        Metric("rise_only/*", "nats", "", "rise with every other group replaced by another image's"),
        Metric("share/*", "", "", "share of the group in the non-negative rises under shuffle"),
        Metric("core_share", "", "", "share of the declared core group; not ranked, the core is self-declared"),
        Metric("return/*", "", "higher", "rise per nat of rate"),
        Metric("rate/*", "nats", "", "price of the group"),
        Metric("gradient/*", "nats", "", "norm of d distortion / d group, times the group's scale"),
        Metric("active_units/*", "units", "", f"dimensions with variance > {ACTIVE} and KL > {ACTIVE} nats"),
        Metric("distortion", "nats", "lower", "intact, same transmissions"),
        Metric("floor", "nats", "", "message_net of a model without latents"),
    )
    anchors = (
        Anchor("floor", "0: a model without latents"),
        Anchor("copy", "0: it saves exactly what it costs, however it is cut into groups or merged"),
    )

    def card(self) -> dict[str, Any]:
        """The rules, from the values the code uses."""
        return {
            "ranked": "the whole message's net; not in the overall order, for it nearly repeats nats",
            "weakest group": "ranked among equal names and sizes of groups, as weakest_net/NAME:SIZE/NAME:SIZE",
            "modes": MODES,
            "transmissions per image": DRAWS,
            "cap": "the pixel marginals' cost, per pixel",
            "active unit": f"variance of the posterior mean > {ACTIVE} prior variances and KL > {ACTIVE} nats",
            "images per pass": BATCH,
        }

    def score(self, subject: Subject) -> Score:
        """Ablates every group; see ``Task.score``."""
        channel = fit_channel(subject)
        experiment = _Experiment(subject, channel)
        score = Score(metrics={"distortion": Measure.mean(experiment.intact), "floor": Measure(0.0)})
        if not experiment.groups:
            nothing = torch.zeros_like(experiment.intact)
            score.metrics["message_net"], score.per_image["message_net"] = Measure.mean(nothing), nothing.cpu().numpy()
            score.notes.append("no latents: nothing to ablate")
            return score
        rises = {name: experiment.rise([name], "shuffle") for name in experiment.groups}
        nets = {name: rises[name] - experiment.rates[name] for name in rises}
        weakest = min(nets, key=lambda name: float(nets[name].mean()))
        whole = experiment.rise(experiment.groups, "shuffle") - torch.stack(list(experiment.rates.values())).sum(0)
        grouping = "/".join(f"{name}:{value[0].numel()}" for name, value in experiment.sent[0].items())
        score.metrics["weakest_net"] = Measure.mean(nets[weakest])
        for name, net in {"message_net": whole, f"weakest_net/{grouping}": nets[weakest]}.items():
            score.metrics[name] = Measure.mean(net)
            score.per_image[name] = net.cpu().numpy()
        _add_groups(score, experiment, rises, nets)
        _add_shares(score, {n: float(r.mean()) for n, r in rises.items()}, channel.model.core)
        score.notes.append(f"weakest group: {weakest}")
        score.pictures["ablation"] = experiment.picture()
        return score


def _add_groups(score: Score, experiment: _Experiment, rises: Values, nets: Values) -> None:
    active, gradients = experiment.active_units(), experiment.gradients()
    for name, rise in rises.items():
        rate = experiment.rates[name]
        score.metrics[f"rise/{name}"] = Measure.mean(rise)
        score.metrics[f"rate/{name}"] = Measure.mean(rate)
        score.metrics[f"net/{name}"] = Measure.mean(nets[name])
        if float(rate.mean()) > 0:
            score.metrics[f"return/{name}"] = Measure(float(rise.mean() / rate.mean()))
        for mode in MODES[1:]:
            victims = [n for n in rises if n != name] if mode == "only" else [name]
            score.metrics[f"rise_{mode}/{name}"] = Measure.mean(experiment.rise(victims, mode))
        score.per_image[f"rise/{name}"] = rise.cpu().numpy()
        if name in active:
            score.metrics[f"active_units/{name}"] = Measure(float(active[name]))
        if name in gradients:
            score.metrics[f"gradient/{name}"] = Measure(gradients[name])


def _add_shares(score: Score, rises: dict[str, float], core: str) -> None:
    total = sum(max(rise, 0.0) for rise in rises.values())
    for name, rise in rises.items():
        score.metrics[f"share/{name}"] = Measure(max(rise, 0.0) / total if total > 0 else 0.0)
    score.metrics["core_share"] = score.metrics[f"share/{core}"]


class _Experiment:
    """The test set sent once (``DRAWS`` times) through the channel, to be decoded with groups replaced."""

    def __init__(self, subject: Subject, channel: Channel) -> None:
        self.subject, self.channel = subject, channel
        self.bits = subject.dataset.test.binary
        self.floor = bernoulli_nats(channel.calibration.floor, self.bits).flatten(1)
        self.sent: list[Values] = []
        rates = []
        for k in range(DRAWS):
            parts = []
            for i, (b,) in enumerate(batches(self.bits)):
                parts.append(channel.send(channel.model.encode(b), len(b), subject.rng("ablation", k, i)))
            names = list(parts[0].values)  # popped: no more than one group's parts are held beside what they make
            self.sent.append({n: torch.cat([p.values.pop(n) for p in parts]) for n in names})
            rates.append({n: torch.cat([p.rates[n] for p in parts]) for n in parts[0].rates})
        self.groups = list(self.sent[0])
        self.rates = {n: torch.stack([r[n] for r in rates]).mean(0) for n in self.groups}
        self.intact = self._distortion(lambda values, k: values).sum(1, dtype=torch.float64)

    def _distortion(self, replace: Callable[[Values, int], Values]) -> Tensor:
        """Distortion per image and pixel, (N, D), the mean over transmissions."""
        total = torch.zeros_like(self.floor)
        for k, values in enumerate(self.sent):
            altered = replace(values, k)
            for start in range(0, len(self.bits), BATCH):
                part = slice(start, start + BATCH)
                b = self.bits[part]
                logits = self.channel.logits({n: v[part] for n, v in altered.items()}, len(b))
                total[part] += bernoulli_nats(logits, b).flatten(1)
        return total / len(self.sent)

    def rise(self, victims: list[str], mode: str) -> Tensor:
        """Rise of the distortion of each image, (N,) nats, with these groups replaced."""
        ablated = self._distortion(lambda values, k: values | self._replaced(victims, mode, values, k))
        return capped(ablated, self.floor) - self.intact

    def _replaced(self, victims: list[str], mode: str, values: Values, k: int) -> Values:
        # A whole message changes places in the same way however it is cut.
        named = victims if len(victims) < len(self.groups) else ["message"]
        rng, device = self.subject.rng("ablation", mode, *named, k), self.bits.device
        if mode in ("shuffle", "shuffle_within_class", "only"):
            within = mode == "shuffle_within_class"
            labels = self.subject.dataset.test.labels
            order = derangement_within(labels, rng) if within else derangement(len(labels), rng)
            return {n: values[n][order.to(device)] for n in victims}
        if mode == "mean":
            return {n: self.channel.typical[n].to(values[n].dtype).expand_as(values[n]) for n in victims}
        if mode == "zeros":
            return {n: torch.zeros_like(values[n]) for n in victims}
        return {n: self._from_prior(n, values, rng) for n in victims}

    def _from_prior(self, name: str, values: Values, rng: torch.Generator) -> Tensor:
        """Draws of the group's prior, given the earlier groups as they were sent."""
        draws = []
        for start in range(0, len(self.bits), BATCH):
            part = {n: v[start : start + BATCH] for n, v in values.items()}
            earlier = {n: part[n] for n in self.groups[: self.groups.index(name)]}
            like = part[name]
            prior = self.channel.prior(name, like, earlier)
            if isinstance(prior, GaussianPrior):
                noise = torch.randn(len(like), like[0].numel(), generator=rng).to(like.device)
                draws.append(prior.sample(like, noise))
            else:
                draws.append(draw(prior.expand(_batch_shape(prior, like)), rng).to(like.dtype).reshape(like.shape))
        return torch.cat(draws)

    def active_units(self) -> dict[str, int]:
        """Number of active dimensions of each group with Gaussian posteriors."""
        found: dict[str, _Activity] = {}
        for i, (b,) in enumerate(batches(self.bits)):
            latents, start = self.channel.model.encode(b), i * BATCH
            earlier: Values = {}
            for name, group in latents.items():
                q = self.channel.posterior(name, group, earlier, len(b))
                z = self.sent[0][name][start : start + BATCH]
                moments = _gaussian(self.channel.prior(name, z, earlier), z)
                base = bare(q) if isinstance(q, D.Distribution) else q
                if isinstance(base, D.Normal) and moments is not None:
                    found.setdefault(name, _Activity()).add(base.loc.flatten(1), base.scale.flatten(1), *moments)
                earlier[name] = z
        return {name: activity.count() for name, activity in found.items()}

    def gradients(self) -> dict[str, float]:
        """Mean norm of the gradient of the distortion at the values sent, times the group's standard deviation."""
        values = {n: v[:BATCH] for n, v in self.sent[0].items()}
        free = {n: v.clone().requires_grad_(True) for n, v in values.items() if v.is_floating_point()}
        if not free:
            return {}
        with torch.enable_grad():
            logits = self.channel.calibration(self.channel.model.decode(values | free, gradients=True))
            nats = bernoulli_nats(logits, self.bits[:BATCH]).sum()
            inputs = list(free.values())
            found = torch.autograd.grad(nats, inputs, allow_unused=True) if nats.requires_grad else [None] * len(inputs)
        scaled = {}
        for (name, value), gradient in zip(free.items(), found, strict=True):
            spread = value.detach().std(0)
            norms = torch.zeros(()) if gradient is None else (gradient * spread).flatten(1).norm(dim=1).mean()
            scaled[name] = float(norms)
        return scaled

    def picture(self) -> Tensor:
        """Rows: image, intact, then per group: another image's group, and this group alone."""
        rows = [self.subject.dataset.test.grey[:SHOWN]]
        changes: list[Callable[[Values], Values]] = [lambda values: values]
        for name in self.groups:
            for mode in ("shuffle", "only"):
                victims = [n for n in self.groups if n != name] if mode == "only" else [name]
                changes.append(lambda values, v=victims, m=mode: values | self._replaced(v, m, values, 0))  # type: ignore[misc]
        for change in changes:
            shown = {n: v[:SHOWN] for n, v in change(self.sent[0]).items()}
            rows.append(self.channel.logits(shown, SHOWN).sigmoid())
        return grid(rows)


def _batch_shape(prior: D.Distribution, like: Tensor) -> torch.Size:
    """The batch shape with which one draw of the prior has the shape of ``like``."""
    return like.shape[: like.ndim - len(prior.event_shape)]


def _gaussian(prior: D.Distribution | GaussianPrior, z: Tensor) -> tuple[Tensor, Tensor] | None:
    """Mean and standard deviation of every unit under the prior, each (N, d), or None for other families."""
    if isinstance(prior, GaussianPrior):
        mean, scale = prior.mean, prior.variances.sqrt()
    else:
        base = bare(prior)
        if not isinstance(base, D.Normal):
            return None
        mean, scale = base.loc.expand(z.shape).flatten(1), base.scale.expand(z.shape).flatten(1)
    flat = z.flatten(1)
    return mean.to(z.dtype).expand_as(flat), scale.to(z.dtype).expand_as(flat)


class _Activity:
    """Burda et al. 2015, sec. 5: units whose posterior mean varies, and whose KL isn't negligible. Holds sums alone."""

    def __init__(self) -> None:
        self.images = 0
        self.sums: Tensor | float = 0.0

    def add(self, loc: Tensor, scale: Tensor, prior_loc: Tensor, prior_scale: Tensor) -> None:
        """Takes the posteriors and priors of a batch, each (n, d)."""
        deviation = ((loc - prior_loc) / prior_scale).double()
        kl = D.kl_divergence(D.Normal(loc, scale), D.Normal(prior_loc, prior_scale)).double()
        self.images += len(loc)
        self.sums = self.sums + torch.stack([deviation.sum(0), deviation.square().sum(0), kl.sum(0)])

    def count(self) -> int:
        """Units that are active over all images."""
        assert isinstance(self.sums, Tensor)
        mean, square, kl = self.sums / self.images
        variance = (square - mean.square()) * self.images / (self.images - 1)
        return int(((variance > ACTIVE) & (kl > ACTIVE)).sum())
