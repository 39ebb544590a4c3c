"""The integrity checks of the protocol, on one briefly trained baseline: what no honest model does.

Each check takes a ``Specimen`` and returns one line on what it saw, or raises ``Caught``.
"""

from __future__ import annotations

import random
import secrets
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch import distributions as D

from suite import training
from suite.data import Dataset
from suite.measuring import FAMILIES, Frozen, charge
from suite.plugins import Source
from suite.training import Baseline, Discrete, Values, checkpoints

#: Images that pass through each check, and how many of them pass again in other company.
ROWS, SOME = 13, 5
#: Answers that should agree may differ by this share of the largest: sums run in another order in another batch.
TOLERANCE = 1e-4
BUDGET = "smoke"

Answers = dict[str, Tensor]


class Caught(Exception):
    """A check that failed; the message is one line."""


@dataclass
class Specimen:
    """A trained baseline with everything needed to make another.

    Attributes:
        cls: The model's class.
        params: Its hyperparameters.
        dataset: What it was trained on.
        model: The trained model.
        source: Its file, where it came from one: the checks then also run in a fresh process.
    """

    cls: type[Baseline]
    params: dict[str, Any]
    dataset: Dataset
    model: Frozen
    source: Source | None = None

    @staticmethod
    def grow(cls: type[Baseline], params: dict[str, Any], dataset: Dataset, source: Source | None = None) -> Specimen:
        """Trains a baseline for a few steps."""
        return Specimen(cls, params, dataset, Frozen(train(cls, params, dataset)), source)

    def images(self, start: int = 0) -> Tensor:
        """``ROWS`` binarized validation images."""
        return self.dataset.val.binary[start : start + ROWS]


def train(cls: type[Baseline], params: dict[str, Any], dataset: Dataset) -> Baseline:
    """Builds and trains a baseline with seed 0 for a few steps."""
    baseline = training.build(cls, dataset.spec, params, 0, torch.device("cpu"))
    training.train(baseline, dataset, seed=0, budget=BUDGET)
    return baseline


# --- what a model says ------------------------------------------------------------------------------------


def of_encoder(model: Frozen, x: Tensor, values: Values) -> Answers:
    """Every parameter of every group; ancestral groups are given ``values``."""
    answers: Answers = {}
    for name, group in model.encode(x).items():
        q = model.resolve(name, group, values, len(x))
        for i, parameter in enumerate(_parameters(q)):
            answers[f"encode['{name}'] ({i})"] = parameter
    return answers


def of_decoder(model: Frozen, values: Values) -> Answers:
    """The logits, the features, and each prior's price of the value that was sent."""
    answers: Answers = {"decode": model.decode(values)}
    earlier: dict[str, Tensor] = {}
    for name, z in values.items():
        prior = model.prior(name, earlier)
        if prior is not None:
            answers[f"prior('{name}')"] = charge(Discrete(z, 0), prior, z, f"{model.name}.prior('{name}')")[0]
        earlier[name] = z
    if model.core in values:
        answers["features"] = model.features(values)
    return answers


def _parameters(q: D.Distribution | Tensor | Discrete) -> list[Tensor]:
    if isinstance(q, Discrete):
        return [q.values]
    if isinstance(q, Tensor):
        return [q]
    if isinstance(q, D.Independent):
        return _parameters(q.base_dist)
    if isinstance(q, D.MixtureSameFamily):
        return _parameters(q.mixture_distribution) + _parameters(q.component_distribution)
    return [getattr(q, name) for name in FAMILIES[type(q)]]


def disturbed(model: Frozen, x: Tensor) -> dict[str, Tensor]:
    """The values of these images, real ones with noise: what a decoder receives, and no code it has handed over."""
    rng = torch.Generator().manual_seed(0)
    values = model.means(x)
    return {
        name: v + 0.1 * v.std() * torch.randn(v.shape, generator=rng, dtype=v.dtype) if v.is_floating_point() else v
        for name, v in values.items()
    }


def rows(values: Values, order: Tensor) -> dict[str, Tensor]:
    """These rows of every group."""
    return {name: value[order] for name, value in values.items()}


def compare(first: Answers, second: Answers, how: str) -> None:
    """Raises ``Caught`` where two sets of answers differ."""
    if list(first) != list(second):
        raise Caught(f"{how}: the groups changed from {', '.join(first)} to {', '.join(second)}")
    for name, a in first.items():
        b = second[name]
        if a.shape != b.shape:
            raise Caught(f"{how}: {name} changed its shape from {tuple(a.shape)} to {tuple(b.shape)}")
        gap = float((a.double() - b.double()).abs().max()) if a.numel() else 0.0
        if not gap <= TOLERANCE * (1 + float(a.abs().max() if a.numel() else 0)):
            raise Caught(f"{how}: {name} changed by up to {gap:.3g}")


# --- the checks -------------------------------------------------------------------------------------------


