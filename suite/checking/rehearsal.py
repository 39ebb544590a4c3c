"""Scoring on trial, for ``suite check``: a baseline by every task, and a task on three small models."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from suite import seeds
from suite.checking.integrity import BUDGET, Caught, Examinee, Specimen
from suite.data import Dataset, DatasetInfo, Split, binarize
from suite.errors import ContractError
from suite.measuring import Frozen, Score, Subject, Task, batches, fit_channel, measured
from suite.plugins import registry
from suite.training import Baseline, Recipe

#: Scores under two noise seeds may differ by this many standard errors and this share: the fits see the noise too.
ERRORS, SHARE = 5.0, 0.01

#: A score this close to the floor, in nats, says nothing of the model yet.
AT_FLOOR = 0.5


def public_and_secret(specimen: Examinee) -> tuple[Subject, Subject]:
    """Returns the specimen with the published noise seed and with one that nobody knows."""
    return specimen.subject(), specimen.subject(secrets.token_hex(8))


def tasks(info: DatasetInfo) -> Iterator[tuple[str, Task]]:
    """Yields the built-in and installed tasks whose demands a dataset meets."""
    for name, entry in registry.discover("task").items():
        if all(getattr(info, need) for need in entry.static.get("requires", ())):
            yield name, registry.load(registry.source(entry))()


def score(task: Task, subject: Subject) -> Score:
    """Scores under random global streams, on which no score may depend.

    Raises:
        ContractError: If a metric is not declared or not finite, or the primary one is missing.
    """
    with seeds.global_seed(secrets.token_hex(8)):
        found = task.score(subject)
    measured(found.metrics, task.metrics)
    if task.primary not in found.metrics:
        raise ContractError(f"the primary metric '{task.primary}' is missing")
    return found


# --- a baseline before the tasks ----------------------------------------------------------------------------


def same_under_secret_noise(task: Task, public: Subject, secret: Subject) -> str:
    """A score in nats is the same, up to Monte Carlo error, with a noise seed that the model can't know."""
    name = task.primary
    metric = next(metric for metric in task.metrics if metric.name == name)
    first = score(task, public)
    seen = f"{name} {first.metrics[name].value:.4g} {metric.unit}".rstrip() + f" after the {public.budget} budget"
    if metric.unit != "nats":  # no noise enters
        return seen
    with secret.model.fitting():  # by one process: what it would remember shows beside those that end at each answer
        second = score(task, secret)
    a, b = first.metrics[name].value, second.metrics[name].value
    allowed = ERRORS * _error_of_difference(first, second, name) + SHARE * (1 + abs(a))
    # A net that is a loss under both is nobody's advantage: a channel fitted to what says nothing ends anywhere.
    a_loss_both_times = metric.direction == "higher" and max(a, b) <= 0
    if abs(a - b) > allowed and not a_loss_both_times:
        raise Caught(f"{name} {a:.4g}, but {b:.4g} with a secret noise seed (allowed: {allowed:.2g} apart)")
    floor = first.metrics.get("floor")
    if floor is not None and abs(a - floor.value) < AT_FLOOR:
        return f"{name} at the floor, as after the {public.budget} budget it may be, and with a secret noise seed too"
    return f"{seen}; {b:.4g} with a secret noise seed"


def no_test_image_by_heart(subject: Subject) -> str:
    """Test images shifted by one pixel and freshly binarized cost as much more as validation images do."""
    channel = fit_channel(subject)

    def nats(bits: Tensor) -> Tensor:
        rng, prices = subject.rng("heart"), []
        for (b,) in batches(bits):
            message = channel.send(channel.model.encode(b), len(b), rng)
            prices.append(channel.distortion(message.values, b) + message.rate)
        return torch.cat(prices)

    def rise(split: Split) -> Tensor:
        return nats(binarize(split.grey.roll(1, -1))) - nats(split.binary)

    test, val = rise(subject.dataset.test), rise(subject.dataset.val)
    error = float((test.var() / len(test) + val.var() / len(val)).sqrt())
    seen = f"shifted test images cost {float(test.mean()):.3g} nats more, validation images {float(val.mean()):.3g}"
    if float(test.mean() - val.mean()) > ERRORS * error + SHARE * float(nats(subject.dataset.val.binary).mean()):
        raise Caught(seen)
    return seen


