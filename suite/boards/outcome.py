"""What a board needs of one record."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple


class Outcome(NamedTuple):
    """What is needed of one record, beside what it says of its model; the fields are columns of ``board.frame``."""

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
    foreign: bool
    untried: bool
