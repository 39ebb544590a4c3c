"""The integrity checks of the protocol, on one briefly trained baseline: what no honest model does.

Each check takes an ``Examinee`` and returns one line on what it saw, or raises ``Caught``.
"""

from __future__ import annotations

import random
import secrets
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from suite import training
from suite.data import Dataset
from suite.measuring import Frozen, Subject, answers, discrete_groups, make_subject, only_probabilities
from suite.training import Baseline, Recipe, Values, checkpoints

#: Images that pass through each check, and how many of them pass again in other company.
ROWS, SOME = 13, 5
BUDGET = "smoke"
#: What to do about a model that draws.
NOISE = "return the distribution, and the suite draws from it and charges it"


class Caught(Exception):
    """A check that failed; the message is one line."""


@dataclass
class Examinee:
    """A trained model with everything needed to make another.

    Attributes:
        dataset: What it was trained on.
        model: The trained model.
        budget: How long it was trained.
    """

    dataset: Dataset
    model: Frozen
    budget: str

    @property
    def declared(self) -> Mapping[str, Any]:
        """What its class says of itself: ``groups``, ``supervision``."""
        raise NotImplementedError

    @property
    def state(self) -> Mapping[str, Tensor]:
        """Its parameters and buffers."""
        raise NotImplementedError

    def again(self, dataset: Dataset, before: Dataset | None = None) -> str:
        """Returns the hash of the parameters when another is trained for a few steps.

        Args:
            dataset: What it is trained on.
            before: What yet another one is trained on first, in the same process, whose global streams are then random.
        """
        raise NotImplementedError

    def reloaded(self) -> Frozen:
        """Returns its parameters and buffers in an instance of another initialization."""
        raise NotImplementedError

    def subject(self, noise: str = "") -> Subject:
        """Returns it as tasks see it, keeping nothing on disk; ``noise`` as for ``Subject``."""
        raise NotImplementedError

    def images(self, start: int = 0) -> Tensor:
        """``ROWS`` binarized validation images."""
        return self.dataset.val.binary[start : start + ROWS]


@dataclass
class Specimen(Examinee):
    """A baseline that was trained in this process: the suite's own.

    Attributes:
        recipe: What it was made of.
    """

    recipe: Recipe

    @staticmethod
    def grow(cls: type[Baseline], params: dict[str, Any], dataset: Dataset, budget: str = BUDGET) -> Specimen:
        """Trains a baseline with seed 0, by default for a few steps."""
        recipe = Recipe(cls, dataset.spec, params)
        return Specimen(dataset, Frozen(train(recipe, dataset, budget)), budget, recipe)

    @property
    def declared(self) -> Mapping[str, Any]:
        return {"groups": self.recipe.cls.groups, "supervision": self.recipe.cls.supervision}

    @property
    def state(self) -> Mapping[str, Tensor]:
        return self.model.unwrap().state_dict()

    def again(self, dataset: Dataset, before: Dataset | None = None) -> str:
        if before is not None:
            train(self.recipe, before)
            torch.manual_seed(secrets.randbits(63))
            np.random.seed(secrets.randbits(32))
            random.seed(secrets.randbits(63))
        return Frozen(train(self.recipe, dataset)).parameter_hash()

    def reloaded(self) -> Frozen:
        twin = replace(self.recipe, seed=1).build()
        with tempfile.TemporaryDirectory() as folder:
            checkpoints.save(Path(folder), self.model.unwrap(), {})
            checkpoints.load(Path(folder), twin)
        return Frozen(twin)

    def subject(self, noise: str = "") -> Subject:
        return make_subject(self.model.unwrap(), self.recipe, self.dataset, self.budget, noise=noise)


def train(recipe: Recipe, dataset: Dataset, budget: str = BUDGET) -> Baseline:
    """Builds a baseline and trains it, by default for a few steps."""
    baseline = recipe.build()
    training.train(baseline, dataset, seed=recipe.seed, budget=budget)
    return baseline


# --- what a model says ------------------------------------------------------------------------------------


def disturbed(model: Frozen, x: Tensor) -> dict[str, Tensor]:
    """The values of these images, real ones with noise: what a decoder receives, and no code it has handed over."""
    rng = torch.Generator().manual_seed(0)
    values, counts = model.means(x), discrete_groups(model, x)
    return {
        name: v if name in counts else v + 0.1 * v.std() * torch.randn(v.shape, generator=rng, dtype=v.dtype)
        for name, v in values.items()
    }


def rows(values: Values, order: Tensor) -> dict[str, Tensor]:
    """These rows of every group."""
    return {name: value[order] for name, value in values.items()}


def compare(first: answers.Answers, second: answers.Answers, how: str) -> None:
    """Raises ``Caught`` where two sets of answers differ."""
    changed = answers.difference(first, second)
    if changed:
        raise Caught(f"{how}: {changed}")


# --- the checks -------------------------------------------------------------------------------------------


def shapes(s: Examinee) -> str:
    """Groups as declared, in one order; logits of the image's shape; priors that fit their groups."""
    for x in (s.images(), s.dataset.val.grey[:ROWS]):
        values = s.model.means(x)
        if list(values) != list(s.declared["groups"]):
            found, declared = ", ".join(values) or "none", ", ".join(s.declared["groups"]) or "none"
            raise Caught(f"encode returns the groups {found}, `groups` declares {declared}")
        answers.of_encoder(s.model, x, values)
        answers.of_decoder(s.model, values)
    sizes = ", ".join(f"{name} {tuple(v.shape[1:])}" for name, v in values.items())
    return sizes or "no latents"