def _error_of_difference(first: Score, second: Score, name: str) -> float:
    if name in first.per_image:
        difference = first.per_image[name] - second.per_image[name]
        return float(difference.std() / len(difference) ** 0.5)
    a, b = first.metrics[name].se or 0.0, second.metrics[name].se or 0.0
    return float((a**2 + b**2) ** 0.5)


# --- a task before models -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Declared:
    """What a task says of itself.

    Attributes:
        summary, primary: As declared.
        metrics: Name and direction of each.
        anchors: How many there are.
    """

    summary: str
    primary: str
    metrics: tuple[tuple[str, str], ...]
    anchors: int

    @staticmethod
    def of(task: Task) -> Declared:
        """Reads what a task declares; its card must be plain data."""
        json.dumps(task.card())
        metrics = tuple((metric.name, metric.direction) for metric in task.metrics)
        return Declared(task.summary, task.primary, metrics, len(task.anchors))


def declarations(task: Declared) -> str:
    """What the board and the card need."""
    names = [name for name, _ in task.metrics]
    if not task.summary:
        raise Caught("no summary")
    if task.primary not in names:
        raise Caught(f"the primary metric '{task.primary}' is not among the metrics ({', '.join(names) or 'none'})")
    if len(set(names)) != len(names):
        raise Caught("two metrics have one name")
    for name, direction in task.metrics:
        if direction not in ("lower", "higher", ""):
            raise Caught(f"{name}: direction is 'lower', 'higher' or '', not '{direction}'")
        if name == task.primary and not direction:
            raise Caught("the primary metric is ranked and needs a direction")
    if not task.anchors:
        raise Caught("no anchors: a score without them is not shown")
    return f"{len(names)} metrics, ranked by {task.primary}"


@dataclass(frozen=True)
class Twice:
    """What two scorings of one untrained model left.

    Attributes:
        first, second: Metric -> value.
        changed: Whether the model or the data are others than before.
        dims: Dimensions of the per-image values, by name.
    """

    first: Mapping[str, float]
    second: Mapping[str, float]
    changed: bool
    dims: Mapping[str, int]


def score_twice(task: Task, model: type[Baseline], dataset: Dataset) -> Twice:
    """Scores an untrained model twice."""
    recipe = Recipe(model, dataset.spec)
    frozen = Frozen(recipe.build())
    specimen = Specimen(dataset, frozen, BUDGET, recipe)
    before = frozen.parameter_hash(), float(dataset.test.grey.double().sum())
    first, second = score(task, specimen.subject()), score(task, specimen.subject())
    after = frozen.parameter_hash(), float(dataset.test.grey.double().sum())
    dims = {name: int(value.ndim) for name, value in first.per_image.items()}
    return Twice(_values(first), _values(second), after != before, dims)


def _values(found: Score) -> dict[str, float]:
    return {name: float(measure.value) for name, measure in found.metrics.items()}


def agree(found: Twice, primary: str) -> str:
    """Two scorings of an untrained model agree in every number, and leave the model and the data as they were."""
    if found.changed:
        raise Caught("scoring changed the model or the data")
    for name, value in found.first.items():
        if found.second.get(name) != value:
            raise Caught(f"scored again, {name} differs: draw from subject.rng, not from global streams")
    for name, dims in found.dims.items():
        if dims != 1:
            raise Caught(f"per_image['{name}'] has {dims} dimensions, expected one value per image")
    if primary not in found.first:
        raise Caught(f"the primary metric '{primary}' is missing")
    return f"{primary} {found.first[primary]:.4g}"
