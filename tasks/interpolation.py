"""Interpolation: does the way from one image's code to another's stay among images?

Halfway between two codes lies a code that no image has. What the decoder makes of it is measured twice: how much
rarer it is than the two images under a reference density with an exact likelihood, and how much less sure of its class
a judge is (both the same for every model). A blend of the pixels is a double exposure, rare and doubtful.

Rarer than the images themselves, not than what is decoded of them: else a model would gain by ends that are rare,
speckled say. And what is more probable than an image is no better than an image: the excess of a pair is never below
0, so that a plain middle can't make up for a rare one.

The number can't be had without a way that leads somewhere: where an end isn't decoded to what its image shows, or
the middle is (nearly) one of the ends again, the pair counts as the cross-fade of the two images. Copiers, constant
decoders and models that jump from the one to the other thus score what the pixels score.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from suite.contract import Anchor, Measure, Metric, Score, Task, Unsupported
from suite.measuring import Subject, batches, density, discrete_groups, draw_pairs, grid
from suite.measuring import judge as judges

#: Pairs of test images of two classes, and of one.
PAIRS = 500
#: Points of each strip, both ends included; the middle is one of them.
POINTS = 9
#: Binarizations of every output, with the same noise at all points of all strips.
DRAWS = 4
#: The middle must be farther from either end than this share of the distance between them.
APART = 0.25
SHOWN = 6

Values = dict[str, Tensor]


def blend(first: Values, last: Values, share: float, discrete: set[str]) -> Values:
    """The values on the straight line between two codes; discrete groups are the first's before the middle.

    Args:
        first: One tensor (N, ...) per group.
        last: As many.
        share: How far from the first to the last, in [0, 1].
        discrete: Groups between whose values nothing lies.
    """
    return {
        name: (a if share < 0.5 else last[name]) if name in discrete else torch.lerp(a, last[name], share)
        for name, a in first.items()
    }


def lies_between(middle: Tensor, first: Tensor, last: Tensor) -> Tensor:
    """Whether images (P, C, H, W) are away from both ends of their way, (P,); never where the ends are the same."""

    def distance(a: Tensor, b: Tensor) -> Tensor:
        return (a - b).flatten(1).norm(dim=1)

    return torch.minimum(distance(middle, first), distance(middle, last)) > APART * distance(first, last)


def nearest(images: Tensor, among: Tensor) -> Tensor:
    """Returns for each image (P, C, H, W) the nearest (Euclidean) of other images."""
    return among[torch.cdist(images.flatten(1), among.flatten(1)).argmin(1)]


class Interpolation(Task):
    """How much rarer the middle between two codes decodes than the two images are."""

    version = 2
    summary = "nats by which images halfway between two codes are rarer than the two images"
    primary = "midpoint_excess_nats"
    requires = ("labels", "shared_classes")
    metrics = (
        Metric("midpoint_excess_nats", "nats", "lower", "middle - mean of the two images, at least 0, gated; ranked"),
        Metric("midpoint_excess_nats_within", "nats", "lower", "the same between images of one class"),
        Metric("midpoint_excess_entropy", "nats", "lower", "judge's entropy at the middle - at the ends, not gated"),
        Metric("midpoint_excess_entropy_within", "nats", "lower", "the same between images of one class"),
        Metric("ungated_excess_nats*", "nats", "", "midpoint_excess_nats with every pair as it is"),
        Metric("interpolated*", "", "higher", "share of the pairs that pass the gate: ends recognized, middle between"),
        Metric("end_nats", "nats", "", "of the ends' reconstructions, two classes"),
        Metric("image_nats", "nats", "", "of the images themselves, from which every excess is taken"),
        Metric("crossfade*", "nats", "", "excess of the pixels' cross-fade: the floor"),
        Metric("nearest*", "nats", "", "excess of the training image nearest to the cross-fade"),
        Metric("floor", "nats", "", "midpoint_excess_nats of the cross-fade, the same as crossfade"),
    )
    anchors = (
        Anchor("floor", "crossfade: what raw_pixels, copy, a constant decoder and a jump score"),
        Anchor(
            "nearest",
            "real images, those nearest to the cross-fade: 14 nats on digits (cross-fade: 56), 3 on MNIST (58)",
        ),
    )

    def card(self) -> dict[str, Any]:
        return {
            "pairs": f"{PAIRS} of two classes (ranked) and {PAIRS} of one, test images, the same for every model",
            "values": "posterior means and codes of grey images; ancestral groups keep their stored values",
            "way": "the straight line in all real groups at once, also through codes that no image has",
            "discrete groups": "the first image's before the middle, the second's from there on",
            "outputs": f"grey, each binarized {DRAWS} times with the same noise",
            "reference density": f"mixture of {density.COMPONENTS} product Bernoullis, EM with a fixed seed, on "
            f"{density.IMAGES:,} training images at most; exact likelihood",
            "gate": "the judge sees in both ends' reconstructions what it sees in the images, and the middle is "
            f"farther from both ends than {APART:g} of their distance; a pair that fails counts as its cross-fade",
            "excess": "over the mean nats of the two images themselves, of each pair at least 0",
            "points in curves and picture": POINTS,
            **judges.card(),
        }

    def score(self, subject: Subject) -> Score:
        """Interpolates; see ``Task.score``.

        Raises:
            Unsupported: If there are no latents, or no two classes.
        """
        ways = {"": _Ways(subject, same_class=False), "_within": _Ways(subject, same_class=True)}
        score = Score(notes=[f"judge: {judges.facts(ways[''].judge, subject.dataset)}"])
        for suffix, way in ways.items():
            if len(way.first):
                _add(score, way, suffix)
        if "crossfade" not in score.metrics:
            raise Unsupported("all test images are of one class")
        if ways[""].discrete:
            score.notes.append(f"discrete: {', '.join(sorted(ways[''].discrete))}")
        score.metrics["floor"] = score.metrics["crossfade"]
        score.metrics["end_nats"] = Measure.mean(ways[""].end_nats())
        score.metrics["image_nats"] = Measure.mean(ways[""].image_nats)
        score.pictures["strips"] = grid([row for way in ways.values() for row in way.strips()])
        return score


def _add(score: Score, way: _Ways, suffix: str) -> None:
    excess, entropy = way.excess(), way.entropy()
    score.metrics |= {
        f"midpoint_excess_nats{suffix}": Measure.mean(torch.where(way.passed, excess, way.crossfade)),
        f"midpoint_excess_entropy{suffix}": Measure.mean(entropy),
        f"ungated_excess_nats{suffix}": Measure.mean(excess),
        f"interpolated{suffix}": Measure.mean(way.passed.double()),
        f"crossfade{suffix}": Measure.mean(way.crossfade),
        f"nearest{suffix}": Measure.mean(way.nearest()),
    }
    gated = torch.where(way.passed, excess, way.crossfade)
    score.per_image[f"midpoint_excess_nats{suffix}"] = gated.cpu().numpy()
    score.per_image[f"midpoint_excess_entropy{suffix}"] = entropy.cpu().numpy()
    score.curves[f"excess_nats{suffix}"] = way.curve()


class _Ways:
    """The decoded ways between pairs of test images, and what density and judge say of them."""

    def __init__(self, subject: Subject, *, same_class: bool) -> None:
        self.subject, self.model = subject, subject.model
        test = subject.dataset.test
        pairs = draw_pairs(test.labels, PAIRS, same_class=same_class)
        self.first, self.last = test.grey[pairs[:, 0]], test.grey[pairs[:, 1]]
        if not self.model.means(test.grey[:1]):
            raise Unsupported("no latents, and so nothing between them")
        self.discrete = discrete_groups(self.model, test.grey[:1])
        self.judge, self.density = judges.of(subject), density.reference(subject)
        self.points = self._decode()
        self.middle = (self.first + self.last) / 2
        self.image_nats = (self._nats(self.first) + self._nats(self.last)) / 2
        self.crossfade = self._excess(self.middle)
        self.passed = self._passed()

    def excess(self) -> Tensor:
        """Nats of the middle over the mean of the two images, at least 0, (P,) float64."""
        return self._excess(self.points[POINTS // 2])

    def end_nats(self) -> Tensor:
        """Nats of the ends' reconstructions, their mean, (P,) float64."""
        return (self._nats(self.points[0]) + self._nats(self.points[-1])) / 2

    def entropy(self) -> Tensor:
        """The judge's entropy at the middle over the mean at the ends' reconstructions, in nats, (P,)."""
        first, middle, last = (self.judge.look(self.points[i]).entropy for i in (0, POINTS // 2, -1))
        return middle - (first + last) / 2

    def nearest(self) -> Tensor:
        """The excess of the training image nearest to the middle of the cross-fade, (P,) float64."""
        training = self.subject.dataset.train.grey[: density.IMAGES]
        return self._excess(nearest(self.middle, training))

    def curve(self) -> list[tuple[float, float]]:
        """Mean excess by the share of the way; in the middle that of every pair as it is."""
        shares = torch.linspace(0, 1, POINTS).tolist()
        return [(t, float(self._excess(images).mean())) for t, images in zip(shares, self.points, strict=True)]

    def strips(self) -> list[Tensor]:
        """One row per pair: the image, the decoded way, the other image."""
        ways = torch.stack([self.first, *self.points, self.last], 1)
        return list(ways[:SHOWN])

    def _decode(self) -> Tensor:
        """The outputs at every point, (POINTS, P, C, H, W) in [0, 1]."""
        found = [self.first.new_empty(POINTS, 0, *self.model.spec.shape)]
        for first, last in batches(self.first, self.last):
            ends = self.model.means(first), self.model.means(last)
            way = [blend(*ends, share, self.discrete) for share in torch.linspace(0, 1, POINTS).tolist()]
            found.append(torch.stack([self.model.decode(values).sigmoid() for values in way]))
        return torch.cat(found, 1)

    def _passed(self) -> Tensor:
        """Whether each pair's way leads from what the one image shows to what the other shows, by a way between."""
        seen = [self.judge.look(x).classes for x in (self.first, self.points[0], self.last, self.points[-1])]
        recognized = (seen[0] == seen[1]) & (seen[2] == seen[3])
        return recognized & lies_between(self.points[POINTS // 2], self.points[0], self.points[-1])

    def _excess(self, images: Tensor) -> Tensor:
        return (self._nats(images) - self.image_nats).clamp_min(0)

    def _nats(self, images: Tensor) -> Tensor:
        """-log p of grey images (P, C, H, W), the mean over binarizations with the same noise at every call."""
        rng, total = self.subject.rng("interpolation"), 0.0
        for _ in range(DRAWS):
            uniform = torch.rand(images.shape, generator=rng).to(images.device)
            total = total + self.density.nats((uniform < images).to(images.dtype))
        return total / DRAWS
