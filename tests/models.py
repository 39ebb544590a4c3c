"""Small models whose scores are known beforehand, and subjects of them on digits."""

from __future__ import annotations

import functools
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributions import Normal
from torch.nn import functional as F

from suite import data, training
from suite.contract import Baseline, Batch, DataSpec, Discrete, Latents, Values
from suite.measuring.subject import Subject, make_subject
from suite.plugins import registry


@functools.cache
def digits() -> data.Dataset:
    torch.set_num_threads(1)
    return data.load("digits")


def builtin(name: str) -> type[Baseline]:
    """A registered baseline's class."""
    return registry.load(registry.source(registry.discover("baseline")[name]))


def subject_of(cls: type[Baseline], budget: str | None = None, noise: str = "", **params: Any) -> Subject:
    """A subject on digits: built, fitted and, with a budget, trained."""
    recipe = training.Recipe(cls, digits().spec, params)
    model = recipe.build()
    if budget:
        training.train(model, digits(), seed=0, budget=budget, precision="float32")
    else:
        model.fit(digits().train_set(labels=False))
    return make_subject(model, recipe, digits(), budget or "smoke", noise=noise)


class CopyHalves(Baseline):
    """Copies the upper and the lower half of the image as two binary codes."""

    core = "upper"

    def encode(self, x: Tensor) -> Latents:
        bits = (x > 0.5).long()
        return {"upper": Discrete(bits[:, :, :14], 2), "lower": Discrete(bits[:, :, 14:], 2)}

    def decode(self, values: Values) -> Tensor:
        return 80.0 * torch.cat([values["upper"], values["lower"]], 2).float() - 40.0


class CopyTwice(CopyHalves):
    """Sends the whole image in both groups and reads the first."""

    def encode(self, x: Tensor) -> Latents:
        bits = (x > 0.5).long()
        return {"upper": Discrete(bits, 2), "lower": Discrete(bits, 2)}

    def decode(self, values: Values) -> Tensor:
        return 80.0 * values["upper"].float() - 40.0


class Bypass(CopyTwice):
    """A copier beside a real code that it declares as its core and never reads."""

    core = "z"

    def encode(self, x: Tensor) -> Latents:
        return {"z": x.flatten(1)[:, 300:310] * 3, "upper": Discrete((x > 0.5).long(), 2)}


class Handshake(Baseline):
    """The nearest of 64 training images, told in two groups, each ``copies`` times; read only where the two agree."""

    core = "one"
    codebook: Tensor

    def __init__(self, spec: DataSpec, copies: int = 1) -> None:
        super().__init__(spec)
        self.copies = copies
        self.register_buffer("codebook", torch.zeros(64, *spec.shape))

    def fit(self, train: Any) -> None:
        self.codebook.copy_(train.grey[:64])

    def encode(self, x: Tensor) -> Latents:
        nearest = torch.cdist(x.flatten(1), self.codebook.flatten(1)).argmin(1)
        k = nearest[:, None].repeat(1, self.copies)
        return {"one": Discrete(k, 64), "other": Discrete(k.clone(), 64)}

    def decode(self, values: Values) -> Tensor:
        one, other = values["one"][:, 0].long(), values["other"][:, 0].long()
        return (4 * self.codebook[one] - 2) * (one == other).view(-1, 1, 1, 1)


class HalfUseful(Baseline):
    """Ten principal pixels, of which the decoder ignores the last five."""

    core = "z"

    def __init__(self, spec: DataSpec) -> None:
        super().__init__(spec)
        self.register_buffer("weights", torch.zeros(11, spec.pixels))

    def _pixels(self, x: Tensor) -> Tensor:
        return F.avg_pool2d(x, 7)[:, 0].flatten(1)[:, [1, 2, 5, 6, 9, 10, 13, 14, 4, 7]]

    def fit(self, train: Any) -> None:
        z = F.pad(self._pixels(train.binary), (0, 1), value=1.0)
        z[:, 5:10] = 0
        solution = torch.linalg.lstsq(
            z.double().T @ z.double() + 1e-3 * torch.eye(11), z.double().T @ train.binary.flatten(1).double()
        )
        self.weights.copy_(solution.solution)

    def encode(self, x: Tensor) -> Latents:
        return {"z": self._pixels(x)}

    def decode(self, values: Values) -> Tensor:
        z = F.pad(values["z"], (0, 1), value=1.0).clone()
        z[:, 5:10] = 0
        return torch.logit((z @ self.weights).clamp(1e-3, 1 - 1e-3)).view(-1, *self.spec.shape)


class Nonsense(Baseline):
    """A code that the decoder reads and that tells it nothing but lies."""

    core = "z"

    def __init__(self, spec: DataSpec) -> None:
        super().__init__(spec)
        self.reader = nn.Linear(5, spec.pixels)

    def encode(self, x: Tensor) -> Latents:
        return {"z": x.flatten(1)[:, 350:355]}

    def decode(self, values: Values) -> Tensor:
        return 30 * self.reader(values["z"]).view(-1, *self.spec.shape)


class Golden(Baseline):
    """Two real groups, one of each kind, and one discrete one, in float64 with weights from a formula."""

    core = "z"
    batch_size = 32  # steps enough that the learning rate falls

    def __init__(self, spec: DataSpec) -> None:
        super().__init__(spec)
        self.reader = nn.Linear(spec.pixels, 7, dtype=torch.float64)
        self.writer = nn.Linear(10, spec.pixels, dtype=torch.float64)
        with torch.no_grad():
            for i, p in enumerate(self.parameters()):
                steps = torch.arange(p.numel(), dtype=torch.float64)
                p.copy_((0.3 * torch.sin(1.7 * steps + i)).view_as(p) / p.shape[-1] ** 0.5)

    def _parts(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        h = self.reader(x.double().flatten(1)) * 3
        return h[:, :3], h[:, 3:5], h[:, 5:7]

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        mean, code, which = self._parts(batch.x)
        h = torch.cat([mean, code, which.softmax(1), torch.ones(len(mean), 3)], 1)
        logits = self.writer(h).view_as(batch.x)
        return {
            "loss": F.binary_cross_entropy_with_logits(logits, batch.x.double(), reduction="none").flatten(1).sum(1)
        }

    def encode(self, x: Tensor) -> Latents:
        mean, code, which = self._parts(x)
        return {"z": Normal(mean, torch.full_like(mean, 0.4)), "code": code, "which": Discrete(which.argmax(1), 2)}

    def prior(self, name: str, earlier: Values) -> Normal | None:
        return Normal(torch.zeros(3).double(), torch.ones(3).double()) if name == "z" else None

    def decode(self, values: Values) -> Tensor:
        which = F.one_hot(values["which"], 2).double()
        h = torch.cat([values["z"].double(), values["code"].double(), which, torch.ones(len(which), 3)], 1)
        return self.writer(h).view(-1, *self.spec.shape) * 4


class Legible(Golden):
    """The same with a core of 16 local means, which tell digits apart: a probe of next to nothing may end anywhere."""

    def encode(self, x: Tensor) -> Latents:
        local = F.avg_pool2d(x, 7).flatten(1).double()
        return super().encode(x) | {"z": Normal(local, torch.full_like(local, 0.4))}

    def prior(self, name: str, earlier: Values) -> Normal | None:
        return Normal(torch.zeros(16).double(), torch.ones(16).double()) if name == "z" else None

    def decode(self, values: Values) -> Tensor:
        return super().decode({**values, "z": values["z"][:, :3]})
