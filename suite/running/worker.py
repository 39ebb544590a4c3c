"""One trial in a worker process: its limits, and what it tells the driver. Knows nothing of who carries the words."""

from __future__ import annotations

import dataclasses
import json
import os
import platform
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from suite.records import environment
from suite.running import limits

if TYPE_CHECKING:
    from suite.planning import Trial

#: Takes what is told: ``start``, ``event`` or ``record`` -> JSON.
Tell = Callable[[dict[str, Any]], Any]


def work(trial: Trial, tell: Tell, note: Path, memory: float | None, gpu: bool) -> None:
    """Runs a trial.

    Args:
        trial: What to run.
        tell: Carries each word to the driver.
        note: Takes the stack if the process dies or is out of time.
        memory: GiB that the process may hold.
        gpu: Whether the trial was granted a GPU.
    """
    from suite.running.trial import run_trial

    if trial.device == "auto":
        trial = dataclasses.replace(trial, device="cuda" if gpu else "cpu")
    tell({"start": json.dumps({"where": f"{platform.node()}:{os.getpid()}", "env": environment()})})
    with limits.black_box(note, trial.timeout), limits.memory(memory):
        run_trial(
            trial,
            lambda record: tell({"record": json.dumps(dataclasses.asdict(record))}),
            lambda event: tell({"event": json.dumps(event)}),
        )