def finite(s: Examinee) -> str:
    """Parameters are finite; so is what is said of every validation and test image, and of odd ones."""
    for name, tensor in s.state.items():
        if not bool(torch.isfinite(tensor).all()):
            raise Caught(f"{name} is not finite")
    noise = torch.rand(ROWS, *s.dataset.spec.shape, generator=torch.Generator().manual_seed(0))
    odd = torch.cat([torch.zeros_like(noise[:1]), torch.ones_like(noise[:1]), noise, noise.round()])
    images = torch.cat([s.dataset.val.binary, s.dataset.test.binary, s.dataset.test.grey, odd])
    for x in images.split(500):
        s.model.decode(s.model.means(x))
    return f"{len(images)} images"


def no_noise_of_its_own(s: Examinee) -> str:
    """Encode, decode and prior give the same answers twice, whichever noise the global streams hold."""
    x, values = s.images(), disturbed(s.model, s.images())
    asked: dict[str, Callable[[], answers.Answers]] = {
        "encode": lambda: answers.of_encoder(s.model, x, values),
        "decode or prior": lambda: answers.of_decoder(s.model, values),
    }
    for method, ask in asked.items():
        if changed := answers.difference(ask(), ask()):
            raise Caught(f"{method} draws noise of its own (asked twice, {changed}); {NOISE}")
    return "same answers for the same images and values"


def logits_not_probabilities(s: Examinee) -> str:
    """Decoded values leave [0, 1], as logits do."""
    logits = s.model.decode(s.model.means(s.dataset.val.binary))
    low, high = float(logits.min()), float(logits.max())
    if only_probabilities(low, high):
        raise Caught(
            f"decoded values never leave [0, 1] ({low:.3g} to {high:.3g}): decode returns logits, with no final sigmoid"
        )
    return f"decoded values from {low:.3g} to {high:.3g}"


def independent_rows(s: Examinee) -> str:
    """Row i of every answer does not change with the rest of the batch."""
    x, values = s.images(), disturbed(s.model, s.images())
    encoded, decoded = answers.of_encoder(s.model, x, values), answers.of_decoder(s.model, values)
    backwards = torch.arange(ROWS - 1, -1, -1)
    for how, order in (("in another order", backwards), ("in a smaller batch", backwards[:SOME])):
        compare(rows(encoded, order), answers.of_encoder(s.model, x[order], rows(values, order)), how)
        if values:
            compare(rows(decoded, order), answers.of_decoder(s.model, rows(values, order)), how)
    return f"{ROWS} images in another order and in a smaller batch"


def stateless(s: Examinee) -> str:
    """Decode, prior and features give the same values whatever was encoded before, and change no parameter."""
    before, values = s.model.parameter_hash(), disturbed(s.model, s.images())
    first = answers.of_decoder(s.model, values)
    s.model.encode(s.images(ROWS))
    compare(first, answers.of_decoder(s.model, values), "after other images were encoded")
    if s.model.parameter_hash() != before:
        raise Caught("encoding and decoding changed parameters or buffers")
    return "same answers after other images were encoded"


def round_trip(s: Examinee) -> str:
    """Saved and loaded into a new instance, the model says the same: parameters and buffers are all of it."""
    loaded, values = s.reloaded(), disturbed(s.model, s.images())
    compare(
        answers.of_encoder(s.model, s.images(), values),
        answers.of_encoder(loaded, s.images(), values),
        "after save and load",
    )
    compare(answers.of_decoder(s.model, values), answers.of_decoder(loaded, values), "after save and load")
    return "same answers after save and load"


def repeatable(s: Examinee) -> str:
    """The same seed gives the same parameters, after another model and whatever the global streams say."""
    if s.again(s.dataset, before=_negative(s.dataset)) != s.model.parameter_hash():
        raise Caught("trained again with the same seed, the parameters differ")
    return "same parameters after a second training, another model between"


def blind_to_labels(s: Examinee) -> str:
    """Trained on shuffled labels, a model that declares no supervision is the same."""
    if s.declared["supervision"] != "none":
        return f"declared: supervision = '{s.declared['supervision']}'"
    rolled = replace(s.dataset.train, labels=s.dataset.train.labels.roll(1))
    shuffled = replace(s.dataset, train=rolled)
    if s.again(shuffled) != s.model.parameter_hash():
        raise Caught("shuffled labels change the model, and supervision is 'none'")
    return "shuffled labels change nothing"


def _negative(dataset: Dataset) -> Dataset:
    """Another dataset, to train another model on: black on white."""
    return replace(dataset, train=replace(dataset.train, grey=1 - dataset.train.grey))


#: In the order in which they run.
CHECKS: tuple[Callable[[Examinee], str], ...] = (
    shapes,
    finite,
    no_noise_of_its_own,
    logits_not_probabilities,
    independent_rows,
    stateless,
    round_trip,
    repeatable,
    blind_to_labels,
)

#: Check -> the check without which it says nothing: where that one failed, it is skipped.
AFTER = {
    "independent rows": "no noise of its own",
    "stateless": "no noise of its own",
    "round trip": "no noise of its own",
    "fresh process": "no noise of its own",
    "blind to labels": "repeatable",
}
