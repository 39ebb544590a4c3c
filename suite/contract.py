"""The public contract: what a baseline and a task are. These docstrings are the specification.

A baseline hands over distributions, codes and logits; it never reports a score. The suite
computes every likelihood, rate, accuracy and distance from what it is handed, with noise of its own.
"""

from __future__ import annotations

import abc
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from suite.errors import ContractError, Diverged, Unsupported, UserError

if TYPE_CHECKING:
    import numpy as np

    from suite.subject import Subject

__all__ = [
    "Anchor",
    "Baseline",
    "Batch",
    "ContractError",
    "DataSpec",
    "Discrete",
    "Diverged",
    "Group",
    "Latents",
    "Measure",
    "Metric",
    "Score",
    "Task",
    "TrainSet",
    "Unsupported",
    "UserError",
    "Values",
]


@dataclass(frozen=True)
class Discrete:
    """A discrete code: integers below ``classes`` (pooling switches, cluster ids, binary maps).

    Attributes:
        values: int64, shape (N, ...), each in ``[0, classes)``.
        classes: How many values each position can take.
    """

    values: Tensor
    classes: int


#: What one group of latents may be: a stochastic posterior, a deterministic code (floating, shape
#: (N, ...)), a discrete code, or a function of the values of the earlier groups that returns one of these.
Group = Distribution | Tensor | Discrete | Callable[[Mapping[str, Tensor]], Any]

#: What ``encode`` returns: an ordered mapping from group name to group.
Latents = Mapping[str, Group]

#: What ``decode`` receives: one tensor (N, ...) per group, drawn or disturbed by the suite; int64 for
#: discrete groups and Categorical posteriors, floating otherwise.
Values = Mapping[str, Tensor]


@dataclass(frozen=True)
class DataSpec:
    """What a baseline may know of the data before it sees any.

    Attributes:
        name: The dataset's name.
        shape: (channels, height, width) of an image.
        classes: Number of labels.
        train_images: Size of the training split.
    """

    name: str
    shape: tuple[int, int, int]
    classes: int
    train_images: int

    @property
    def pixels(self) -> int:
        """D, the number of Bernoulli variables of an image (channels x height x width)."""
        c, h, w = self.shape
        return c * h * w


@dataclass(frozen=True)
class TrainSet:
    """The training split as ``fit`` and ``after_epoch`` see it (the device is the model's).

    Attributes:
        grey: float32 in [0, 1], shape (N, C, H, W).
        binary: float32 in {0, 1}: the one fixed binarized draw of ``grey``.
        labels: int64 (N,), only where the baseline declares ``supervision``; else None.
    """

    grey: Tensor
    binary: Tensor
    labels: Tensor | None


@dataclass(frozen=True)
class Batch:
    """One training batch.

    Attributes:
        x: (N, C, H, W), input and target: freshly binarized, or grey where ``trains_on = "grey"``.
        y: int64 (N,), only where the baseline declares ``supervision``; else None.
        index: int64 (N,), positions in the training split.
        progress: Share of the budget already presented, in [0, 1).
    """

    x: Tensor
    y: Tensor | None
    index: Tensor
    progress: float


class Baseline(nn.Module):
    """One model with its training objective. Subclass it in one file of ``baselines/``.

    Declare the class attributes as plain literals (they are read without importing the file), take
    hyperparameters as keyword arguments of ``__init__``, and implement ``encode`` and ``decode``, with
    ``loss`` (gradient training) or ``fit`` (closed form) or neither (a model that is not trained).
    Parameters *and buffers* are the checkpoint; anything else is rebuilt by ``__init__``.

    Class attributes:
        summary: One line for lists.
        paper: Where the model is described.
        family: Of a family's baselines the best counts in the overall order. Empty: the file's name.
        supervision: ``"none"``, ``"labels"`` or ``"semi"``; without it no label is ever handed over.
        core: The group that is meant to hold the content.
        groups: Group name -> one line on what it holds and of which kind it is.
        variants: Name of each baseline this class provides -> its parameters. Empty: the class name in
            snake case, with the defaults.
        trains_on: ``"binary"`` (a fresh draw per step) or ``"grey"``.
        batch_size, learning_rate: Of the training loop (Adam).
        files: Weight files beside the source that belong to the model; hashed into its key.
    """

    summary: ClassVar[str] = ""
    paper: ClassVar[str] = ""
    family: ClassVar[str] = ""
    supervision: ClassVar[str] = "none"
    core: ClassVar[str] = "z"
    groups: ClassVar[dict[str, str]] = {}
    variants: ClassVar[dict[str, dict[str, Any]]] = {}
    trains_on: ClassVar[str] = "binary"
    batch_size: ClassVar[int] = 128
    learning_rate: ClassVar[float] = 1e-3
    files: ClassVar[tuple[str, ...]] = ()

    def __init__(self, spec: DataSpec) -> None:
        """Builds the network. Subclasses add keyword parameters with defaults after ``spec``."""
        super().__init__()
        self.spec = spec

    def fit(self, train: TrainSet) -> None:
        """Closed-form training, run once before the first step. Optional."""

    def begin(self, train: TrainSet) -> None:
        """Called before the first step of every start, resumed or not: takes up what is no parameter or buffer.

        A loss that looks at other training images than its batch (support sets) keeps a reference to them here,
        outside the checkpoint. Draws nothing. Optional.
        """

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """Returns ``{"loss": ..., other named terms}``, each of shape (N,), in nats where it is a likelihood.

        The loop minimizes the batch mean of ``"loss"``; the other terms are logged. Optional: a baseline
        that does not override it takes no gradient steps.
        """
        raise NotImplementedError

    def after_epoch(self, epoch: int, train: TrainSet, val: TrainSet) -> bool:
        """Called after every epoch (clusterings, schedules). Returns True to stop early."""
        return False

    def encode(self, x: Tensor) -> Latents:
        """Encodes images (N, C, H, W) into an ordered mapping of groups; see ``Group``.

        Row i of every group depends on image i alone. Runs in eval mode under ``no_grad``.
        """
        raise NotImplementedError

    def prior(self, name: str, earlier: Values) -> Distribution | None:
        """Returns the prior of a group given the earlier groups as the decoder receives them, or None.

        Its parameters broadcast against (N, \\*group shape). None asks for the suite's default: a Gaussian
        with the moments of the training posteriors or codes, a histogram for discrete codes.
        """
        return None

    def decode(self, values: Values) -> Tensor:
        """Returns the logits of the pixels' Bernoullis, (N, C, H, W), from the values of all groups alone."""
        raise NotImplementedError

    def features(self, values: Values) -> Tensor:
        """Returns what the probe reads, (N, d), from the core group's means and codes; by default these, flat."""
        value = values[self.core]
        return value.reshape(len(value), -1).to(torch.get_default_dtype())


