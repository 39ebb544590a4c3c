"""What an untrained baseline is made of, as one value that can be handed around."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

from suite.data import DataSpec
from suite.seeds import global_seed
from suite.training.baseline import Baseline


@dataclass(frozen=True)
class Recipe:
    """Makes untrained baselines: equal recipes make equal ones.

    Attributes:
        cls: The baseline's class.
        spec: What it may know of the data.
        params: Its constructor's other parameters.
        seed: The trial's seed, from which the initialization is derived.
        device: Where the model lives; it is initialized from a stream that is the same on every device.
    """

    cls: type[Baseline]
    spec: DataSpec
    params: Mapping[str, Any] = field(default_factory=dict)
    seed: int = 0
    device: str | torch.device = "cpu"

    def build(self) -> Baseline:
        """Returns a new baseline, initialized and not trained; whatever it does with them, the parameters stay."""
        with global_seed(self.seed, "init"):
            return self.cls(self.spec, **copy.deepcopy(dict(self.params))).to(self.device)
