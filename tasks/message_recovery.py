"""Do messages survive? Drawn from the prior, decoded, disturbed, encoded again: how much of them arrives?

The question that the inverted autoencoder is trained on (ichko 2020), asked of every model with a Gaussian prior on
its core. What arrives is read linearly, so that a rotated or rescaled message counts as recovered, and measured in
nats of mutual information, from below (Barber & Agakov 2003, The IM algorithm): for any q

    I(u; y) >= E[log q(u | y) - log p(u)],

where u ~ N(0, I) is the standard normal noise from which the core was made (core = mean + scale u), so that p is
known exactly whatever the prior, and y is what the encoder says of the disturbed image.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch import distributions as D
from torch.nn import functional as F

from suite.contract import Anchor, Measure, Metric, Score, Task, Unsupported
from suite.measuring import (
    BATCH,
    Channel,
    GaussianPrior,
    Moments,
    bare,
    discrete_groups,
    draw,
    fit_channel,
    grid,
    linear,
    project,
)

if TYPE_CHECKING:
    from suite.measuring import Subject

#: Draws on which a read-out is fitted, its penalty and error are chosen, and its estimates are judged.
FIT, CHOOSE, JUDGE = 1500, 500, 1000
#: The smoke budget draws so many times fewer.
SMOKE = 5
#: Positions of a longer message that are looked for.
LONGEST = 512
#: Penalties of the ridge regression, per draw on standardized inputs; reading nothing is one more choice.
RIDGES = (1e-6, 1e-4, 1e-2, 1e-1, 1.0)
#: A position is read only where that lowers its squared error by this share: chance does less.
WORTH = 0.01
#: A position is known no better than to this share of its variance: beyond it lies rounding.
EXACT = 1e-6
#: Of a noise that is taken out of a variance this share stays: twice what float32, in which a channel keeps its noise,
#: may have rounded off. Less, and the difference could be below zero.
ROUNDING = 2.5e-7
#: Strengths of the disturbance, and the one that is ranked: the geometry that the inverted autoencoder was made for.
STRENGTHS = (0.0, 0.25, 0.5, 1.0, 2.0)
REFERENCE = 1.0
#: At strength 1: degrees; shares of the side; share; degrees; standard deviation of the noise in intensities.
ROTATION, SHIFT, SCALE, SHEAR, NOISE = 30.0, 0.1, 0.1, 10.0, 0.25
#: Corners move inwards by up to half this share of the side; above strength 1 no further, lest the image folds.
PERSPECTIVE = 0.6
#: Share of the images that are seen in perspective.
PERSPECTIVE_SHARE = 0.5
#: The seed whose cell also measures the untrained model.
UNTRAINED_SEED = 0
SHOWN = 12

Values = dict[str, Tensor]


@dataclass(frozen=True)
class Reading:
    """What a linear read-out tells of messages it was not fitted on.

    Attributes:
        nats: log q(u | y) - log p(u) of each draw, (n,) float64; its mean bounds the mutual information from below.
        explained: Share of each position's variance that is explained, (d,).
        hits: Whether a draw's message is the nearest among all n to what was read, (n,).
    """

    nats: Tensor
    explained: Tensor
    hits: Tensor


def read(sent: Tensor, received: Tensor, sizes: tuple[int, int, int] = (FIT, CHOOSE, JUDGE)) -> Reading:
    """Reads messages off what was received, with q(u | y) a product of Normals around a ridge regression's estimate.

    For a linear model with independent noise the bound is exact: y = u + sigma e gives 1/2 ln(1 + 1/sigma^2) per
    position, and 1 / (1 + sigma^2) of the variance explained.

    Args:
        sent: u, standard normal, (n, d).
        received: y, (n, k).
        sizes: Draws to fit on, to choose each position's penalty and error on, and to judge on; their sum is n.
    """
    u, y = sent.double().split(sizes), [part.double() for part in linear.standardize(*received.split(sizes))]
    mean = u[0].mean(0)
    weights = [ridge(y[0], u[0] - mean, strength) for strength in RIDGES]

    def estimates(y: Tensor) -> Tensor:
        nothing = torch.zeros(len(y), len(mean), dtype=y.dtype, device=y.device)
        return torch.stack([*(y @ w + mean for w in weights), nothing])

    errors = (estimates(y[1]) - u[1]).square().mean(1) / u[1].square().mean(0)
    error, best = errors.min(0)
    best = torch.where(error < 1 - WORTH, best, len(RIDGES))
    error = errors.gather(0, best.unsqueeze(0))[0].clamp(EXACT, 1)
    estimate = estimates(y[2]).gather(0, best.expand(1, len(y[2]), -1))[0]
    missed = (estimate - u[2]).square()
    return Reading(
        nats=0.5 * (u[2].square() - missed / error - error.log()).sum(1),
        explained=1 - missed.mean(0) / u[2].square().mean(0),
        hits=(estimate @ F.normalize(u[2]).T).argmax(1) == torch.arange(len(estimate), device=estimate.device),
    )


def ridge(x: Tensor, u: Tensor, strength: float) -> Tensor:
    """Weights (k, d) that minimize mean |x w - u|^2 + strength |w|^2, for x (n, k) and u (n, d)."""
    n, k = x.shape
    eye = torch.eye(min(n, k), dtype=x.dtype, device=x.device)
    if k <= n:
        return torch.linalg.solve(x.T @ x / n + strength * eye, x.T @ u / n)
    return x.T @ torch.linalg.solve(x @ x.T / n + strength * eye, u / n)


def disturb(x: Tensor, strength: float, rng: torch.Generator) -> Tensor:
    """Adds normal noise to images (N, C, H, W) and warps them, a random homography each; [0, 1] is kept.

    At strength 0 these are the images themselves. The draws are the same at every strength, and on every device.
    """
    from kornia.geometry import warp_perspective

    warp = homographies(len(x), *x.shape[2:], strength, rng).to(x.device, x.dtype)
    noise = torch.randn(x.shape, generator=rng).to(x.device, x.dtype)
    if strength == 0:
        return x
    return warp_perspective(x + strength * NOISE * noise, warp, tuple(x.shape[2:])).clamp(0, 1)


def homographies(n: int, height: int, width: int, strength: float, rng: torch.Generator) -> Tensor:
    """Returns (n, 3, 3) random homographies of pixel coordinates: an affine map, then now and then a perspective."""
    from kornia.geometry import get_affine_matrix2d, get_perspective_transform

    def uniform(*shape: int) -> Tensor:
        return 2 * torch.rand(*shape, generator=rng) - 1

    side = torch.tensor([float(width), float(height)])
    corners = torch.tensor([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]]) * (side - 1)
    affine = get_affine_matrix2d(
        translations=strength * SHIFT * side * uniform(n, 2),
        center=((side - 1) / 2).expand(n, 2),
        scale=1 + strength * SCALE * uniform(n, 1).expand(n, 2),
        angle=strength * ROTATION * uniform(n),
        sx=math.radians(strength * SHEAR) * uniform(n),
        sy=torch.zeros(n),
    )
    inwards = torch.tensor([[1.0, 1.0], [-1.0, 1.0], [-1.0, -1.0], [1.0, -1.0]])
    moved = (uniform(n, 4, 2) + 1) / 2 * min(strength, 1) * PERSPECTIVE / 2
    seen = torch.rand(n, 1, 1, generator=rng) < PERSPECTIVE_SHARE
    perspective = get_perspective_transform(corners.expand(n, 4, 2), corners + seen * moved * inwards * side)
    return perspective @ affine


class MessageRecovery(Task):
    """Nats of a message that arrive through decoder, disturbance and encoder."""

    version = 2
    summary = "nats of a random message that survive decoding, a disturbance of the image, and encoding"
    primary = "nats_bound"
    official = False
    metrics = (
        Metric("nats_bound", "nats", "higher", f"of a message that arrive at strength {REFERENCE:g}, from below"),
        Metric("variance_explained", "%", "higher", "of the message by a linear read-out of what arrives"),
        Metric("retrieval", "%", "higher", f"messages that are told apart from all others of {JUDGE}"),
        Metric("message_error", "", "lower", "squared error of the core as it arrives, over its variance; no read-out"),
        Metric("nats_bound_clean", "nats", "higher", "nats_bound without disturbance"),
        Metric("variance_explained_clean", "%", "higher", "variance_explained without disturbance"),
        Metric("retrieval_clean", "%", "higher", "retrieval without disturbance"),
        Metric("nats_bound_untrained", "nats", "", "nats_bound of the same model untrained"),
        Metric("gain", "nats", "higher", "nats_bound over nats_bound_untrained"),
        Metric("message_numbers", "", "", "numbers per message"),
    )
    anchors = (
        Anchor("floor", "0: the images say nothing of the message"),
        Anchor("exact", "d/2 ln(1 + 1/s^2): d numbers that arrive linearly, under normal noise of s deviations"),
    )

    def card(self) -> dict[str, Any]:
        return {
            "messages": "every group from its prior: the model's own, else with the moments of the training codes",
            "images": "the decoder's sigmoid, uncalibrated, as grey images",
            "strengths": f"{', '.join(f'{s:g}' for s in STRENGTHS)}; ranked at {REFERENCE:g}",
            "noise at strength 1": f"normal, mean 0, standard deviation {NOISE:g}, added first; clamped to [0, 1] last",
            "affine map at strength 1": f"up to {ROTATION:g} degrees, shift {SHIFT:g} of the side, scale {SCALE:g}, "
            f"shear {SHEAR:g} degrees",
            "perspective at strength 1": f"in {PERSPECTIVE_SHARE:g} of the images; corners up to {PERSPECTIVE / 2:g} "
            "of the side inwards, and no further at higher strengths",
            "interpolation": "one homography per image, bilinear, black outside",
            "draws": f"{FIT} to fit, {CHOOSE} to choose, {JUDGE} to judge; at smoke 1/{SMOKE} of them",
            "read-out": f"ridge regression, penalty of each position one of {', '.join(map(str, RIDGES))}, or nothing "
            f"where the error falls by less than {WORTH:g}",
            "positions": f"{LONGEST} at most, drawn once",
            "known at best to": f"{EXACT:g} of a position's variance",
            "untrained": f"in the cell of seed {UNTRAINED_SEED}, for models trained by gradient steps",
        }

    def score(self, subject: Subject) -> Score:
        channel = without_noise(fit_channel(_checked(subject)))
        experiment = _Experiment(subject, channel)
        readings = {strength: experiment.reading(strength) for strength in STRENGTHS}
        score = Score(metrics={"message_error": experiment.message_error(REFERENCE)})
        for suffix, reading in (("", readings[REFERENCE]), ("_clean", readings[0.0])):
            score.metrics |= {f"{name}{suffix}": measure for name, measure in _measures(reading).items()}
        score.metrics["message_numbers"] = Measure(float(experiment.core[0].numel()))
        score.per_image = {"nats_bound": readings[REFERENCE].nats.cpu().numpy()}
        for name in _measures(readings[REFERENCE]):
            score.curves[name] = [(strength, _measures(r)[name].value) for strength, r in readings.items()]
        if subject.seed == UNTRAINED_SEED and subject.model.trainable:
            random = _Experiment(subject, replace(channel, model=subject.untrained())).reading(REFERENCE)
            score.metrics["nats_bound_untrained"] = Measure.mean(random.nats)
            score.metrics["gain"] = Measure.mean(readings[REFERENCE].nats - random.nats)
        if channel.model.core in channel.gaussians:
            score.notes.append("messages with the moments of the training codes: the core brings no prior")
        score.pictures["messages"] = experiment.picture()
        return score


def _checked(subject: Subject) -> Subject:
    """Raises ``Unsupported`` where there is no real-valued core."""
    x = subject.dataset.val.grey[:2]
    if not subject.model.encode(x):
        raise Unsupported("no latents, so no message")
    if subject.model.core in discrete_groups(subject.model, x):
        raise Unsupported(f"the core group '{subject.model.core}' is discrete: messages are real numbers")
    return subject


def _measures(reading: Reading) -> dict[str, Measure]:
    return {
        "nats_bound": Measure.mean(reading.nats),
        "variance_explained": Measure(float(100 * reading.explained.mean())),
        "retrieval": Measure.mean(100 * reading.hits.double()),
    }


class _Experiment:
    """Messages drawn once, with the images that they decode to; disturbed and encoded again at every strength."""

    def __init__(self, subject: Subject, channel: Channel) -> None:
        self.subject, self.model = subject, channel.model
        fewer = SMOKE if subject.budget == "smoke" else 1
        self.sizes = (FIT // fewer, CHOOSE // fewer, JUDGE // fewer)
        like = self.model.means(subject.dataset.val.grey[:1])
        parts, total = [], sum(self.sizes)
        for i, start in enumerate(range(0, total, BATCH)):
            noise, values = draw_messages(channel, like, min(BATCH, total - start), subject.rng("messages", i))
            parts.append((noise, values[self.model.core].flatten(1), self.model.decode(values).sigmoid()))
            if i == 0:
                self.shown = {name: value[:SHOWN] for name, value in values.items()}
        self.noise, self.core, self.images = (torch.cat(column) for column in zip(*parts, strict=True))
        order = torch.randperm(self.noise.shape[1], generator=subject.rng("positions"))
        self.sent = self.noise[:, order[:LONGEST].to(self.noise.device)]

    def disturbed(self, strength: float) -> list[Tensor]:
        """The disturbed images, in passes of ``BATCH``."""
        passes = self.images.split(BATCH)
        return [disturb(x, strength, self.subject.rng("disturbance", i)) for i, x in enumerate(passes)]

    def received(self, strength: float) -> Tensor:
        """The core's means and codes of the disturbed images, (n, k)."""
        return torch.cat([self.model.means(x)[self.model.core].flatten(1) for x in self.disturbed(strength)])

    def reading(self, strength: float) -> Reading:
        """What a linear read-out makes of them."""
        return read(self.sent, project(self.received(strength)), self.sizes)

    def message_error(self, strength: float) -> Measure:
        """Squared error of the core as it arrives, over the variance of the core that was sent."""
        missed = (self.received(strength) - self.core).double().square().sum(1)
        return Measure.mean(missed / self.core.double().var(0).sum())

    def picture(self) -> Tensor:
        """Rows: images sent, disturbed, and decoded from the core that arrived."""
        seen = self.disturbed(REFERENCE)[0][:SHOWN]
        arrived = self.shown | {self.model.core: self.model.means(seen)[self.model.core]}
        return grid([self.images[:SHOWN], seen, self.model.decode(arrived).sigmoid()])


