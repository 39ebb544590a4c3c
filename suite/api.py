"""The library face: ``suite.run``, ``suite.load_records``, ``suite.board``; the command line calls the same."""

from __future__ import annotations

import contextlib
import importlib.util
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from suite import records
from suite.executor import Execution, Observer, interruptible, run_local, stop_if_asked
from suite.plan import Plan, make_plan
from suite.progress import FINE, Progress
from suite.selection import Selection, check_seeds, parse_seeds
from suite.workspace import console_file, locked, scratch, silenced

if TYPE_CHECKING:
    import pandas as pd

    from suite.cells import Trial
    from suite.records import Record
    from suite.tracking import Tracker

#: How long the end of a run, and of an interrupted one, waits for MLflow.
TRACKING_SECONDS, INTERRUPTED_SECONDS = 60.0, 5.0


def run(
    tasks: str | Sequence[str] | None = None,
    baselines: str | Sequence[str] | None = None,
    dataset: str | Sequence[str] = "digits",
    seeds: str | int | Sequence[int] = (0, 1, 2),
    budget: str = "quick",
    workspace: str | Path = "runs",
    *,
    precision: str = "float32",
    paths: Sequence[str | Path] = (),
    retry: str | Sequence[str] = (),
    data_root: str | Path | None = None,
    tracking: str | None = None,
    progress: bool = True,
    **execution: Any,
) -> pd.DataFrame:
    """Trains and scores what has no record yet, and returns the records of the whole selection.

    Args:
        tasks: Names, ``name:key=value`` or files; None for all.
        baselines: The same.
        dataset: One or more datasets.
        seeds: Training seeds, or text such as ``"0-4"``.
        budget: How much training.
        workspace: The folder of records, checkpoints, values and pictures.
        precision: ``"float32"`` or ``"bf16"``.
        paths: Further files and folders with tasks and baselines.
        retry: Which ended cells run again: ``"failed"``, ``"timeout"``.
        data_root: Where datasets lie.
        tracking: A tracking URI, ``"off"``, or None for MLflow's environment variable or the workspace's own store.
        progress: Show what goes on, on standard error.
        execution: Fields of ``Execution``: executor, workers, gpus_per_trial, timeout, ...

    Returns:
        One row per record, as of ``load_records``.

    Raises:
        UserError: For anything that the caller can mend.
    """
    selection = Selection(
        tasks=_several(tasks),
        baselines=_several(baselines),
        datasets=_several(dataset),
        seeds=_seeds(seeds),
        budget=budget,
        precision=precision,
        paths=tuple(os.fspath(path) for path in paths),
        retry=_several(retry),
        workspace=os.fspath(workspace),
        data_root=None if data_root is None else os.fspath(data_root),
    )
    outcome = execute(selection, Execution(**execution), tracking=tracking, quiet=not progress)
    return load_frame(outcome.records)


def load_records(*folders: str | Path) -> pd.DataFrame:
    """Returns the records below the folders (workspaces or folders of records), one row each."""
    from suite.leaderboard import load_records

    return load_records(*folders)


def board(data: pd.DataFrame, **options: Any) -> pd.DataFrame:
    """Computes the board of some records; ``suite.leaderboard.board`` names the options."""
    from suite.leaderboard import board

    return board(data, **options)


