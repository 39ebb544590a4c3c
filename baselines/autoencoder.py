"""Plain autoencoders: a deterministic code of 16 numbers, trained to reconstruct.

1. Hinton & Salakhutdinov 2006, Reducing the dimensionality of data with neural networks.
"""

from __future__ import annotations

from torch import Tensor, nn

from suite.contract import Baseline, Batch, DataSpec, Latents, UserError, Values, image_nats


class Autoencoder(Baseline):
    """z = f(x), logits = g(z), trained on -log p(b | z) of the binarized image, its own input.

    Nothing limits what z carries but its width, so the loss is no bound on -log p(b): it leaves out the price of z.
    """

    summary = "a deterministic code of 16 numbers"
    paper = "Hinton & Salakhutdinov 2006, Reducing the dimensionality of data with neural networks"
    groups = {"z": "16 numbers, a deterministic code"}
    variants = {"autoencoder": {"architecture": "dense"}, "conv_autoencoder": {"architecture": "conv"}}
    space = {"latent": (4, 64, "log"), "hidden": [128, 256, 512, 1024]}

    def __init__(self, spec: DataSpec, architecture: str = "dense", latent: int = 16, hidden: int = 512) -> None:
        super().__init__(spec)
        if architecture == "dense":
            self.encoder, self.decoder = dense(spec, latent, hidden)
        elif architecture == "conv":
            self.encoder, self.decoder = conv(spec, latent)
        else:
            raise UserError(f"autoencoder: architecture is 'dense' or 'conv', not '{architecture}'")

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        logits = self.decoder(self.encoder(batch.x))
        return {"loss": image_nats(logits, batch.x)}

    def encode(self, x: Tensor) -> Latents:
        return {"z": self.encoder(x)}

    def decode(self, values: Values) -> Tensor:
        return self.decoder(values["z"])


def dense(spec: DataSpec, latent: int, hidden: int) -> tuple[nn.Module, nn.Module]:
    """D - hidden - latent and back, ReLU."""
    encoder = nn.Sequential(nn.Flatten(), nn.Linear(spec.pixels, hidden), nn.ReLU(), nn.Linear(hidden, latent))
    decoder = nn.Sequential(
        nn.Linear(latent, hidden), nn.ReLU(), nn.Linear(hidden, spec.pixels), nn.Unflatten(1, spec.shape)
    )
    return encoder, decoder


def conv(spec: DataSpec, latent: int) -> tuple[nn.Module, nn.Module]:
    """Two strided convolutions (32, 64 channels: 28 -> 14 -> 7), a linear layer, and the mirror image."""
    channels, height, width = spec.shape
    low = (64, height // 4, width // 4)
    size = low[0] * low[1] * low[2]
    encoder = nn.Sequential(
        nn.Conv2d(channels, 32, 4, 2, 1), nn.ReLU(),
        nn.Conv2d(32, 64, 4, 2, 1), nn.ReLU(), nn.Flatten(), nn.Linear(size, latent),
    )  # fmt: skip
    decoder = nn.Sequential(
        nn.Linear(latent, size), nn.ReLU(), nn.Unflatten(1, low),
        nn.ConvTranspose2d(64, 32, 4, 2, 1), nn.ReLU(), nn.ConvTranspose2d(32, channels, 4, 2, 1),
    )  # fmt: skip
    return encoder, decoder
