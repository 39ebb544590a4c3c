"""Transfer: when the core of one image meets the other groups of another, what follows which?

Swapping latents is how a separation of content and appearance is usually shown (Esser, Sutter & Ommer 2018, A
Variational U-Net, section 4), in pictures. Here it is counted: a judge, the same for every model, reads the factors off
each hybrid decode(core of B, everything else of A), and each factor follows the image to whose value it is nearer.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import Any

import torch
from torch import Tensor

from suite.contract import Anchor, Measure, Metric, Score, Task, Unsupported
from suite.measuring import Judge, Subject, batches, draw_pairs, grid
from suite.measuring import judge as judges

#: Pairs of test images of two classes, and of one.
PAIRS = 1000
#: Rows and columns of the picture.
SHOWN = 8


@dataclass(frozen=True)
class Errors:
    """How far the hybrids of P pairs are from either parent in one factor, each (P,) float64.

    Attributes:
        core: From the image whose core was taken.
        others: From the image whose other groups were taken.
        chance: Between the two images themselves.
    """

    core: Tensor
    others: Tensor
    chance: Tensor

    def preference(self) -> Tensor:
        """(others - core) / mean chance for each pair, (P,): by the triangle inequality its mean is in [-1, 1].

        1: the factor is that of the core's image. -1: of the others' image. 0: of neither, or halfway.
        """
        mean = self.chance.mean()
        return (self.others - self.core) / mean if mean > 0 else torch.zeros_like(self.core)


def difference(a: Tensor, b: Tensor) -> Tensor:
    """How far the values of a factor are apart, (P,) float64: a distance, whatever the factor.

    Args:
        a: Classes, integers (P,), 0 or 1 apart; known factors (P, k), by the mean absolute difference; or images
            (P, C, H, W), by the root mean squared one.
        b: As many values of the same kind.
    """
    if not a.is_floating_point():
        return (a != b).double()
    gap = (a - b).double().flatten(1)
    return gap.abs().mean(1) if a.ndim == 2 else gap.square().mean(1).sqrt()


def compare(hybrids: Tensor, cores: Tensor, others: Tensor) -> Errors:
    """Compares 2 P hybrids with their parents, who are exchanged in the second half, and averages both ways."""
    gaps = difference(hybrids, cores), difference(hybrids, others), difference(cores, others)
    return Errors(*(gap.view(2, -1).mean(0) for gap in gaps))


def separation(preferences: dict[str, float]) -> float:
    """How cleanly the factors part: 1 if the core carries some entirely and the other groups all the rest, else less.

    The maximum over all ways to assign the factors to the core and to the others, neither left empty, of the
    smaller of two means: of the preference over the core's factors, and of minus the preference over the others'.
    One side that carries everything scores 0, and so does a model in which every factor is between the two.
    """
    best = 0.0
    for sides in product((True, False), repeat=len(preferences)):
        core = [p for p, side in zip(preferences.values(), sides, strict=True) if side]
        others = [-p for p, side in zip(preferences.values(), sides, strict=True) if not side]
        if core and others:
            best = max(best, min(sum(core) / len(core), sum(others) / len(others)))
    return best


class Transfer(Task):
    """Which factor of an image follows the core, and which the other groups."""

    version = 1
    summary = "how cleanly the factors of an image part between its core and its other groups"
    primary = "separation"
    requires = ("labels", "shared_classes")
    metrics = (
        Metric("separation", "", "higher", "the weaker side's mean preference under the best assignment; ranked"),
        Metric("follows_core/*", "", "", "1: the factor follows the core; 0: the other groups; 1/2: neither, or both"),
        Metric("error_core/*", "", "", "mean error of hybrids to the image of their core"),
        Metric("error_others/*", "", "", "mean error of hybrids to the image of their other groups"),
        Metric("error_intact/*", "", "", "mean error of plain reconstructions to their own image"),
        Metric("chance/*", "", "", "mean difference between the two images of a pair"),
        Metric("floor", "", "", "separation where one side carries everything"),
    )
    anchors = (
        Anchor("floor", "0: a copier (all follows the core), a bypassed core, or groups that mix every factor"),
        Anchor("exact", "1: the core carries some factors entirely and nothing else, the other groups the rest"),
    )

    def card(self) -> dict[str, Any]:
        return {
            "pairs": f"{PAIRS:,} of two classes and {PAIRS:,} of one, test images, the same for every model",
            "values": "posterior means and codes of grey images, both ways; ancestral groups keep their stored values",
            "class": "the judge's, on pairs of two classes; error 0 or 1",
            "known factors": "the judge's estimates, where the dataset knows them; mean absolute error",
            "style": "where it knows none: root mean squared difference of the pixels, on pairs of one class",
            "preference": "(error to the others' image - error to the core's image) / mean difference of the two",
            "follows_core": "(1 + preference) / 2",
            **judges.card(),
        }

    def score(self, subject: Subject) -> Score:
        """Swaps; see ``Task.score``.

        Raises:
            Unsupported: If the model has no two groups.
        """
        swaps = _Swaps(subject)
        errors = swaps.errors()
        preferences = {name: float(e.preference().mean()) for name, e in errors.items()}
        score = Score({"separation": Measure(separation(preferences)), "floor": Measure(0.0)})
        for name, error in errors.items():
            follows = (1 + error.preference()) / 2
            score.metrics[f"follows_core/{name}"] = Measure.mean(follows)
            score.metrics[f"error_core/{name}"] = Measure.mean(error.core)
            score.metrics[f"error_others/{name}"] = Measure.mean(error.others)
            score.metrics[f"chance/{name}"] = Measure.mean(error.chance)
            score.per_image[f"follows_core/{name}"] = follows.cpu().numpy()
        for name, error in swaps.intact().items():
            score.metrics[f"error_intact/{name}"] = Measure.mean(error)
        score.notes = [f"judge: {judges.facts(swaps.judge, subject.dataset)}"]
        score.pictures["swaps"] = swaps.picture()
        return score


class _Swaps:
    """Hybrids of pairs of test images, and what the judge says of them."""

    def __init__(self, subject: Subject) -> None:
        self.model, self.test = subject.model, subject.dataset.test
        groups = list(self.model.means(self.test.grey[:1]))
        if len(groups) < 2:
            raise Unsupported("one group of latents, and nothing to swap it against" if groups else "no latents")
        self.judge: Judge = judges.of(subject)
        self.between = draw_pairs(self.test.labels, PAIRS, same_class=False)
        if not len(self.between):
            raise Unsupported("all test images are of one class")
        self.within = draw_pairs(self.test.labels, PAIRS, same_class=True)

    def errors(self) -> dict[str, Errors]:
        """The errors of every factor, the two hybrids of each pair averaged."""
        cores, others = torch.cat([self.between, self.between.flip(1)]).T
        seen, truth = self._seen(self._hybrids(cores, others)), self._truth()
        found = {name: compare(value, truth[name][cores], truth[name][others]) for name, value in seen.items()}
        if not self.test.factors and len(self.within):
            cores, others = torch.cat([self.within, self.within.flip(1)]).T
            found["style"] = compare(self._hybrids(cores, others), self.test.grey[cores], self.test.grey[others])
        return found

    def intact(self) -> dict[str, Tensor]:
        """The error of plain reconstructions in every factor the judge reads, (P,)."""
        images = self.between[:, 0]
        seen, truth = self._seen(self._hybrids(images, images)), self._truth()
        return {name: difference(value, truth[name][images]) for name, value in seen.items()}

    def picture(self) -> Tensor:
        """A grid: the core of the image above, everything else of the image on the left."""
        others, cores = self.between[:SHOWN].T
        grey = self.test.grey
        rows = [torch.cat([torch.ones_like(grey[:1]), grey[cores]])]
        for other in others.split(1):
            rows.append(torch.cat([grey[other], self._hybrids(cores, other.expand_as(cores))]))
        return grid(rows)

    def _hybrids(self, cores: Tensor, others: Tensor) -> Tensor:
        """Decodes the core of some test images with all other groups of as many others, (P, C, H, W) in [0, 1]."""
        parts = []
        for core, other in batches(cores, others):
            values = self.model.means(self.test.grey[other])
            values[self.model.core] = self.model.means(self.test.grey[core])[self.model.core]
            parts.append(self.model.decode(values).sigmoid())
        return torch.cat(parts)

    def _seen(self, images: Tensor) -> dict[str, Tensor]:
        verdict = self.judge.look(images)
        return {"class": verdict.classes, **verdict.factors}

    def _truth(self) -> dict[str, Tensor]:
        return {"class": self.test.labels, **self.test.factors}