def shapes(s: Specimen) -> str:
    """Groups as declared, in one order; logits of the image's shape; priors that fit their groups."""
    for x in (s.images(), s.dataset.val.grey[:ROWS]):
        values = s.model.means(x)
        if list(values) != list(s.cls.groups):
            found, declared = ", ".join(values) or "none", ", ".join(s.cls.groups) or "none"
            raise Caught(f"encode returns the groups {found}, `groups` declares {declared}")
        of_encoder(s.model, x, values)
        of_decoder(s.model, values)
    sizes = ", ".join(f"{name} {tuple(v.shape[1:])}" for name, v in values.items())
    return sizes or "no latents"


def finite(s: Specimen) -> str:
    """Parameters are finite; so is what is said of every validation and test image, and of odd ones."""
    for name, tensor in s.model.unwrap().state_dict().items():
        if not bool(torch.isfinite(tensor).all()):
            raise Caught(f"{name} is not finite")
    noise = torch.rand(ROWS, *s.dataset.spec.shape, generator=torch.Generator().manual_seed(0))
    odd = torch.cat([torch.zeros_like(noise[:1]), torch.ones_like(noise[:1]), noise, noise.round()])
    images = torch.cat([s.dataset.val.binary, s.dataset.test.binary, s.dataset.test.grey, odd])
    for x in images.split(500):
        s.model.decode(s.model.means(x))
    return f"{len(images)} images"


def independent_rows(s: Specimen) -> str:
    """Row i of every answer does not change with the rest of the batch."""
    x, values = s.images(), disturbed(s.model, s.images())
    encoded, decoded = of_encoder(s.model, x, values), of_decoder(s.model, values)
    backwards = torch.arange(ROWS - 1, -1, -1)
    for how, order in (("in another order", backwards), ("in a smaller batch", backwards[:SOME])):
        compare(rows(encoded, order), of_encoder(s.model, x[order], rows(values, order)), how)
        if values:
            compare(rows(decoded, order), of_decoder(s.model, rows(values, order)), how)
    return f"{ROWS} images in another order and in a smaller batch"


def stateless(s: Specimen) -> str:
    """Decode, prior and features give the same values whatever was encoded before, and change no parameter."""
    before, values = s.model.parameter_hash(), disturbed(s.model, s.images())
    first = of_decoder(s.model, values)
    s.model.encode(s.images(ROWS))
    compare(first, of_decoder(s.model, values), "after other images were encoded")
    if s.model.parameter_hash() != before:
        raise Caught("encoding and decoding changed parameters or buffers")
    return "same answers after other images were encoded"


def round_trip(s: Specimen) -> str:
    """Saved and loaded into a new instance, the model says the same: parameters and buffers are all of it."""
    twin = training.build(s.cls, s.dataset.spec, s.params, 1, torch.device("cpu"))
    with tempfile.TemporaryDirectory() as folder:
        checkpoints.save(Path(folder), s.model.unwrap(), {})
        checkpoints.load(Path(folder), twin)
    values = disturbed(s.model, s.images())
    loaded = Frozen(twin)
    compare(of_encoder(s.model, s.images(), values), of_encoder(loaded, s.images(), values), "after save and load")
    compare(of_decoder(s.model, values), of_decoder(loaded, values), "after save and load")
    return "same answers after save and load"


def repeatable(s: Specimen) -> str:
    """The same seed gives the same parameters, after another model and whatever the global streams say."""
    train(s.cls, s.params, _negative(s.dataset))
    torch.manual_seed(secrets.randbits(63))
    np.random.seed(secrets.randbits(32))
    random.seed(secrets.randbits(63))
    if Frozen(train(s.cls, s.params, s.dataset)).parameter_hash() != s.model.parameter_hash():
        raise Caught("trained again with the same seed, the parameters differ")
    return "same parameters after a second training, another model between"


def blind_to_labels(s: Specimen) -> str:
    """Trained on shuffled labels, a model that declares no supervision is the same."""
    if s.cls.supervision != "none":
        return f"declared: supervision = '{s.cls.supervision}'"
    rolled = replace(s.dataset.train, labels=s.dataset.train.labels.roll(1))
    shuffled = replace(s.dataset, train=rolled)
    if Frozen(train(s.cls, s.params, shuffled)).parameter_hash() != s.model.parameter_hash():
        raise Caught("shuffled labels change the model, and supervision is 'none'")
    return "shuffled labels change nothing"


def _negative(dataset: Dataset) -> Dataset:
    """Another dataset, to train another model on: black on white."""
    return replace(dataset, train=replace(dataset.train, grey=1 - dataset.train.grey))


#: In the order in which they run.
CHECKS: tuple[Callable[[Specimen], str], ...] = (
    shapes,
    finite,
    independent_rows,
    stateless,
    round_trip,
    repeatable,
    blind_to_labels,
)