@dataclass(frozen=True)
class Metric:
    """A number that a task reports.

    Attributes:
        name: As in the record; ``rate/*`` declares one metric per group.
        unit: ``nats``, ``%``, ``dB``, ...
        direction: ``"lower"`` or ``"higher"`` is better, or ``""`` where neither is.
        summary: One line for the card.
    """

    name: str
    unit: str
    direction: str
    summary: str


@dataclass(frozen=True)
class Measure:
    """A measured value: mean over images with its standard error over images.

    Attributes:
        value: The mean.
        se: Standard error over images; None where the number is not a mean over images.
        n: Number of images (or of draws) behind it.
    """

    value: float
    se: float | None = None
    n: int | None = None

    @staticmethod
    def mean(values: Tensor) -> Measure:
        """Returns the mean and standard error of per-image values of any shape (flattened)."""
        flat = values.detach().double().flatten()
        se = float(flat.std() / len(flat) ** 0.5) if len(flat) > 1 else None
        return Measure(float(flat.mean()), se, len(flat))


@dataclass
class Score:
    """What a task measured of one baseline.

    Attributes:
        metrics: Name -> measure; the names are those that ``Task.metrics`` declares.
        per_image: Name -> (N,) array: test-image values, for paired comparison.
        curves: Name -> [(step, value), ...].
        pictures: Name -> float image (C, H, W) in [0, 1]; written as PNG.
        notes: What a reader must know of these numbers (marked Monte Carlo, projected features, ...).
        flags: Alarms shown on the board, such as ``suspect``.
    """

    metrics: dict[str, Measure] = field(default_factory=dict)
    per_image: dict[str, np.ndarray] = field(default_factory=dict)
    curves: dict[str, list[tuple[float, float]]] = field(default_factory=dict)
    pictures: dict[str, Tensor] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    flags: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Anchor:
    """A score that is known without measuring the model in question.

    Attributes:
        name: ``floor``, ``exact`` or the name of a reference baseline.
        summary: What it is and, where mathematics gives one, its value.
    """

    name: str
    summary: str


class Task(abc.ABC):
    """One measurement, pure given (frozen baseline, dataset, random streams). One file of ``tasks/``.

    Declare ``version``, ``summary``, ``primary``, ``official`` and ``requires`` as plain literals (they are
    read without importing the file); the task's name is its file's name. Parameters are keyword arguments
    of ``__init__``; they stand in the key.

    Class attributes:
        version: Rises when the task's numbers can move.
        summary: One line for lists.
        primary: The metric that is ranked.
        official: Whether it counts in the overall order.
        requires: What the dataset must have: ``"labels"``, ``"shared_classes"`` (test classes occur in train).
        metrics: Every metric the task can report.
        anchors: Its floor, reference and exact models.
    """

    version: ClassVar[int] = 1
    summary: ClassVar[str] = ""
    primary: ClassVar[str] = ""
    official: ClassVar[bool] = False
    requires: ClassVar[tuple[str, ...]] = ()
    metrics: ClassVar[tuple[Metric, ...]] = ()
    anchors: ClassVar[tuple[Anchor, ...]] = ()

    @abc.abstractmethod
    def score(self, subject: Subject) -> Score:
        """Measures one frozen baseline.

        Raises:
            Unsupported: Where the measurement makes no sense for this baseline; the reason is shown.
        """

    def card(self) -> dict[str, Any]:
        """Returns the rules of the protocol as name -> value, generated from the values the code uses."""
        return {}
