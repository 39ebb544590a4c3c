"""What a board needs of one record."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple


class Outcome(NamedTuple):
    """What is needed of one record; the fields are columns of ``board.frame``."""

    key: str
    status: str
    reason: str
    stale: str
    task: str
    task_version: int
    task_params: str
    official: bool
    primary: str
    baseline: str
    seed: int
    metrics: Mapping[str, Mapping[str, Any]]
    flags: tuple[str, ...]
    notes: tuple[str, ...]
    baseline_params: str
    family: str
    supervision: str
    parameters: float
    flops_per_image: float
    train_seconds: float
    images_per_second: float
    tuned: int
    search_trials: float
    search_seconds: float
    search_flops: float
    search_images: float
    standing: str