def load_frame(raws: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Returns records given as plain dicts as the table that ``load_records`` returns."""
    from suite.leaderboard import frame

    return frame(raws)


@dataclass
class Outcome:
    """What a run leaves.

    Attributes:
        plan: As it was before.
        records: Of the whole selection, as plain dicts, in the plan's order.
        ran: How many cells ended in this run.
        tracking: Where MLflow keeps it; empty where it is off.
        warnings: What went wrong beside the cells, one line each.
    """

    plan: Plan
    records: list[dict[str, Any]] = field(default_factory=list)
    ran: int = 0
    tracking: str = ""
    warnings: list[str] = field(default_factory=list)

    @property
    def failed(self) -> int:
        """How many cells of the selection have no answer: failed, out of time, killed, or without a record."""
        return len(self.plan.cells) - sum(raw["status"] in FINE for raw in self.records)


class Interrupted(KeyboardInterrupt):
    """Ctrl-C or SIGTERM; what had ended by then is in the outcome."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__()
        self.outcome = outcome


def execute(selection: Selection, execution: Execution, *, tracking: str | None = None, quiet: bool = False) -> Outcome:
    """Runs a selection's pending cells and writes each record the moment its cell ends.

    Raises:
        UserError: For anything that the user can mend; what had ended before is kept.
        Interrupted: On Ctrl-C or SIGTERM, with the records so far.
    """
    plan = make_plan(selection)
    outcome = Outcome(plan, warnings=list(plan.warnings))
    trials, refusals = _longest_first(plan), plan.refusals()
    if trials or refusals:
        with interruptible(), locked(Path(plan.workspace)):
            for refusal in refusals:
                records.write(plan.workspace, refusal)
            if trials:
                _run(trials, outcome, execution, tracking, quiet)
    return _finish(outcome)


def _run(trials: list[Trial], outcome: Outcome, execution: Execution, tracking: str | None, quiet: bool) -> None:
    plan, workspace = outcome.plan, Path(outcome.plan.workspace)
    console = Console(quiet=quiet, file=console_file(), highlight=False)
    with (
        Progress(plan.pending, console, plan.minutes()) as shown,
        _tracked(tracking, outcome) as tracker,
        scratch(workspace) as folder,
        silenced(workspace),
    ):
        for warning in outcome.warnings:
            shown.warn(warning)
        observer = _Recorder(outcome, tracker, shown)
        try:
            _executor(trials, observer, execution, folder)
        except KeyboardInterrupt:
            raise Interrupted(_finish(outcome)) from None


def _executor(trials: list[Trial], observer: Observer, execution: Execution, folder: Path) -> None:
    if execution.executor == "local":
        run_local(trials, observer, execution)
    else:
        from suite.cluster import run_ray

        run_ray(trials, observer, execution, folder)


class _Recorder:
    """Writes each record the moment it is there; MLflow and the display come after it, and cannot undo it."""

    def __init__(self, outcome: Outcome, tracker: Tracker | None, shown: Progress) -> None:
        self._outcome, self._tracker, self._shown = outcome, tracker, shown
        self.started, self.ended = shown.started, shown.ended

    def event(self, trial: Trial, event: dict[str, Any]) -> None:
        if "warning" in event:
            self._outcome.warnings.append(event["warning"])
        self._shown.event(trial, event)
        stop_if_asked()

    def record(self, trial: Trial, record: Record) -> None:
        path = records.write(self._outcome.plan.workspace, record)
        self._outcome.ran += 1
        if self._tracker is not None:
            self._tracker.log(record)
        self._shown.record(trial, record)
        if "conflict" in path.name:
            self.event(trial, {"warning": f"{trial.name}: {record.task} has other values than before, see {path.name}"})


@contextlib.contextmanager
def _tracked(uri: str | None, outcome: Outcome) -> Iterator[Tracker | None]:
    """Yields the tracker, or None where tracking is off or MLflow is not installed; at the end it is given time."""
    from suite import tracking

    tracker = tracking.Tracker(uri, Path(outcome.plan.workspace))
    if tracker.uri == tracking.OFF:
        yield None
        return
    if not _importable("mlflow"):
        outcome.warnings.append("MLflow is not installed: nothing is tracked (--tracking off says so beforehand)")
        yield None
        return
    outcome.tracking = tracker.uri
    patience = INTERRUPTED_SECONDS
    try:
        yield tracker
        patience = TRACKING_SECONDS
    finally:
        missed = tracker.close(patience)
        if missed:
            why = f" ({tracker.problem})" if tracker.problem else ""
            outcome.warnings.append(f"{missed} records are not in MLflow yet{why}: `suite sync` mirrors them")


def _importable(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except (ImportError, ValueError):
        return False


def _longest_first(plan: Plan) -> list[Trial]:
    """Returns the trials, those of unknown length and the longest first, so that no worker idles at the end."""
    minutes = plan.minutes()

    def length(trial: Trial) -> float:
        known = [minutes[cell.key] for cell in trial.cells]
        return float("inf") if None in known else sum(m for m in known if m is not None)

    return sorted(plan.trials(), key=length, reverse=True)


def _finish(outcome: Outcome) -> Outcome:
    keys = [cell.key for cell in outcome.plan.cells]
    found = records.read_keys(outcome.plan.workspace, keys, outcome.warnings)
    outcome.records = [found[key] for key in keys if key in found]
    return outcome


def _seeds(value: str | int | Sequence[int]) -> tuple[int, ...]:
    if isinstance(value, str):
        return parse_seeds(value)
    return check_seeds((value,) if isinstance(value, int) else value)


def _several(value: str | Sequence[str] | None) -> tuple[str, ...]:
    if value is None:
        return ()
    return (value,) if isinstance(value, str) else tuple(value)
