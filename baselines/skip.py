"""Autoencoders with skip connections from encoder to decoder.

1. Ronneberger, Fischer & Brox 2015, U-Net (1505.04597).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from suite.contract import Baseline, Batch, DataSpec, Latents, Values


class UNetAutoencoder(Baseline):
    """A U-Net [1] with a narrow bottleneck, trained to reconstruct: the copy that looks like a model.

    The full-resolution skip alone carries the image, so z need not hold anything. The reconstruction is nearly
    perfect until the skips are charged like every other message to the decoder.
    """

    summary = "naive skip connections around a code of 16 numbers (the cheat)"
    paper = "Ronneberger, Fischer & Brox 2015, U-Net, as an autoencoder"
    groups = {
        "z": "16 numbers, a deterministic code: the bottleneck",
        "skip0": "8 feature maps at full resolution, a deterministic code",
        "skip1": "8 feature maps at half resolution, a deterministic code",
    }
    variants = {"unet_autoencoder": {}}

    def __init__(self, spec: DataSpec, latent: int = 16, width: int = 8) -> None:
        super().__init__(spec)
        channels, height, breadth = spec.shape
        low = (2 * width, height // 4, breadth // 4)
        size = low[0] * low[1] * low[2]
        self.enter = nn.Sequential(nn.Conv2d(channels, width, 3, padding=1), nn.ReLU())
        self.down = nn.Sequential(nn.Conv2d(width, width, 4, 2, 1), nn.ReLU())
        self.bottleneck = nn.Sequential(
            nn.Conv2d(width, 2 * width, 4, 2, 1), nn.ReLU(), nn.Flatten(), nn.Linear(size, latent)
        )
        self.up = nn.Sequential(
            nn.Linear(latent, size), nn.ReLU(), nn.Unflatten(1, low), nn.ConvTranspose2d(2 * width, width, 4, 2, 1)
        )
        self.rise = nn.Sequential(nn.ReLU(), nn.ConvTranspose2d(2 * width, width, 4, 2, 1), nn.ReLU())
        self.out = nn.Conv2d(2 * width, channels, 3, padding=1)

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        logits = self.decode(self._codes(batch.x))
        nats = F.binary_cross_entropy_with_logits(logits, batch.x, reduction="none")
        return {"loss": nats.flatten(1).sum(1)}

    def _codes(self, x: Tensor) -> dict[str, Tensor]:
        skip0 = self.enter(x)  # (N, 8, 28, 28)
        skip1 = self.down(skip0)  # (N, 8, 14, 14)
        return {"z": self.bottleneck(skip1), "skip0": skip0, "skip1": skip1}

    def encode(self, x: Tensor) -> Latents:
        return self._codes(x)

    def decode(self, values: Values) -> Tensor:
        h = torch.cat([self.up(values["z"]), values["skip1"]], 1)  # (N, 16, 14, 14)
        h = torch.cat([self.rise(h), values["skip0"]], 1)  # (N, 16, 28, 28)
        return self.out(h)
