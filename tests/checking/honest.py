"""An honest model. Every cheat of the tests beside it is this model with one thing wrong."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor, nn
from torch.distributions import Normal

from suite.contract import Baseline, Batch, DataSpec, Latents, Values


class Honest(Baseline):
    """A linear variational autoencoder; every cheat is this model with one thing wrong."""

    groups: ClassVar[dict[str, str]] = {"z": "4 units"}

    def __init__(self, spec: DataSpec) -> None:
        super().__init__(spec)
        self.encoder = nn.Linear(spec.pixels, 4)
        self.decoder = nn.Linear(4, spec.pixels)

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        logits = Honest.decode(self, {"z": self.encoder(batch.x.flatten(1))})
        return {
            "loss": nn.functional.binary_cross_entropy_with_logits(logits, batch.x, reduction="none").sum((1, 2, 3))
        }

    def encode(self, x: Tensor) -> Latents:
        return {"z": Normal(self.encoder(x.flatten(1)), 0.5)}

    def decode(self, values: Values) -> Tensor:
        return self.decoder(values["z"]).view(-1, *self.spec.shape)
