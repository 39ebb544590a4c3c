"""A selection becomes records: plans it, runs what is pending, writes each record the moment it is there."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from rich.console import Console

from suite import records
from suite.errors import UserError
from suite.files import sweep_temporary
from suite.planning import Plan, Selection, Trial, longest_first, make_plan
from suite.plugins import tuned_trials
from suite.running.executor import Execution, Observer, run_local
from suite.running.interrupt import end, interruptible, stop_if_asked
from suite.running.progress import FINE, Progress
from suite.running.workspace import SCRATCH, console_file, locked, scratch, silenced, sweep

if TYPE_CHECKING:
    from suite.records import Record

#: Exit code where Ray has died in the midst of a run.
RAY_DIED = 3

#: A run of fewer cells, or of fewer minutes, needs no word of warning.
LONG_CELLS, LONG_MINUTES = 20, 5.0

#: How long the end of a run, and of an interrupted one, waits for the records' mirror.
MIRROR_SECONDS, INTERRUPTED_SECONDS = 60.0, 5.0


class Mirror(Protocol):
    """Where records are shown as well while a run goes on; no call to it waits or raises."""

    problem: str
    mended: int

    def compare(self, records: Iterable[Record]) -> None:
        """Hands over the records of before: what is not shown of them will be, once the run ends."""

    @property
    def uri(self) -> str:
        """Where it is, to show."""

    def log(self, record: Record) -> None:
        """Hands over a finished record."""

    def close(self, timeout: float) -> int:
        """Waits until everything is mirrored, at most ``timeout`` seconds; returns how many records are not."""


#: Opens the mirror of a workspace, or none; the second argument takes a warning.
OpenMirror = Callable[[Path, Callable[[str], None]], Mirror | None]


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


def execute(
    selection: Selection, execution: Execution, *, mirror: OpenMirror | None = None, quiet: bool = False
) -> Outcome:
    """Runs a selection's pending cells and writes each record the moment its cell ends.

    Args:
        selection: What to run.
        execution: How.
        mirror: Opens what each record is handed to once it is written; ``suite.tracking`` has one for MLflow.
        quiet: Show no progress.

    Raises:
        UserError: For anything that the user can mend; what had ended before is kept.
        Interrupted: On Ctrl-C or SIGTERM, with the records so far.
    """
    plan = make_plan(selection)
    outcome = Outcome(plan, warnings=list(plan.warnings))
    trials, refusals = longest_first(plan), plan.refusals()
    sweep_temporary()
    if trials or refusals:
        with interruptible(), locked(Path(plan.workspace)):
            records.check_replaceable(plan.workspace, (cell.key for cell in plan.pending))
            for refusal in refusals:
                records.write(plan.workspace, refusal)
            if trials:
                _run(trials, outcome, execution, mirror, quiet)
    elif any(Path(plan.workspace).glob(f"{SCRATCH}*")):
        with contextlib.suppress(UserError), locked(Path(plan.workspace)):
            sweep(Path(plan.workspace))
    return _finish(outcome)


def _run(trials: list[Trial], outcome: Outcome, execution: Execution, mirror: OpenMirror | None, quiet: bool) -> None:
    plan, workspace = outcome.plan, Path(outcome.plan.workspace)
    console = Console(quiet=quiet, file=console_file(), highlight=False)
    if told := forecast(plan, trials, execution):
        console.print(told, soft_wrap=True)
    with (
        Progress(plan.pending, console, plan.minutes()) as shown,
        _mirrored(mirror, outcome) as opened,
        scratch(workspace) as folder,
        silenced(workspace),
    ):
        for warning in outcome.warnings:
            shown.warn(warning)
        observer = _Recorder(outcome, opened, shown)
        try:
            run_trials(trials, observer, execution, folder, partial(_lost, outcome, opened, shown, folder))
        except KeyboardInterrupt:
            end()
            raise Interrupted(_finish(outcome)) from None


def forecast(plan: Plan, trials: Sequence[Trial], execution: Execution) -> str:
    """Returns how much there is to run and how to make it less; empty where it is little, or nothing is known of it."""
    minutes = [each for each in plan.minutes().values() if each is not None]
    if not minutes or len(plan.pending) < LONG_CELLS:
        return ""
    workers = 1 if execution.executor == "local" else execution.workers or os.cpu_count() or 1
    total = sum(minutes) / len(minutes) * len(plan.pending) / workers
    if total < LONG_MINUTES:
        return ""
    rough = "about" if len(minutes) == len(plan.pending) else "very roughly"
    return (
        f"{len(plan.pending)} cells in {len(trials)} trials: {rough} {total:.0f} minutes with {workers} "
        f"{'worker' if workers == 1 else 'workers'}. Fewer: name tasks (-t), baselines (-b) or seeds (--seeds 0); "
        "`suite plan` lists them. Ctrl-C keeps what is done."
    )


def run_trials(
    trials: list[Trial], observer: Observer, execution: Execution, folder: Path, died: Callable[[str], None]
) -> None:
    """Runs trials by the executor that is asked for; as ``run_ray`` and ``run_local``."""
    if execution.executor == "local":
        run_local(trials, observer, execution)
    else:
        from suite.running.cluster import run_ray

        run_ray(trials, observer, execution, folder, died)


def _lost(outcome: Outcome, mirror: Mirror | None, shown: Progress, folder: Path, cause: str) -> None:
    """Ray has died, and its library would end this process without a word: tells what is there, and ends it."""
    if mirror is not None:
        mirror.close(INTERRUPTED_SECONDS)
    shutil.rmtree(folder, ignore_errors=True)
    done, total = len(_finish(outcome).records), len(outcome.plan.cells)
    shown.last(f"error: {cause}; {done} of {total} cells have a record; the same command runs the rest")
    os._exit(RAY_DIED)


class _Recorder:
    """Writes each record the moment it is there; MLflow and the display come after it, and cannot undo it."""

    def __init__(self, outcome: Outcome, mirror: Mirror | None, shown: Progress) -> None:
        self._outcome, self._mirror, self._shown = outcome, mirror, shown

    def started(self, trial: Trial, where: str) -> None:
        self._shown.started(trial, where)

    def event(self, trial: Trial, event: dict[str, Any]) -> None:
        if "warning" in event:
            self._outcome.warnings.append(event["warning"])
        self._shown.event(trial, event)
        stop_if_asked()

    def record(self, trial: Trial, record: Record) -> None:
        if not trial.baseline.built_in:  # did its source pass `suite check`, and with which version?
            stamp = records.check_stamp(self._outcome.plan.workspace, trial.baseline.digest)
            record.env["check"] = stamp or {"passed": False}
        if tuned_trials(record.baseline_params):
            record.cost |= records.search_costs(self._outcome.plan.workspace, record.ingredients["checkpoint"])
        path = records.write(self._outcome.plan.workspace, record)
        self._outcome.ran += 1
        if self._mirror is not None:
            self._mirror.log(record)
        self._shown.record(trial, record)
        if "conflict" in path.name:
            self.event(trial, {"warning": f"{trial.name}: {record.task} has other values than before, see {path.name}"})

    def ended(self, trial: Trial) -> None:
        self._shown.ended(trial)


@contextlib.contextmanager
def _mirrored(open_mirror: OpenMirror | None, outcome: Outcome) -> Iterator[Mirror | None]:
    """Yields the mirror, or None where there is none; at the end it is given time."""
    mirror = open_mirror(Path(outcome.plan.workspace), outcome.warnings.append) if open_mirror else None
    if mirror is None:
        yield None
        return
    outcome.tracking = mirror.uri
    patience = INTERRUPTED_SECONDS
    try:
        yield mirror
        keys = [cell.key for cell in outcome.plan.cells if not cell.run]
        before = records.read_keys(outcome.plan.workspace, keys, outcome.warnings)
        mirror.compare(records.Record(**raw) for raw in before.values())
        patience = MIRROR_SECONDS
    finally:
        missed = mirror.close(patience)
        if mirror.mended:
            outcome.warnings.append(f"{mirror.mended} records of before were not in MLflow: mirrored now")
        if missed:
            why = f" ({mirror.problem})" if mirror.problem else ""
            outcome.warnings.append(f"{missed} records are not in MLflow yet{why}: `suite sync` mirrors them")


def _finish(outcome: Outcome) -> Outcome:
    keys = [cell.key for cell in outcome.plan.cells]
    found = records.read_keys(outcome.plan.workspace, keys, outcome.warnings)
    outcome.records = [found[key] for key in keys if key in found]
    return outcome
