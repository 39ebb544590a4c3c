"""Variational autoencoders, plain and conditional.

1. Kingma & Welling 2013, Auto-Encoding Variational Bayes (1312.6114).
2. Kingma, Rezende, Mohamed & Welling 2014, Semi-supervised Learning with Deep Generative Models (1406.5298).
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.distributions import Categorical, Distribution, Normal
from torch.nn import functional as F

from suite.contract import Baseline, Batch, DataSpec, Latents, UserError, Values, image_nats


class VAE(Baseline):
    """p(z) = N(0, I), q(z | b) = N(mu, diag sigma^2), trained on the negative ELBO ([1], eq. 10)."""

    summary = "20 Gaussian units, trained on the ELBO"
    paper = "Kingma & Welling 2013, Auto-Encoding Variational Bayes"
    groups = {"z": "20 units, a Normal posterior, prior N(0, I)"}
    variants = {"vae": {"architecture": "dense"}, "conv_vae": {"architecture": "conv"}}
    space = {"latent": (5, 80, "log"), "hidden": [128, 256, 512, 1024]}
    zero: Tensor

    def __init__(self, spec: DataSpec, architecture: str = "dense", latent: int = 20, hidden: int = 512) -> None:
        super().__init__(spec)
        if architecture == "dense":
            self.encoder, self.decoder = dense(spec, latent, hidden)
        elif architecture == "conv":
            self.encoder, self.decoder = conv(spec, latent)
        else:
            raise UserError(f"vae: architecture is 'dense' or 'conv', not '{architecture}'")
        self.register_buffer("zero", torch.zeros(latent))

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        mu, log_sigma = self.encoder(batch.x).chunk(2, dim=1)
        z = mu + log_sigma.exp() * torch.randn_like(mu)
        distortion, rate = image_nats(self.decoder(z), batch.x), gaussian_rate(mu, log_sigma)
        return {"loss": distortion + rate, "distortion": distortion, "rate": rate}

    def encode(self, x: Tensor) -> Latents:
        mu, log_sigma = self.encoder(x).chunk(2, dim=1)
        return {"z": Normal(mu, log_sigma.exp())}

    def prior(self, name: str, earlier: Values) -> Distribution:
        return Normal(self.zero, self.zero + 1)

    def decode(self, values: Values) -> Tensor:
        return self.decoder(values["z"])


class ConditionalVAE(Baseline):
    """Model M2 of [2] with every label known: p(b | y, z) p(z) p(y), trained on -log p(b, y)'s bound.

    Labels reach only the loss. Afterwards y is a latent like any other: q(y | b) comes from a classifier trained
    beside the bound ([2], eq. 9), q(z | b, y) follows it, and the suite charges both.
    """

    summary = "20 Gaussian units and the class, which a classifier infers"
    paper = "Kingma et al. 2014, Semi-supervised Learning with Deep Generative Models (M2, all labels)"
    supervision = "labels"
    groups = {
        "y": "the class, a Categorical posterior, uniform prior",
        "z": "20 units given the class, a Normal posterior, prior N(0, I)",
    }
    zero: Tensor
    uniform: Tensor

    def __init__(self, spec: DataSpec, latent: int = 20, hidden: int = 512) -> None:
        super().__init__(spec)
        flat = spec.pixels + spec.classes
        self.classifier = nn.Sequential(
            nn.Flatten(), nn.Linear(spec.pixels, hidden), nn.ReLU(), nn.Linear(hidden, spec.classes)
        )
        self.encoder = nn.Sequential(nn.Linear(flat, hidden), nn.ReLU(), nn.Linear(hidden, 2 * latent))
        self.decoder = nn.Sequential(
            nn.Linear(latent + spec.classes, hidden), nn.ReLU(),
            nn.Linear(hidden, spec.pixels), nn.Unflatten(1, spec.shape),
        )  # fmt: skip
        self.register_buffer("zero", torch.zeros(latent))
        self.register_buffer("uniform", torch.zeros(spec.classes))

    def _posterior(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """The mu and log sigma of q(z | x, y)."""
        mu, log_sigma = self.encoder(torch.cat([x.flatten(1), self._one_hot(y)], 1)).chunk(2, dim=1)
        return mu, log_sigma

    def _one_hot(self, y: Tensor) -> Tensor:
        return F.one_hot(y, len(self.uniform)).to(self.zero.dtype)

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        assert batch.y is not None  # the loop hands labels to every model that declares supervision
        mu, log_sigma = self._posterior(batch.x, batch.y)
        z = mu + log_sigma.exp() * torch.randn_like(mu)
        distortion = image_nats(self.decode({"y": batch.y, "z": z}), batch.x)
        rate = gaussian_rate(mu, log_sigma)
        label = F.cross_entropy(self.classifier(batch.x), batch.y, reduction="none")
        return {"loss": distortion + rate + label, "distortion": distortion, "rate": rate, "label": label}

    def encode(self, x: Tensor) -> Latents:
        def q_z(earlier: Mapping[str, Tensor]) -> Distribution:
            mu, log_sigma = self._posterior(x, earlier["y"])
            return Normal(mu, log_sigma.exp())

        return {"y": Categorical(logits=self.classifier(x)), "z": q_z}

    def prior(self, name: str, earlier: Values) -> Distribution:
        if name == "y":
            return Categorical(logits=self.uniform)
        return Normal(self.zero, self.zero + 1)

    def decode(self, values: Values) -> Tensor:
        return self.decoder(torch.cat([values["z"], self._one_hot(values["y"])], 1))


def gaussian_rate(mu: Tensor, log_sigma: Tensor) -> Tensor:
    """KL(N(mu, sigma^2) || N(0, I)) in nats, (N,) ([1], appendix B)."""
    return 0.5 * (mu**2 + (2 * log_sigma).exp() - 2 * log_sigma - 1).sum(1)


def dense(spec: DataSpec, latent: int, hidden: int) -> tuple[nn.Module, nn.Module]:
    """D - hidden - 2 latent, and latent - hidden - D, ReLU."""
    encoder = nn.Sequential(nn.Flatten(), nn.Linear(spec.pixels, hidden), nn.ReLU(), nn.Linear(hidden, 2 * latent))
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
        nn.Conv2d(32, 64, 4, 2, 1), nn.ReLU(), nn.Flatten(), nn.Linear(size, 2 * latent),
    )  # fmt: skip
    decoder = nn.Sequential(
        nn.Linear(latent, size), nn.ReLU(), nn.Unflatten(1, low),
        nn.ConvTranspose2d(64, 32, 4, 2, 1), nn.ReLU(), nn.ConvTranspose2d(32, channels, 4, 2, 1),
    )  # fmt: skip
    return encoder, decoder
