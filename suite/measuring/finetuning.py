"""Training a linear head on an encoder, frozen or not, and proof by hash of which it was.

The source of this comparison set ``requires_grad`` as an attribute of the module, so that its frozen arms
trained everything; here the hash of the encoder's parameters before and after decides.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.distributions import Distribution
from torch.nn import functional as F

from suite.measuring.features import classes_of, default_features, representative
from suite.measuring.linear import CONSTANT_BELOW
from suite.measuring.trust import Frozen
from suite.seeds import global_seed, torch_rng
from suite.training import Baseline, Discrete

BATCH = 128
LEARNING_RATE = 1e-3
#: Validation accuracy is measured this many times an epoch.
POINTS_PER_EPOCH = 4


@dataclass(frozen=True)
class Labelled:
    """Images (N, C, H, W) and their labels, int64 (N,)."""

    images: Tensor
    labels: Tensor


def core_features(model: Baseline, x: Tensor) -> Tensor:
    """Returns the probe's features (N, d) with their graph, so that the encoder can be trained through them."""
    values: dict[str, Tensor] = {}
    for name, group in model.encode(x).items():
        resolved = group if isinstance(group, Distribution | Tensor | Discrete) else group(values)
        values[name] = representative(resolved)
        if name == model.core:
            break
    if getattr(model.features, "__func__", None) is Baseline.features:
        return default_features(values[model.core], classes_of(resolved))
    return model.features({model.core: values[model.core]}).float()


class _Headed(nn.Module):
    """An encoder with a linear classifier on its features, standardized as they were at the start."""

    mean: Tensor
    std: Tensor

    def __init__(self, encoder: Baseline, sample: Tensor, classes: int) -> None:
        super().__init__()
        self.encoder = encoder
        with torch.no_grad():
            features = torch.cat([core_features(encoder.eval(), x) for x in sample.split(500)])
        std, mean = torch.std_mean(features, dim=0, correction=0)
        self.register_buffer("mean", mean)
        self.register_buffer("std", torch.where(std < CONSTANT_BELOW, 1.0, std))
        self.head = nn.Linear(features.shape[1], classes, device=features.device)

    def forward(self, x: Tensor) -> Tensor:
        return self.head((core_features(self.encoder, x) - self.mean) / self.std)


def head_curve(
    model: Frozen, train: Labelled, val: Labelled, *, frozen: bool, epochs: int, seed: tuple[object, ...]
) -> list[tuple[float, float]]:
    """Trains a linear head, with the encoder or on top of it, and returns validation accuracy in % by step.

    Args:
        model: The encoder to start from; a copy of it is trained.
        train: What is learned from.
        val: What is measured on.
        frozen: Whether the encoder stays as it is.
        epochs: Passes over ``train``.
        seed: Names of the random streams: one for the head and the noise, one for the order of the images.

    Raises:
        RuntimeError: If a frozen encoder moved.
    """
    with global_seed(*seed, "init"):
        encoder = copy.deepcopy(model.unwrap())
        classes = int(train.labels.max()) + 1
        network = _Headed(encoder, train.images[:2000], classes)
        encoder.requires_grad_(not frozen)
        before = _fingerprint(encoder)
        curve = _train(network, train, val, frozen=frozen, epochs=epochs, order=torch_rng(*seed, "batches"))
    if frozen and _fingerprint(encoder) != before:
        raise RuntimeError("the frozen encoder's parameters moved")
    return curve


def _fingerprint(encoder: Baseline) -> str:
    """Hash of the parameters and buffers of a copy, since ``Frozen`` would freeze the encoder itself."""
    return Frozen(copy.deepcopy(encoder)).parameter_hash()


def _train(
    network: _Headed, train: Labelled, val: Labelled, *, frozen: bool, epochs: int, order: torch.Generator
) -> list[tuple[float, float]]:
    parameters = [p for p in network.parameters() if p.requires_grad]
    optimizer = torch.optim.Adam(parameters, lr=LEARNING_RATE)
    steps_per_epoch = -(-len(train.images) // BATCH)
    every = max(1, steps_per_epoch // POINTS_PER_EPOCH)
    curve = [(0.0, _accuracy(network, val))]
    step = 0
    for _ in range(epochs):
        for index in torch.randperm(len(train.images), generator=order).to(train.images.device).split(BATCH):
            network.train()
            network.encoder.train(not frozen)
            optimizer.zero_grad()
            with torch.enable_grad():
                loss = F.cross_entropy(network(train.images[index]), train.labels[index])
                loss.backward()
            optimizer.step()
            step += 1
            if step % every == 0:
                curve.append((float(step), _accuracy(network, val)))
    return curve


def _accuracy(network: _Headed, val: Labelled) -> float:
    network.eval()
    with torch.no_grad():
        hits = sum(
            int((network(x).argmax(1) == y).sum())
            for x, y in zip(val.images.split(500), val.labels.split(500), strict=True)
        )
    return 100 * hits / len(val.images)
