"""The linear reference of a generator: principal components (Pearson 1901), alone or around centroids."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from suite.measuring.inputs import STARTS, Start, search, two_starts
from suite.measuring.linear import principal_axes
from suite.measuring.whitening import MOST_IMAGES, whiten_codes

#: k-means: runs from fresh centroids (k-means++), of which the best on training images counts, and its seed.
RUNS = 3
SEED = 0


@dataclass(frozen=True)
class LinearGenerator:
    """A centre plus a sum of axes, clipped to [0, 1].

    Attributes:
        centres: (K, D).
        axes: Orthonormal, (D, k).
    """

    centres: Tensor
    axes: Tensor

    def draw(self, values: dict[str, Tensor]) -> Tensor:
        """Outputs (N, D) for a centre ``k`` (N,) and coordinates ``z`` (N, k)."""
        return (self.centres[values["k"]] + values["z"] @ self.axes.T).clamp(0, 1)

    def nearest(self, x: Tensor) -> Tensor:
        """Index of the nearest centre to each row of x (N, D)."""
        return torch.cdist(x, self.centres).argmin(1)

    def encode(self, x: Tensor, k: Tensor) -> Tensor:
        """Coordinates (N, k) of the projection of x (N, D) from its centre."""
        return (x - self.centres[k]) @ self.axes


def fit_linear(train: Tensor, components: int, centroids: int = 1) -> LinearGenerator:
    """Returns the linear generator that is best on training images.

    Args:
        train: Images (N, D).
        components: Axes: the principal ones of the images, or of what their centroids leave over.
        centroids: Centres, by k-means; a single one is the mean.
    """
    if centroids == 1:
        mean, axes, _ = principal_axes(train, components)
        return LinearGenerator(mean.to(train).unsqueeze(0), axes.to(train))
    from sklearn.cluster import KMeans

    means = KMeans(min(centroids, len(train)), n_init=RUNS, random_state=SEED).fit(train.cpu().numpy())
    centres = torch.as_tensor(means.cluster_centers_).to(train)
    labels = torch.as_tensor(means.labels_, device=train.device).long()
    return LinearGenerator(centres, principal_axes(train - centres[labels], components)[1].to(train))


def linear_outputs(
    linear: LinearGenerator,
    train: Tensor,
    x: Tensor,
    sizes: Sequence[float],
    trial: int,
    steps: int,
    rng: torch.Generator,
) -> tuple[Tensor, Tensor]:
    """Returns a linear generator's best outputs for images x and those of the projections, (N, C, H, W) each.

    Its inputs are searched as a model's are: in whitened coordinates, from the training mean and from the images' own
    projections, with every centre. From as many axes as pixels on projections are exact already.

    Args:
        linear: The generator.
        train: Training images (N, C, H, W).
        x: Target images.
        sizes: As for ``search``.
        trial: As for ``search``.
        steps: As for ``search``.
        rng: As for ``search``. Projections are returned as they are.
    """
    flat, targets, count = train[:MOST_IMAGES].flatten(1), x.flatten(1), len(linear.centres)
    if linear.axes.shape[1] >= targets.shape[1]:
        return x, x
    k = torch.arange(count, device=x.device).repeat(len(x))
    own = linear.encode(targets.repeat_interleave(count, 0), k)
    projections = linear.draw({"k": k, "z": own}).view(len(x), count, -1)
    best = (projections - targets.unsqueeze(1)).square().sum(2).argmin(1)
    projected = projections[torch.arange(len(x), device=x.device), best].view_as(x)
    whitening = whiten_codes(linear.encode(flat, linear.nearest(flat)), flat)
    start = Start(
        ("k", "z"), {"z": two_starts(whitening, own)}, {"k": k.repeat_interleave(STARTS)}, {"z": whitening}, (count,)
    )
    found = search(lambda values: linear.draw(values).view(-1, *x.shape[1:]), start, x, sizes, trial, steps, rng)
    return found.images, projected
