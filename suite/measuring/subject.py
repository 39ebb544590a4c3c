"""A trained, frozen baseline with its dataset and random streams: what a task is given to score."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from suite import seeds
from suite.data import Dataset
from suite.measuring.features import compute_features
from suite.measuring.stream import SecretGenerator
from suite.measuring.trust import Frozen
from suite.seeds import numpy_rng as numpy_rng  # handed on: tasks draw what is the same for every model with it
from suite.training import Baseline, Recipe, checkpoints

if TYPE_CHECKING:
    import numpy as np

#: Batches of training images from which an untrained twin takes its batch-norm statistics.
NORM_BATCHES = 10

#: Layers that keep running statistics of what they have seen.
_NORMS = (nn.modules.batchnorm._BatchNorm, nn.modules.instancenorm._InstanceNorm)


@dataclass
class Subject:
    """One baseline, trained on one dataset with one seed, ready to be scored.

    Attributes:
        model: The frozen baseline.
        dataset: Its data, on ``device``; with a secret its test images are binarized by that, for whoever knows which
            numbers binarized an image knows the most part of what no model can predict.
        seed: The trial's seed.
        budget: The trial's budget.
        device: Where model and data live.
        untrained: Makes an untrained twin: same class and parameters, same initialization as the trained one had.
        store: Folder for what is kept beside the checkpoint; None to keep it in memory only.
        noise: Extra name in every stream: "" for published numbers, a secret for re-scoring.
        flags: Alarms about the model's answers that were seen while it was priced; they join those of the score.
        notes: What the model's author must know of them; they join those of the score.
    """

    model: Frozen
    dataset: Dataset
    seed: int
    budget: str
    device: torch.device
    untrained: Callable[[], Frozen]
    store: Path | None = None
    noise: str = ""
    flags: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    _memo: dict[str, dict[str, Tensor]] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        if self.noise:
            published, secret = self.dataset, SecretGenerator("binarization", self.noise)
            self.dataset = replace(published, read_test=lambda: published.test.redrawn(secret.uniform))

    def rng(self, *names: object) -> torch.Generator:
        """Returns the generator for this path of names; the same names give the same noise."""
        if self.noise:
            return SecretGenerator("score", self.seed, self.noise, *names)
        return seeds.torch_rng("score", self.seed, self.noise, *names)

    def numpy_rng(self, *names: object) -> np.random.Generator:
        """Returns NumPy's generator for this path of names."""
        return seeds.numpy_rng("score", self.seed, self.noise, *names)

    def kept(self, name: str, compute: Callable[[], dict[str, Tensor]]) -> dict[str, Tensor]:
        """Returns tensors that are computed once per checkpoint, whichever task asks first.

        They are kept in memory and, where the noise is the published one, as files beside the checkpoint; a
        corrupt file is set aside and computed again.

        Args:
            name: What they are called, ``channel`` say.
            compute: Returns them by name; called only where they are not there yet.
        """
        if name not in self._memo:
            folder = self.store / name if self.store and not self.noise else None
            found = _stored(folder) if folder else None
            if found is None:
                found = compute()
                if folder:
                    tensors = {key: value.detach().cpu().contiguous() for key, value in found.items()}
                    checkpoints.write(folder, tensors, {})
            self._memo[name] = {key: value.to(self.device) for key, value in found.items()}
        return self._memo[name]

    def features(self, split: str) -> dict[str, Tensor]:
        """Returns the features of a split's grey images, computed anew: they may be as large as all else together.

        Args:
            split: ``"train"``, ``"val"`` or ``"test"``.

        Returns:
            As ``compute_features``.
        """
        with self.model.fitting() if split == "train" else contextlib.nullcontext():
            return compute_features(self.model, getattr(self.dataset, split).grey)


def make_subject(
    baseline: Baseline, recipe: Recipe, dataset: Dataset, budget: str, *, store: Path | None = None, noise: str = ""
) -> Subject:
    """Freezes a trained baseline and puts it beside its data.

    Args:
        baseline: The trained model; from here on it takes no gradients.
        recipe: What it was made of, for the untrained twin; its seed is the trial's.
        dataset: What it was trained on, on the recipe's device.
        budget: The trial's budget.
        store: Folder for what is kept beside the checkpoint, or None.
        noise: "" for published numbers, a secret for re-scoring.
    """

    def untrained() -> Frozen:
        return with_statistics(recipe.build(), dataset.train.grey[: NORM_BATCHES * 128], recipe.seed)

    device = torch.device(recipe.device)
    return Subject(Frozen(baseline), dataset, recipe.seed, budget, device, untrained, store, noise)


def _stored(folder: Path) -> dict[str, Tensor] | None:
    try:
        return checkpoints.read(folder)[0]
    except FileNotFoundError:
        return None
    except checkpoints.CorruptCheckpoint:
        checkpoints.set_aside(folder)
        return None


def with_statistics(baseline: Baseline, images: Tensor, seed: int) -> Frozen:
    """Freezes a fresh baseline; its running statistics become those of training images (N, C, H, W)."""
    model = Frozen(baseline, f"{type(baseline).__name__} (untrained)")
    norms = [m for m in baseline.modules() if isinstance(m, _NORMS) and m.track_running_stats]
    if not norms:
        return model
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the plain average over all batches
        norm.train()
    with seeds.global_seed(seed, "norms"):
        for x in images.split(128):
            model.decode(model.means(x))
    baseline.eval()
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    return model
