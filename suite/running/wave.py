"""Trials whose records are no cells of the workspace: they run as any others, and whoever asked keeps them."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from suite.errors import UserError
from suite.running.executor import Execution
from suite.running.interrupt import end, interruptible, stop_if_asked
from suite.running.progress import Progress
from suite.running.ray_environment import ray_environment
from suite.running.run import RAY_DIED, run_trials
from suite.running.workspace import console_file, scratch, silenced

if TYPE_CHECKING:
    from suite.planning import Trial
    from suite.records import Record

#: Takes the record of a trial that has ended.
Keep = Callable[["Trial", "Record"], None]


class Workers:
    """Runs waves of trials in a workspace that this process has locked, inside an ``interruptible`` block.

    What is needed for the first wave stays for the others: starting Ray takes seconds.

    Args:
        workspace: Takes the scratch folder and the log.
        execution: How trials are run.
        quiet: Show no progress.

    Raises:
        UserError: Where nodes do not see the workspace: a training that goes on needs what the last wave left there.
    """

    def __init__(self, workspace: Path, execution: Execution, quiet: bool = False) -> None:
        if not execution.shared:
            raise UserError("a search needs a workspace that all nodes see; --no-shared is for `suite run`")
        self._workspace, self._execution = workspace, execution
        self._console = Console(quiet=quiet, file=console_file(), highlight=False)
        self._stack = contextlib.ExitStack()
        self._folder: Path | None = None

    def __enter__(self) -> Workers:
        if self._execution.executor == "ray":  # whoever imports Ray in here, it reads its environment once
            self._stack.enter_context(ray_environment(private=not self._execution.address))
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def run(self, trials: Sequence[Trial], keep: Keep, title: str = "") -> None:
        """Runs trials and hands over each record the moment it is there.

        Args:
            trials: What to run.
            keep: Keeps a record.
            title: One line to show above.

        Raises:
            KeyboardInterrupt: On Ctrl-C or SIGTERM; what was handed over stays.
        """
        if title:
            self._console.print(title, soft_wrap=True)
        cells = [cell for trial in trials for cell in trial.cells]
        with Progress(cells, self._console, {}) as shown:
            folder = Path(tempfile.mkdtemp(dir=self._scratch()))
            try:
                run_trials(list(trials), _Watcher(shown, keep), self._execution, folder, partial(_lost, shown, folder))
            except KeyboardInterrupt:
                end()
                raise

    def _scratch(self) -> Path:
        if self._folder is None:
            self._stack.enter_context(silenced(self._workspace))
            self._folder = self._stack.enter_context(scratch(self._workspace))
            if self._execution.executor == "ray":
                from suite.running.connection import connected

                self._stack.enter_context(connected(self._execution))
                self._stack.enter_context(interruptible())  # Ray takes SIGTERM for itself
        return self._folder


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
