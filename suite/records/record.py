"""The record's schema: what one cell leaves behind, whatever happened."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

#: Rises when a field changes its meaning; older records still load.
SCHEMA = 1

STATUSES = ("ok", "failed", "timeout", "killed", "unsupported")

#: Statuses that answer the question the cell asked: they are never replaced by another answer.
SETTLED = ("ok", "unsupported")

#: Flags on a record of a model that did not get all it knows from the budget's training: a file that brings its
#: weights, and one that trains beyond the budget. Such a model is shown in a table of its own, and is not ranked.
GIVEN_WEIGHTS, OWN_TRAINING = "given weights", "own training"


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
        cost: Parameters, flops_per_image, training_flops, train_seconds, train_core_seconds,
            images_per_second, training_images, setup_seconds (loading, sealing, counting: what the trial did before
            it scored and beside training), score_seconds, score_core_seconds, peak_memory_bytes; of a tuned model
            also what its search took: search_trials, search_seconds, search_flops, search_images. Core-seconds are
            what the trial's process took of the processors; of guests they are not known.
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


def readable(value: Any) -> Any:
    """Returns a value with every text in it such that it can be shown, sent and read back (no lone surrogates)."""
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, dict):
        return {readable(name): readable(inner) for name, inner in value.items()}
    return [readable(inner) for inner in value] if isinstance(value, list) else value


def now() -> str:
    """Returns the present time as the records write it (ISO, UTC, milliseconds)."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")
