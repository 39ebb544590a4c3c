"""Trials whose records are no cells of the workspace: they run as any others, and whoever asked keeps them."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from suite.running.executor import Execution
from suite.running.interrupt import end, stop_if_asked
from suite.running.progress import Progress
from suite.running.run import RAY_DIED, run_trials
from suite.running.workspace import console_file, scratch, silenced

if TYPE_CHECKING:
    from suite.planning import Trial
    from suite.records import Record

#: Takes the record of a trial that has ended.
Keep = Callable[["Trial", "Record"], None]


def run_wave(
    trials: Sequence[Trial], workspace: Path, execution: Execution, keep: Keep, *, title: str = "", quiet: bool = False
) -> None:
    """Runs trials in a workspace that this process has locked, and hands over each record the moment it is there.

    Args:
        trials: What to run.
        workspace: Takes the scratch folder and the log.
        execution: How.
        keep: Keeps a record.
        title: One line to show above.
        quiet: Show no progress.

    Raises:
        KeyboardInterrupt: On Ctrl-C or SIGTERM, inside an ``interruptible`` block; what was handed over stays.
    """
    console = Console(quiet=quiet, file=console_file(), highlight=False)
    if title:
        console.print(title, soft_wrap=True)
    cells = [cell for trial in trials for cell in trial.cells]
    with Progress(cells, console, {}) as shown, scratch(workspace) as folder, silenced(workspace):
        try:
            run_trials(list(trials), _Watcher(shown, keep), execution, folder, partial(_lost, shown, folder))
        except KeyboardInterrupt:
            end()
            raise


def _lost(shown: Progress, folder: Path, cause: str) -> None:
    """Ray has died, and its library would end this process without a word."""
    shutil.rmtree(folder, ignore_errors=True)
    shown.last(f"error: {cause}; the same command goes on")
    os._exit(RAY_DIED)


class _Watcher:
    """Hands records over, and shows them."""

    def __init__(self, shown: Progress, keep: Keep) -> None:
        self._shown, self._keep = shown, keep

    def started(self, trial: Trial, where: str) -> None:
        self._shown.started(trial, where)

    def event(self, trial: Trial, event: dict[str, Any]) -> None:
        self._shown.event(trial, event)
        stop_if_asked()

    def record(self, trial: Trial, record: Record) -> None:
        self._keep(trial, record)
        self._shown.record(trial, record)

    def ended(self, trial: Trial) -> None:
        self._shown.ended(trial)
