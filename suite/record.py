"""The record's schema: what one cell leaves behind, whatever happened."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from suite.errors import ContractError
from suite.machine import environment

if TYPE_CHECKING:
    from suite.cells import Cell, Source
    from suite.contract import Measure, Metric

#: Rises when a field changes its meaning; older records still load.
SCHEMA = 1

STATUSES = ("ok", "failed", "timeout", "killed", "unsupported")

#: Statuses that answer the question the cell asked: they are never replaced by another answer.
SETTLED = ("ok", "unsupported")


@dataclass
class Record:
    """One cell's outcome. Fields that an older record lacks take the defaults below.

    Attributes:
        key: SHA-256 of ``ingredients``; its first 32 characters name the file.
        status: One of ``STATUSES``.
        reason: One line: why the cell is not ok.
        metrics: Name -> ``{value, unit, direction, se, n}``.
        pictures: File names below ``pictures_path``.
        values: Whether per-image values lie at ``values_path``.
        cost: Parameters, flops_per_image, train_seconds, images_per_second, setup_seconds (loading, counting: what
            the trial did before it scored and beside training), score_seconds, peak_memory_bytes.
        env: Host, device, threads, cpu, python, torch, versions, commit, dirty.
        started, finished: ISO times in UTC.
    """

    key: str
    status: str
    task: str
    baseline: str
    dataset: str
    seed: int
    schema: int = SCHEMA
    ingredients: dict[str, Any] = field(default_factory=dict, repr=False)
    checkpoint_key: str = ""
    reason: str = ""
    traceback: str = field(default="", repr=False)
    task_version: int = 1
    task_params: dict[str, Any] = field(default_factory=dict)
    official: bool = False
    family: str = ""
    baseline_params: dict[str, Any] = field(default_factory=dict)
    supervision: str = "none"
    budget: str = ""
    precision: str = "float32"
    primary: str = ""
    metrics: dict[str, dict[str, Any]] = field(default_factory=dict, repr=False)
    notes: list[str] = field(default_factory=list)
    flags: list[str] = field(default_factory=list)
    pictures: list[str] = field(default_factory=list)
    values: bool = False
    cost: dict[str, Any] = field(default_factory=dict, repr=False)
    env: dict[str, Any] = field(default_factory=dict, repr=False)
    started: str = ""
    finished: str = ""


def now() -> str:
    """Returns the present time as the records write it (ISO, UTC, milliseconds)."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def new(
    cell: Cell,
    baseline: Source,
    task: Source,
    status: str,
    *,
    reason: str = "",
    device: str = "cpu",
    threads: int = 1,
    started: str = "",
    **rest: Any,
) -> Record:
    """Returns the record of a cell that has just ended.

    Args:
        cell: What was run.
        baseline: The baseline's source, for family and supervision.
        task: The task's source, for version, primary metric and whether it is official.
        status: One of ``STATUSES``.
        reason: One line, where the status is not ``ok``.
        device: Where it ran.
        threads: Threads it ran with.
        started: As ``now()`` gave it; empty: this moment.
        rest: Further fields of ``Record``: metrics, cost, notes, flags, pictures, values, traceback.
    """
    finished = now()
    return Record(
        key=cell.key,
        status=status,
        task=cell.task,
        baseline=cell.baseline,
        dataset=cell.dataset,
        seed=cell.seed,
        ingredients=cell.ingredients,
        checkpoint_key=cell.checkpoint_key,
        reason=" ".join(reason.split()),
        task_version=task.static["version"],
        task_params=cell.task_params,
        official=task.static["official"],
        family=baseline.static["family"],
        baseline_params=cell.baseline_params,
        supervision=baseline.static["supervision"],
        budget=cell.budget,
        precision=cell.precision,
        primary=task.static["primary"],
        env={**environment(), "device": device, "threads": threads},
        started=started or finished,
        finished=finished,
        **rest,
    )


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
