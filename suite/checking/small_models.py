"""Three small untrained models on which a task is tried: no latents, a discrete code, a hierarchy of Gaussians."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.distributions import Categorical, Distribution, Normal

from suite.contract import Baseline, DataSpec, Discrete, Latents, Values


class Silent(Baseline):
    """Sends nothing; decodes one constant image."""

    core = ""

    def __init__(self, spec: DataSpec) -> None:
        super().__init__(spec)
        self.logits = nn.Parameter(torch.full((1, *spec.shape), -2.0))

    def encode(self, x: Tensor) -> Latents:
        return {}

    def decode(self, values: Values) -> Tensor:
        return self.logits


class Blocks(Baseline):
    """Sends one bit per block of 4 x 4 pixels."""

    core = "blocks"
    groups = {"blocks": "whether a block holds ink, a discrete code"}  # noqa: RUF012 (as a baseline declares it)

    def encode(self, x: Tensor) -> Latents:
        ink = nn.functional.avg_pool2d(x, 4, ceil_mode=True)
        return {"blocks": Discrete((ink > 0.3).long(), classes=2)}

    def decode(self, values: Values) -> Tensor:
        ink = nn.functional.interpolate(4.0 * values["blocks"].float() - 3.0, scale_factor=4)
        return ink[:, :, : self.spec.shape[1], : self.spec.shape[2]]


class Hierarchy(Baseline):
    """Sends a class, a Gaussian that depends on it, and a deterministic code."""

    groups = {  # noqa: RUF012
        "y": "a Categorical posterior",
        "z": "a Normal posterior given y, with a prior given y",
        "code": "a deterministic code",
    }

    def __init__(self, spec: DataSpec, units: int = 4) -> None:
        super().__init__(spec)
        self.to_y = nn.Linear(spec.pixels, 3)
        self.to_z = nn.Linear(spec.pixels + 1, units)
        self.to_code = nn.Linear(spec.pixels, units)
        self.to_image = nn.Linear(2 * units, spec.pixels)

    def encode(self, x: Tensor) -> Latents:
        flat = x.flatten(1)

        def q_z(earlier: Values) -> Distribution:
            return Normal(self.to_z(torch.cat([flat, earlier["y"].float().unsqueeze(1)], 1)), 0.5)

        return {"y": Categorical(logits=self.to_y(flat)), "z": q_z, "code": self.to_code(flat)}

    def prior(self, name: str, earlier: Values) -> Distribution | None:
        if name != "z":
            return None
        loc = earlier["y"].float().unsqueeze(1) - 1
        return Normal(loc.expand(-1, self.to_z.out_features), 1.0)

    def decode(self, values: Values) -> Tensor:
        return self.to_image(torch.cat([values["z"], values["code"]], 1)).view(-1, *self.spec.shape)


SPECIMENS: tuple[type[Baseline], ...] = (Silent, Blocks, Hierarchy)