def without_noise(channel: Channel) -> Channel:
    """The channel with default priors that have the moments of the codes alone.

    What the decoder need not know the channel hides under much noise: drawn with it, a message would be sent with
    many times the power of any code. What rounding would make of a variance that vanishes in the noise stays positive.
    """
    gaussians = dict(channel.gaussians)
    for name, noise in channel.noise.items():
        if name in gaussians:
            received = gaussians[name]
            moments = Moments(received.mean, received.covariance, 0)
            gaussians[name] = GaussianPrior(moments.plus(-(1 - ROUNDING) * noise.flatten().double().square()))
    return replace(channel, gaussians=gaussians)


def draw_messages(channel: Channel, like: Mapping[str, Tensor], n: int, rng: torch.Generator) -> tuple[Tensor, Values]:
    """Draws every group from its prior, each given the earlier ones.

    Args:
        channel: The model with its default priors.
        like: Values of one image, for shapes and types.
        n: Number of messages.
        rng: The suite's own noise.

    Returns:
        The standard normal noise behind the core, (n, d), and the values of all groups.
    """
    values: Values = {}
    behind = torch.empty(n, 0)
    for name, one in like.items():
        blank = torch.zeros_like(one).expand(n, *one.shape[1:])
        prior = channel.prior(name, blank, values)
        if name == channel.model.core:
            behind = torch.randn(n, one.numel(), generator=rng).to(one.device)
            values[name] = _from_noise(prior, blank, behind)
        elif isinstance(prior, GaussianPrior):
            values[name] = prior.sample(blank, torch.randn(n, one.numel(), generator=rng).to(one.device))
        else:
            shape = blank.shape[: blank.ndim - len(prior.event_shape)]
            values[name] = draw(prior.expand(shape), rng).to(one.dtype).reshape(blank.shape)
    return behind, values


def _from_noise(prior: D.Distribution | GaussianPrior, like: Tensor, noise: Tensor) -> Tensor:
    """The draw of a Gaussian prior that this standard normal noise (n, d) makes."""
    if isinstance(prior, GaussianPrior):
        return prior.sample(like, noise)
    prior = bare(prior)
    if type(prior) is not D.Normal:
        raise Unsupported(f"the core's prior is a {type(prior).__name__}: messages are made of normal noise")
    return (prior.loc + prior.scale * noise.to(like.dtype).view_as(like)).to(like.dtype)
