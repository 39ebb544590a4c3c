"""What a task is: one measurement of a frozen baseline, the metrics it declares, and what it hands back."""

from __future__ import annotations

import abc
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, ClassVar

from torch import Tensor

from suite.errors import ContractError

if TYPE_CHECKING:
    import numpy as np

    from suite.measuring.subject import Subject


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


def measured(metrics: Mapping[str, Measure], declared: Sequence[Metric]) -> dict[str, dict[str, Any]]:
    """Returns the ``metrics`` of a record: what a task measured with what it declared about it.

    Raises:
        ContractError: If a metric is not declared or not finite.
    """
    entries = {}
    for name, measure in metrics.items():
        metric = next((m for m in declared if fnmatchcase(name, m.name)), None)
        if metric is None:
            raise ContractError(f"the task reports the metric '{name}', which it does not declare")
        if not math.isfinite(measure.value):
            raise ContractError(f"the metric '{name}' is {measure.value}")
        se = None if measure.se is None or not math.isfinite(measure.se) else float(measure.se)
        entries[name] = {
            "value": float(measure.value),
            "unit": metric.unit,
            "direction": metric.direction,
            "se": se,
            "n": measure.n,
        }
    return entries
